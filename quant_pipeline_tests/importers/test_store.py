"""Files into PostgreSQL: atomic, idempotent, whatever the order and whoever is bad among them."""

from __future__ import annotations

import random
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.store import ImportResult, Progress, import_files
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.importers.price_files import (
    HEADER,
    line,
    minutes,
    regular_minutes,
    session_days,
    text,
    utc,
    write,
)

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
LATER = datetime(2026, 1, 3, tzinfo=UTC)
DAYS = session_days("2024-03-06", "2024-03-14")


def _stored(db: Database, market: str = "us_equity", interval: str = "1d") -> pd.DataFrame:
    return read_bars(db, market, interval, None, utc("1990-01-01"), utc("2100-01-01"))


def _covered(db: Database, market: str, interval: str) -> list[tuple[str, str, int, int, str]]:
    rows = read_coverage(db, market, None, date(1990, 1, 1), date(2100, 1, 1), interval=interval)
    return [(row.symbol, row.session.isoformat(), row.expected, row.present, row.status) for row in rows]


def _counts(results: tuple[ImportResult, ...]) -> list[tuple[int, int, int]]:
    return [(result.inserted, result.changed, result.unchanged) for result in results]


def test_what_is_read_is_what_is_stored(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "AAPL.csv", text(DAYS))
    (result,) = import_files(database, [path], at=AT)
    assert_frame_equal(_stored(database), read_file(path).frame)
    assert (result.outcome, result.rows, result.inserted, result.slots_missing) == ("stored", len(DAYS), len(DAYS), 0)
    assert result.sessions == tuple(("AAPL", date.fromisoformat(day)) for day in DAYS)
    assert _covered(database, "us_equity", "1d") == [("AAPL", day, 1, 1, "complete") for day in DAYS]


def test_importing_again_changes_nothing(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "AAPL.csv", text(DAYS))
    import_files(database, [path], at=AT)
    before, covered = _stored(database), _covered(database, "us_equity", "1d")
    (again,) = import_files(database, [path], at=LATER)
    assert (again.inserted, again.changed, again.unchanged, again.sessions) == (0, 0, len(DAYS), ())
    assert_frame_equal(_stored(database), before)
    assert _covered(database, "us_equity", "1d") == covered
    assert_frame_equal(
        read_bars(database, "us_equity", "1d", None, utc("1990-01-01"), utc("2100-01-01"), as_of=AT), before
    )


def test_an_import_that_died_before_its_coverage_is_completed_by_the_next(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "AAPL.csv", text(DAYS))
    parsed = read_file(path)
    upsert_bars(
        database,
        "us_equity",
        "1d",
        parsed.frame,
        source=parsed.source,
        feed=parsed.feed,
        adjustment=parsed.adjustment,
        at=AT,
    )
    assert _covered(database, "us_equity", "1d") == []
    (result,) = import_files(database, [path], at=LATER)
    assert (result.inserted, result.unchanged) == (0, len(DAYS))
    assert _covered(database, "us_equity", "1d") == [("AAPL", day, 1, 1, "complete") for day in DAYS]


def test_shuffled_pieces_give_the_same_bars_and_coverage(database: Database, tmp_path: Path) -> None:
    stamps = [stamp for n, stamp in enumerate(minutes("2024-05-01 22:00:00", 300)) if n not in (3, 150)]
    rows = [line(stamp, n) for n, stamp in enumerate(stamps)]
    whole = write(tmp_path / "KRW-BTC_1m.csv", "\n".join([HEADER, *rows]))
    import_files(database, [whole], at=AT)
    expected = _covered(database, "krw_crypto", "1m")
    assert expected == [
        ("KRW-BTC", "2024-05-01", 1440, 119, "partial"),
        ("KRW-BTC", "2024-05-02", 1440, 179, "partial"),
    ]
    shuffled = rows * 2
    random.Random(7).shuffle(shuffled)
    pieces = tmp_path / "pieces"
    pieces.mkdir()
    for number in range(0, len(shuffled), 100):
        content = "\n".join([HEADER, *shuffled[number : number + 100]])
        write(pieces / f"ETH_KRW_1m_{number}.csv.gz", content)
    results = import_files(database, [pieces], at=AT)
    assert sum(result.inserted for result in results) == len(rows)
    assert all(result.changed == 0 for result in results)
    stored = _stored(database, "krw_crypto", "1m")
    groups = {
        str(name): group.drop(columns="symbol").reset_index(drop=True) for name, group in stored.groupby("symbol")
    }
    assert_frame_equal(groups["KRW-ETH"], groups["KRW-BTC"])
    covered = [row[1:] for row in _covered(database, "krw_crypto", "1m") if row[0] == "KRW-ETH"]
    assert covered == [row[1:] for row in expected]


