"""What is known of each minute: fetched or not, no trade or unknown, on half days and at changes of clocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.core.bars import empty_bars
from quant_pipeline.core.slots import SlotKind
from quant_pipeline.core.values import Quote
from quant_pipeline.importers.store import import_files
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.collect import collect_recent, collect_sessions
from quant_pipeline.steps.coverage import record_fetched, session_grid, session_slots
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.steps.gaps import find_holes, holes_so_far
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import upsert_bars
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
DAY = date(2025, 11, 26)
HALF = date(2025, 11, 28)
MINUTE = timedelta(minutes=1)


class Minutes:
    """A venue that has every minute from the open of a session to its close but those in `quiet`."""

    def __init__(self, market: MarketSettings, quiet: Sequence[datetime] = ()) -> None:
        self.market, self.quiet = market, set(quiet)

    def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        assert interval == "1m"
        frames = [empty_bars()]
        for day in (DAY, HALF):
            starts = pd.to_datetime(session_grid(self.market, "1m", day).starts, utc=True)
            kept = [ts for ts in starts if start <= ts < end and ts.to_pydatetime() not in self.quiet]
            values = dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0)
            frames += [pd.DataFrame({"symbol": s, "ts": kept, **values}) for s in symbols if kept]
        found = pd.concat([f for f in frames if not f.empty] or frames[:1], ignore_index=True)
        return found.astype({"ts": "datetime64[ns, UTC]"}).sort_values(["symbol", "ts"], ignore_index=True)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk that collects minutes of one share."""
    made = settings_for(tmp_path / "home", US, symbols=("AAA",), base_interval="1m", history_start=date(2025, 11, 3))
    with opened_desk(made, database) as opened:
        yield opened


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _venue(desk: Desk, quiet: Sequence[datetime] = ()) -> None:
    data = Minutes(_market(desk), quiet)
    desk._venues[US] = Venue(data, data)  # type: ignore[arg-type]


