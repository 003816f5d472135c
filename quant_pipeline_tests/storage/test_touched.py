"""What was written since somebody looked: counted by symbol and session, taken off only when it was really seen."""

from __future__ import annotations

from datetime import date, datetime

from quant_pipeline.storage.bar_quality import BarQuality, Status, record_quality
from quant_pipeline.storage.bars import delete_bars, upsert_bars
from quant_pipeline.storage.coverage import Coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.touched import FACTS, Touched, count_touched, settle_touched, touched_bars
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


# What is said about bars


def _covered(feed: str, present: int = 390, minutes: float = 0) -> Coverage:
    at = later(minutes)
    return Coverage(MARKET, "A", "1m", _DAY, 390, present, 0, None, None, "x", feed, "raw", "complete", at)


def _facts(db: Database) -> list[tuple[date, str, int]]:
    return [(row.session, row.interval, row.changed + row.inserted + row.deleted) for row in _touched(db)]


def test_another_feed_of_bars_that_are_there_is_noted_once(database: Database) -> None:
    record_coverage(database, [_covered("iex", present=0)])
    assert _facts(database) == []
    record_coverage(database, [_covered("iex", minutes=1)])
    assert _facts(database) == [(_DAY, FACTS, 0)]
    settle_touched(database, _touched(database))
    record_coverage(database, [_covered("iex", minutes=2)])
    # An older check's row is not stored, so it says nothing.
    record_coverage(database, [_covered("sip", minutes=-1)])
    assert _facts(database) == []
    seen = _touched(database)
    record_coverage(database, [_covered("sip", minutes=3)])
    settle_touched(database, seen)
    assert _facts(database) == [(_DAY, FACTS, 0)]


def test_a_verdict_is_noted_when_it_changes_what_is_traded_or_learned(database: Database) -> None:
    def judged(status: Status, rules: str = "", since: datetime | None = None) -> list[tuple[date, str, int]]:
        record_quality(database, [BarQuality(MARKET, _DAY, "A", status, rules, since, "said", AT)])
        found = _facts(database)
        settle_touched(database, _touched(database))
        return found

    noted, nothing = [(_DAY, FACTS, 0)], list[tuple[date, str, int]]()
    assert judged("ok") == nothing
    assert judged("suspect", "outlier_move") == nothing
    assert judged("bad", "unexplained_holes", AT) == noted
    assert judged("bad", "unexplained_holes", AT) == nothing
    assert judged("bad", "unexplained_holes", later(60)) == noted
    assert judged("bad", "unexplained_jump", later(60)) == noted
    assert judged("broken", "broken_bar") == noted
    assert judged("suspect", "outlier_move") == noted
    assert judged("ok") == nothing


def test_facts_and_bars_of_a_session_wait_apart(database: Database) -> None:
    _write(database, bars(["A"], "2024-01-02", 3))
    record_coverage(database, [_covered("iex")])
    assert _facts(database) == [(_DAY, FACTS, 0), (_DAY, "1m", 3)]
    settle_touched(database, _touched(database)[:1])
    assert _facts(database) == [(_DAY, "1m", 3)]