def test_one_bad_file_does_not_stop_the_rest_and_leaves_nothing(database: Database, tmp_path: Path) -> None:
    write(tmp_path / "A.csv", text(DAYS))
    write(tmp_path / "B.csv", text(DAYS) + "2024-03-15,1,2,3,4,oops\n")
    write(tmp_path / "C.csv", text(DAYS))
    write(tmp_path / "d.csv", "19980102,1,1,1\n20501231,1,1,0\n")
    seen: list[Progress] = []
    results = import_files(database, [tmp_path, tmp_path / "none.csv"], at=AT, on_progress=seen.append)
    assert [result.outcome for result in results] == ["stored", "refused", "stored", "stored", "refused"]
    assert [result.path.name for result in results] == ["A.csv", "B.csv", "C.csv", "d.csv", "none.csv"]
    reason = results[1].reason
    assert reason is not None
    assert f"line {len(DAYS) + 2}, column 'volume'" in reason
    assert set(_stored(database)["symbol"]) == {"A", "C"}
    assert {row[0] for row in _covered(database, "us_equity", "1d")} == {"A", "C"}
    in_order = [results[3], *results[:3], results[4]]  # what says whose bars they are goes first
    assert [(each.done, each.total, each.result) for each in seen] == [(n + 1, 5, in_order[n]) for n in range(5)]


def test_bad_rows_are_left_out_by_choice_and_reported(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "B.csv", text(DAYS) + "2024-03-15,1,2,3,4,oops\n")
    (result,) = import_files(database, [path], at=AT, bad_rows="skip")
    assert (result.outcome, result.rows, len(result.rejected)) == ("stored", len(DAYS), 1)
    assert result.rejected[0].line == len(DAYS) + 2


def test_a_later_file_restates_an_earlier_one_in_the_order_given(database: Database, tmp_path: Path) -> None:
    old = write(tmp_path / "KO_old.csv", text(DAYS))
    changed = text(DAYS).replace(line(DAYS[2], 2), line(DAYS[2], 40))
    new = write(tmp_path / "KO_new.csv", changed)
    assert _counts(import_files(database, [old, new], at=AT)) == [(len(DAYS), 0, 0), (0, 1, len(DAYS) - 1)]
    assert _stored(database)["volume"].tolist()[2] == 50.0
    (result,) = import_files(database, [old], at=LATER)
    assert result.sessions == (("KO", date.fromisoformat(DAYS[2])),)
    assert _stored(database)["volume"].tolist()[2] == 12.0


def test_the_outcome_does_not_depend_on_the_number_of_workers(database: Database, tmp_path: Path) -> None:
    for number in range(6):
        content = text(DAYS).replace(line(DAYS[1], 1), line(DAYS[1], 30 + number))
        write(tmp_path / f"KO_{number}.csv", content)
    for workers in (1, 4):
        import_files(database, [tmp_path], at=AT, workers=workers)
        assert _stored(database)["volume"].tolist()[1] == 45.0


def test_a_bar_that_is_still_forming_is_not_stored(database: Database, tmp_path: Path) -> None:
    path = write(tmp_path / "KRW-BTC_1m.csv", text(minutes("2024-05-01 00:00:00", 5)))
    (result,) = import_files(database, [path], at=utc("2024-05-01T00:04:30"))
    assert (result.rows, result.not_closed, result.inserted) == (4, 1, 4)
    (future,) = import_files(database, [path], at=utc("2024-05-01T00:00:30"))
    assert future.outcome == "refused"