def _runs(desk: Desk, day: date, now: datetime) -> list[tuple[str, str, str, int]]:
    """Kind, start, end (UTC, of the day) and number of the slots of AAA's session."""
    (slots,) = session_slots(desk, _market(desk), "1m", [(day, "AAA")], now)
    clock = [(datetime.fromtimestamp(t // 10**9, UTC) for t in (run.start, run.end)) for run in slots.runs]
    return [(r.kind.code, f"{a:%H:%M}", f"{b:%H:%M}", r.slots) for r, (a, b) in zip(slots.runs, clock, strict=True)]


@pytest.mark.parametrize(
    ("day", "first", "last", "slots"),
    [
        ("2025-11-26", "14:30", "20:59", 390),  # winter
        ("2025-11-28", "14:30", "17:59", 210),  # half day
        ("2025-10-31", "13:30", "19:59", 390),  # the last session of summer time
        ("2025-11-03", "14:30", "20:59", 390),  # the first one after it
        ("2026-03-09", "13:30", "19:59", 390),
    ],
)
def test_the_grid_follows_the_calendar(desk: Desk, day: str, first: str, last: str, slots: int) -> None:
    grid = session_grid(_market(desk), "1m", date.fromisoformat(day))
    ends = pd.to_datetime(grid.starts[[0, -1]], utc=True)
    assert (f"{ends[0]:%H:%M}", f"{ends[1]:%H:%M}", len(grid.starts)) == (first, last, slots)
    assert ((grid.ends - grid.starts) == 60 * 10**9).all()


def test_a_daily_bar_is_over_with_its_session_and_the_last_hour_at_the_close(desk: Desk) -> None:
    daily = session_grid(_market(desk), "1d", HALF)
    hours = session_grid(_market(desk), "1h", HALF)
    assert pd.to_datetime(daily.ends[0], utc=True) == pd.Timestamp("2025-11-28T18:00Z")
    assert pd.to_datetime(hours.ends[-1], utc=True) == pd.Timestamp("2025-11-28T18:00Z")


def test_minutes_without_a_trade_are_told_from_minutes_not_fetched_yet(desk: Desk) -> None:
    quiet = [datetime(2025, 11, 26, 14, 40, tzinfo=UTC), datetime(2025, 11, 26, 14, 41, tzinfo=UTC)]
    _venue(desk, quiet)
    at = datetime(2025, 11, 26, 15, 0, 30, tzinfo=UTC)
    collect_recent(desk, _market(desk), DAY, RunContext(at, "r", tick=True))
    later = at + timedelta(minutes=10)
    assert _runs(desk, DAY, later) == [
        ("present", "14:30", "14:40", 10),
        ("no_trade", "14:40", "14:42", 2),
        ("present", "14:42", "15:00", 18),
        ("not_fetched", "15:00", "15:10", 10),
        ("not_yet", "15:10", "21:00", 350),
    ]
    (row,) = read_coverage(desk.db, US, ["AAA"], DAY, DAY, interval="1m")
    assert (row.expected, row.present, row.no_trade, row.status, row.fetched_to) == (390, 28, 2, "forming", at)


def test_an_import_leaves_unknown_minutes_and_the_venue_explains_them(desk: Desk, tmp_path: Path) -> None:
    quiet = [datetime(2025, 11, 28, 15, 0, tzinfo=UTC)]
    _venue(desk, quiet)
    path = tmp_path / "AAA_1min.csv"
    minutes = [n for n in range(210) if n not in (30, 31, 100)]
    rows = [f"2025-11-28 {9 + (30 + n) // 60:02}:{(30 + n) % 60:02}:00,1,1,1,1,1" for n in minutes]
    path.write_text("\n".join(["datetime,open,high,low,close,volume", *rows]) + "\n")
    now = datetime(2025, 11, 29, tzinfo=UTC)
    (result,) = import_files(desk.db, [path], at=now, symbol="AAA", tz="America/New_York", stamp="start", interval="1m")
    assert result.outcome == "stored", result.reason
    assert [run for run in _runs(desk, HALF, now) if run[0] != "present"] == [
        ("unknown", "15:00", "15:02", 2),
        ("unknown", "16:10", "16:11", 1),
    ]
    (hole,) = find_holes(desk, _market(desk), [HALF], ["AAA"], now)
    assert (hole.slots, hole.expected, hole.has_bars, hole.since) == (3, 210, True, None)
    assert hole.detail == "3 of 210 1m slots unknown, the first at 2025-11-28 15:00 UTC"
    # An import counts as fetched; only a repair or a new collection of that day asks the venue.
    assert collect_sessions(desk, _market(desk), [HALF], RunContext(now, "r")).requested_spans == 0


def test_a_tick_goes_on_from_what_was_fetched_whatever_was_imported_further_on(desk: Desk) -> None:
    _venue(desk)
    market, first = _market(desk), datetime(2025, 11, 26, 15, 0, tzinfo=UTC)
    collect_recent(desk, market, DAY, RunContext(first, "r", tick=True))
    frame = Minutes(market).bars(["AAA"], "1m", first + 60 * MINUTE, first + 70 * MINUTE)
    upsert_bars(desk.db, US, "1m", frame, source="file", feed="f", adjustment="raw", at=first + 75 * MINUTE)
    collect_recent(desk, market, DAY, RunContext(first + 80 * MINUTE, "r", tick=True))
    assert _runs(desk, DAY, first + 80 * MINUTE)[0] == ("present", "14:30", "16:20", 110)


def test_a_fetch_that_begins_after_a_gap_leaves_the_gap_not_fetched(desk: Desk) -> None:
    _venue(desk)
    market, first = _market(desk), datetime(2025, 11, 26, 15, 0, tzinfo=UTC)
    collect_recent(desk, market, DAY, RunContext(first, "r", tick=True))
    later, now = first + 60 * MINUTE, first + 80 * MINUTE
    frame = Minutes(market).bars(["AAA"], "1m", later, now)
    upsert_bars(desk.db, US, "1m", frame, source="alpaca", feed="iex", adjustment="raw", at=now)
    record_fetched(desk, market, "1m", ["AAA"], later, now, now)
    assert _runs(desk, DAY, now) == [
        ("present", "14:30", "15:00", 30),
        ("not_fetched", "15:00", "16:00", 60),
        ("present", "16:00", "16:20", 20),
        ("not_yet", "16:20", "21:00", 280),
    ]


def test_a_session_of_which_nothing_is_known_is_a_hole_only_once_something_was_collected(desk: Desk) -> None:
    _venue(desk)
    market, now = _market(desk), datetime(2025, 12, 1, 12, tzinfo=UTC)
    assert holes_so_far(desk, market, now) == ()
    collect_sessions(desk, market, [DAY], RunContext(now, "r"))
    (hole,) = holes_so_far(desk, market, now)
    assert (hole.session, hole.symbol, hole.interval, hole.has_bars) == (HALF, "AAA", "1m", False)
    (slots,) = session_slots(desk, market, "1m", [(HALF, "AAA")], now)
    assert slots.count(SlotKind.NOT_FETCHED) == 210


def test_a_hole_says_from_when_on_too_much_of_the_session_is_missing(desk: Desk, tmp_path: Path) -> None:
    path = tmp_path / "AAA_1min.csv"
    minutes = [n for n in range(210) if not 60 <= n < 150]
    rows = [f"2025-11-28 {9 + (30 + n) // 60:02}:{(30 + n) % 60:02}:00,1,1,1,1,1" for n in minutes]
    path.write_text("\n".join(["datetime,open,high,low,close,volume", *rows]) + "\n")
    now = datetime(2025, 11, 29, tzinfo=UTC)
    import_files(desk.db, [path], at=now, symbol="AAA", tz="America/New_York", stamp="start", interval="1m")
    (hole,) = find_holes(desk, _market(desk), [HALF], ["AAA"], now)
    # A quarter of 210 minutes is passed by the 53rd one after 15:30.
    assert (hole.slots, hole.since) == (90, datetime(2025, 11, 28, 16, 22, tzinfo=UTC))
