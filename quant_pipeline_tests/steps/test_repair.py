"""Filling holes: exactly those are asked for, nothing that is there changes, and a hopeless one is given up."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars
from quant_pipeline.steps.collect import Collected, collect_sessions
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.steps.repair import Repair, outlook, repair_sessions
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.repairs import read_repairs
from quant_pipeline.storage.versions import current_versions
from quant_pipeline.venues.errors import UnknownSymbol, VenueUnavailable
from quant_pipeline_tests.steps.plain_coverage import HOUR, WrittenData, hourly, slots_of
from quant_pipeline_tests.steps.world import opened_desk, settings_for

KRW = "krw_crypto"
DAYS = tuple(date(2026, 3, day) for day in range(2, 9))
A, B = "KRW-A", "KRW-B"
NOW = datetime(2026, 3, 9, 0, 30, tzinfo=UTC)
_RUNS = itertools.count()


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk of two hourly coins with nothing collected."""
    made = settings_for(
        tmp_path / "home", KRW, symbols=(A, B), base_interval="1h", decision_interval="1h", history_start=DAYS[0]
    )
    with opened_desk(made, database) as opened:
        yield opened


@pytest.fixture
def venue(desk: Desk) -> WrittenData:
    """A venue that has every hour of both coins."""
    data = WrittenData({(symbol, slot): 1.0 for symbol in (A, B) for day in DAYS for slot in slots_of(day)})
    desk._venues[KRW] = Venue(data, data)  # type: ignore[arg-type]
    return data


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.krw_crypto


def _context(at: datetime = NOW, symbols: tuple[str, ...] | None = None) -> RunContext:
    return RunContext(at, f"run-{next(_RUNS)}", symbols=symbols)


def _collect(desk: Desk, days: tuple[date, ...], symbols: tuple[str, ...] | None = None) -> None:
    collect_sessions(desk, _market(desk), days, _context(symbols=symbols))


def _import(desk: Desk, symbol: str, day: date, hours: range) -> None:
    """Hours of a session with other numbers than the venue's, and what an import says about them."""
    frame = hourly(((symbol, slot), 7.0) for slot in slots_of(day)[hours.start : hours.stop])
    upsert_bars(desk.db, KRW, "1h", frame, source="file", feed="other", adjustment="raw", at=NOW)
    ends = frame["ts"].iloc[0].to_pydatetime(), frame["ts"].iloc[-1].to_pydatetime()
    row = Coverage(KRW, symbol, "1h", day, 24, len(frame), 0, *ends, "file", "other", "raw", "partial", NOW)
    record_coverage(desk.db, [row])


def _closes(desk: Desk, symbol: str, day: date) -> list[float]:
    start = slots_of(day)[0]
    closes: list[float] = read_bars(desk.db, KRW, "1h", [symbol], start, start + 24 * HOUR)["close"].tolist()
    return closes


def test_what_is_due_is_named_by_spans_of_sessions_with_the_same_symbols(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:2])
    _collect(desk, DAYS[4:5])
    _collect(desk, DAYS[2:3], (A,))
    found = outlook(desk, _market(desk), NOW)
    assert found.repairs(_market(desk)) == (
        Repair(DAYS[2], DAYS[2], (B,)),
        Repair(DAYS[3], DAYS[3], (A, B)),
        Repair(DAYS[5], DAYS[6], (A, B)),
    )


def test_a_repair_asks_for_exactly_the_holes_and_fills_them(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:2])
    _collect(desk, DAYS[4:])
    _collect(desk, DAYS[2:3], (A,))
    venue.asked.clear()
    done = repair_sessions(desk, _market(desk), DAYS, _context())
    edges = [slots_of(DAYS[n])[0] for n in (2, 3, 4)]
    assert sorted(venue.asked) == [((A, B), "1h", edges[1], edges[2]), ((B,), "1h", edges[0], edges[1])]
    assert done == Collected(inserted=72, changed=0, unchanged=0, requested_spans=2)
    assert outlook(desk, _market(desk), NOW).due == ()
    venue.asked.clear()
    assert repair_sessions(desk, _market(desk), DAYS, _context()) == Collected()
    assert venue.asked == []


def test_hours_that_the_venue_confirms_as_empty_had_no_trade_and_are_not_asked_for_again(
    desk: Desk, venue: WrittenData
) -> None:
    _collect(desk, DAYS)
    _import(desk, A, DAYS[3], range(24))
    for slot in slots_of(DAYS[5]):
        del venue.bars_of[A, slot]
    market = _market(desk).model_copy(update={"symbols": (A, B, "KRW-NEW")})
    repair_sessions(desk, market, DAYS, _context(symbols=("KRW-NEW",)))
    rows = read_coverage(desk.db, KRW, ["KRW-NEW"], DAYS[0], DAYS[-1])
    assert {(row.present, row.no_trade, row.status) for row in rows} == {(0, 24, "complete")}
    assert outlook(desk, market, NOW).due == ()
    assert read_repairs(desk.db, KRW, DAYS[0], DAYS[-1]) == ()