def test_coverage_of_stock_minutes_counts_regular_hours(database: Database, tmp_path: Path) -> None:
    days = ["2024-11-27", "2024-12-02"]
    stamps = ["2024-11-27 08:00:00", *regular_minutes(days, 1), "2024-12-02 17:30:00"]
    stamps.remove("2024-12-02 10:00:00")
    path = write(tmp_path / "SPY_1min.csv", text(sorted(stamps)))
    import_files(database, [path], at=AT, tz="America/New_York")
    assert _covered(database, "us_equity", "1m") == [
        ("SPY", "2024-11-27", 390, 390, "complete"),
        ("SPY", "2024-11-29", 210, 0, "partial"),
        ("SPY", "2024-12-02", 390, 389, "partial"),
    ]
    first = read_coverage(database, "us_equity", ["SPY"], date(2024, 11, 27), date(2024, 11, 29), interval="1m")
    assert first[0].first_ts == utc("2024-11-27T08:00-05:00")
    assert (first[1].first_ts, first[1].last_ts) == (None, None)


def test_minutes_known_to_have_no_trade_stay_known(database: Database, tmp_path: Path) -> None:
    stamps = minutes("2024-05-01 00:00:00", 1440)
    del stamps[700]
    path = write(tmp_path / "KRW-BTC_1m.csv", text(stamps))
    known = Coverage(
        "krw_crypto",
        "KRW-BTC",
        "1m",
        date(2024, 5, 1),
        1440,
        1439,
        1,
        None,
        None,
        "upbit",
        "upbit",
        "raw",
        "complete",
        AT,
        fetched_to=utc("2024-05-02"),
    )
    record_coverage(database, [known])
    import_files(database, [path], at=LATER)
    assert _covered(database, "krw_crypto", "1m") == [("KRW-BTC", "2024-05-01", 1440, 1439, "complete")]


def test_an_import_without_a_zone_in_its_time_is_an_error(database: Database) -> None:
    with pytest.raises(ValueError, match="aware"):
        import_files(database, [], at=datetime(2026, 1, 1))  # noqa: DTZ001


def test_an_empty_folder_is_reported(database: Database, tmp_path: Path) -> None:
    (result,) = import_files(database, [tmp_path], at=AT)
    assert result.outcome == "refused"
    assert result.reason is not None
    assert "no price file" in result.reason


def test_a_session_whose_values_changed_is_seen_as_touched_though_nothing_counted_differs(
    database: Database, tmp_path: Path
) -> None:
    path = write(tmp_path / "KO.csv", text(DAYS))
    import_files(database, [path], at=AT)
    write(path, text(DAYS).replace(line(DAYS[2], 2), line(DAYS[2], 40)))
    import_files(database, [path], at=LATER)
    rows = read_coverage(database, "us_equity", ["KO"], date(2024, 1, 1), date(2025, 1, 1))
    assert [row.session.isoformat() for row in rows if row.checked_at == LATER] == [DAYS[2]]


def test_a_change_whose_coverage_was_lost_is_seen_as_touched_by_the_next_import(
    database: Database, tmp_path: Path
) -> None:
    path = write(tmp_path / "KO.csv", text(DAYS))
    import_files(database, [path], at=AT)
    changed = write(tmp_path / "KO_new.csv", text(DAYS).replace(line(DAYS[2], 2), line(DAYS[2], 40)))
    parsed = read_file(changed)
    origin = {"source": parsed.source, "feed": parsed.feed, "adjustment": parsed.adjustment}
    upsert_bars(database, "us_equity", "1d", parsed.frame, at=LATER, **origin)  # and then the process died
    (result,) = import_files(database, [changed], at=LATER)
    assert (result.changed, result.unchanged) == (0, len(DAYS))
    rows = read_coverage(database, "us_equity", ["KO"], date(2024, 1, 1), date(2025, 1, 1))
    assert [row.session.isoformat() for row in rows if row.checked_at == LATER] == [DAYS[2]]
