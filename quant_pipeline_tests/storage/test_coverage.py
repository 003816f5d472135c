"""Coverage of sessions."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

from quant_pipeline.storage.coverage import Coverage, forget_coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.storage.builders import AT, MARKET, later

_ROW = Coverage(MARKET, "A", "1m", date(2024, 1, 2), 390, 388, 2, AT, later(1), "alpaca", "iex", "raw", "complete", AT)


def test_rows_come_back_in_order_and_can_be_narrowed(database: Database) -> None:
    rows = [
        _ROW,
        replace(_ROW, symbol="B", first_ts=None, last_ts=None, present=0),
        replace(_ROW, interval="1d"),
        replace(_ROW, session=date(2024, 1, 3)),
        replace(_ROW, market="krw_crypto"),
    ]
    assert record_coverage(database, reversed(rows)) == 5
    everything = read_coverage(database, MARKET, None, date(2024, 1, 1), date(2024, 1, 31))
    assert everything == (rows[2], rows[0], rows[1], rows[3])
    one = read_coverage(database, MARKET, ["B", "C"], date(2024, 1, 2), date(2024, 1, 2), interval="1m")
    assert one == (rows[1],)
    assert read_coverage(database, MARKET, [], date(2024, 1, 1), date(2024, 1, 31)) == ()
    assert record_coverage(database, []) == 0


def test_later_check_replaces_and_a_straggler_does_not(database: Database) -> None:
    record_coverage(database, [_ROW])
    newer = replace(_ROW, present=390, no_trade=0, checked_at=later(5))
    record_coverage(database, [newer])
    record_coverage(database, [replace(_ROW, status="partial", checked_at=later(4))])
    assert read_coverage(database, MARKET, None, _ROW.session, _ROW.session) == (newer,)


def test_of_a_row_given_twice_the_last_counts(database: Database) -> None:
    again = replace(_ROW, present=1)
    assert record_coverage(database, [_ROW, again]) == 1
    assert read_coverage(database, MARKET, None, _ROW.session, _ROW.session) == (again,)


def test_sessions_that_are_not_a_symbols_own_are_forgotten_and_no_others(database: Database) -> None:
    days = [date(2024, 1, 2), date(2024, 1, 3)]
    rows = [replace(_ROW, symbol=s, interval=i, session=d) for s in ("A", "B") for i in ("1m", "1d") for d in days]
    record_coverage(database, rows)
    assert forget_coverage(database, MARKET, "A", "1m", before=days[1]) == 1
    left = read_coverage(database, MARKET, None, *days)
    assert set(left) == set(rows) - {rows[0]}
