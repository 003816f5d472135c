"""What was written since somebody looked: counted by symbol and session, taken off only when it was really seen."""

from __future__ import annotations

from datetime import date

from quant_pipeline.storage.bars import delete_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.touched import Touched, count_touched, settle_touched, touched_bars
from quant_pipeline_tests.storage.builders import AT, MARKET, bars, later

_DAY = date(2024, 1, 2)


def _write(db: Database, frame, minutes: float = 0) -> None:  # noqa: ANN001 - a bar frame
    upsert_bars(db, MARKET, "1m", frame, source="x", feed="x", adjustment="raw", at=later(minutes))


def _touched(db: Database) -> tuple[Touched, ...]:
    return touched_bars(db, MARKET, ["A", "B"], date.min)


def _counts(db: Database) -> dict[str, tuple[int, int, int]]:
    return {row.symbol: (row.changed, row.inserted, row.deleted) for row in _touched(db)}


def test_each_write_adds_to_what_waits_for_somebody_to_look(database: Database) -> None:
    frame = bars(["A", "B"], "2024-01-02", 3)
    _write(database, frame)
    assert _counts(database) == {"A": (0, 3, 0), "B": (0, 3, 0)}
    _write(database, frame, 1)  # the same again
    assert _counts(database) == {"A": (0, 3, 0), "B": (0, 3, 0)}
    changed = frame.loc[[1, 2]].assign(close=frame["close"] + 1)
    _write(database, changed, 2)
    delete_bars(database, MARKET, "1m", frame.loc[[4]], at=later(3))
    assert _counts(database) == {"A": (2, 3, 0), "B": (0, 3, 1)}
    assert {row.session for row in _touched(database)} == {_DAY}
    assert {row.symbol: row.first_ts for row in _touched(database)} == {"A": frame["ts"][0], "B": frame["ts"][3]}


def test_what_was_looked_at_is_taken_off_and_the_rest_stays(database: Database) -> None:
    _write(database, bars(["A", "B"], "2024-01-02", 3))
    settle_touched(database, [row for row in _touched(database) if row.symbol == "A"])
    assert set(_counts(database)) == {"B"}
    assert count_touched(database, MARKET) == 1
    settle_touched(database, ())


def test_bars_written_after_somebody_looked_are_not_taken_off(database: Database) -> None:
    frame = bars(["A"], "2024-01-02", 3)
    _write(database, frame)
    seen = _touched(database)
    _write(database, frame.assign(close=frame["close"] + 1), 1)
    settle_touched(database, seen)
    assert _counts(database) == {"A": (3, 3, 0)}
    settle_touched(database, seen)  # somebody else who had looked then
    assert _counts(database) == {"A": (3, 3, 0)}
    settle_touched(database, _touched(database))
    assert _counts(database) == {}


def test_sessions_symbols_and_markets_are_told_apart(database: Database) -> None:
    _write(database, bars(["A", "C"], "2024-01-02 23:58", 4))
    upsert_bars(database, "krw_crypto", "1m", bars(["A"], "2024-01-02", 1), source="", feed="", adjustment="", at=AT)
    assert [(row.symbol, row.session, row.inserted) for row in _touched(database)] == [
        ("A", _DAY, 2), ("A", date(2024, 1, 3), 2),
    ]  # fmt: skip
    assert [row.session for row in touched_bars(database, MARKET, ["A"], _DAY, _DAY)] == [_DAY]