def test_an_imported_session_keeps_its_bars_and_gets_those_that_are_absent(desk: Desk, venue: WrittenData) -> None:
    _import(desk, A, DAYS[0], range(5, 20))
    _collect(desk, DAYS, (B,))
    _collect(desk, DAYS[1:], (A,))
    repair_sessions(desk, _market(desk), DAYS[:1], _context())
    assert _closes(desk, A, DAYS[0]) == [1.0] * 5 + [7.0] * 15 + [1.0] * 4
    (row,) = read_coverage(desk.db, KRW, [A], DAYS[0], DAYS[0])
    assert (row.status, row.present, row.feed, row.source) == ("complete", 24, "other+upbit", "file+upbit")


def test_tries_wait_longer_and_longer_and_end_with_the_reason(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:-1])
    market, at, tried = _market(desk), NOW, []
    for _ in range(40):
        found = outlook(desk, market, at)
        if any(hole.session == DAYS[-1] for hole in found.due):
            tried.append(at)
            venue.fails = [VenueUnavailable("maintenance until further notice")]
            with pytest.raises(VenueUnavailable):
                repair_sessions(desk, market, [DAYS[-1]], _context(at))
        if found.given_up:
            break
        at += timedelta(hours=3)
    waits = [(b - a) / timedelta(hours=1) for a, b in itertools.pairwise(tried)]
    assert waits == [3.0, 3.0, 6.0, 18.0]
    (one, other) = found.given_up
    assert (one.hole.symbol, other.hole.symbol, one.tries) == (A, B, 5)
    assert one.reason == "VenueUnavailable: maintenance until further notice"
    assert "given up after 5 tries" in found.sentence()
    report = bars.run(desk, market, [DAYS[-1]], _context(at), collect=False)
    assert [g.hole.symbol for g in report.given_up] == [A, B]
    # A person who runs the session anyhow is not refused, and the tries are forgotten with the hole.
    venue.fails = []
    repair_sessions(desk, market, [DAYS[-1]], _context(at))
    assert outlook(desk, market, at).given_up == ()
    assert read_repairs(desk.db, KRW, DAYS[0], DAYS[-1]) == ()


def test_an_unknown_symbol_does_not_keep_the_others_from_being_filled(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:-1])

    class Picky(WrittenData):
        def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
            if A in symbols:
                raise UnknownSymbol(A)
            return super().bars(symbols, interval, start, end)

    data = Picky(venue.bars_of)
    desk._venues[KRW] = Venue(data, data)  # type: ignore[arg-type]
    with pytest.raises(UnknownSymbol):
        repair_sessions(desk, _market(desk), [DAYS[-1]], _context())
    assert (len(_closes(desk, A, DAYS[-1])), len(_closes(desk, B, DAYS[-1]))) == (0, 24)
    (row,) = read_repairs(desk.db, KRW, DAYS[0], DAYS[-1])
    assert (row.symbol, row.tries, row.reason) == (A, 1, f"UnknownSymbol: the exchange does not know {A}")


def test_a_try_that_dies_with_its_process_counts(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:-1])
    venue.fails = [KeyboardInterrupt()]  # type: ignore[list-item]
    with pytest.raises(KeyboardInterrupt):
        repair_sessions(desk, _market(desk), [DAYS[-1]], _context())
    assert {row.tries for row in read_repairs(desk.db, KRW, DAYS[0], DAYS[-1])} == {1}


def test_a_repair_leaves_the_versions_so_that_what_it_changed_is_recomputed(desk: Desk, venue: WrittenData) -> None:
    market = _market(desk)
    bars.run(desk, market, DAYS[:-1], _context())
    bars.run(desk, market, [DAYS[-1]], _context(), collect=False)
    before = current_versions(desk.db, KRW, bars.STEP, DAYS)
    report = bars.run(desk, market, [DAYS[-1]], _context(), repair=True)
    assert (report.collected.inserted, report.result.outcomes[0].rows) == (48, 48)
    assert current_versions(desk.db, KRW, bars.STEP, DAYS) == before


def test_the_session_in_progress_is_not_repaired(desk: Desk, venue: WrittenData) -> None:
    _collect(desk, DAYS[:2])
    inside = slots_of(DAYS[2])[0] + 12 * HOUR
    assert outlook(desk, _market(desk), inside).due == ()
