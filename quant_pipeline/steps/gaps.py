"""Holes: sessions with slots of which nobody knows why they have no bar. Filling them belongs to `repair.py`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

from quant_pipeline.core.slots import SlotKind
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.coverage import SessionSlots, intervals_of, session_slots, used_coverage
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import default_interval
from quant_pipeline.storage.coverage import first_covered, open_sessions, read_coverage


@dataclass(frozen=True, slots=True)
class Hole:
    """A symbol's session with unexplained slots, at the interval that its decisions are made from.

    `slots` are those without a reason, of `expected`; `since` is when their share passed the one given (UTC), None
    while it did not. `has_bars` is false where nothing at all is stored.
    """

    session: date
    symbol: str
    interval: str
    slots: int
    expected: int
    has_bars: bool
    since: datetime | None
    detail: str


def find_holes(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], symbols: Sequence[str], now: datetime
) -> tuple[Hole, ...]:
    """The holes of `sessions`, by (session, symbol). Slots that are not over at `now` are none."""
    begun = [s for s in sessions if calendar.session_hours(market.market.calendar, s).opens_at < now]
    if not begun or not symbols:
        return ()
    pairs = open_sessions(desk.db, market.name, symbols, begun, intervals=intervals_of(market))
    if not pairs:
        return ()
    rows = read_coverage(desk.db, market.name, symbols, pairs[0][0], pairs[-1][0])
    used = used_coverage(market, rows)
    asked: dict[str, list[tuple[date, str]]] = {}
    for session, symbol in pairs:
        row = used.get((session, symbol))
        interval = default_interval(market, session, now) if row is None else row.interval
        asked.setdefault(interval, []).append((session, symbol))
    found = [
        hole
        for interval, listed in asked.items()
        for slots in session_slots(desk, market, interval, listed, now)
        if (hole := _hole(market, slots)) is not None
    ]
    return tuple(sorted(found, key=lambda hole: (hole.session, hole.symbol)))


def holes_so_far(desk: Desk, market: MarketSettings, now: datetime) -> tuple[Hole, ...]:
    """All holes of sessions that are over, from the first session of which anything is known.

    Before anything was collected or imported there is none: filling a new desk is a backfill.
    """
    first = first_covered(desk.db, market.name, market.symbols, market.history_start)
    if first is None:
        return ()
    last = calendar.last_closed_session(market.market.calendar, now)
    return find_holes(desk, market, calendar.sessions(market.market.calendar, first, last), market.symbols, now)


def keys_of(holes: Iterable[Hole]) -> list[tuple[date, str, str]]:
    """(session, symbol, interval) of each hole."""
    return [(hole.session, hole.symbol, hole.interval) for hole in holes]


def _hole(market: MarketSettings, slots: SessionSlots) -> Hole | None:
    missing = slots.count(SlotKind.UNKNOWN, SlotKind.NOT_FETCHED)
    if not missing:
        return None
    expected = sum(run.slots for run in slots.runs)
    limit, passed, counted = market.quality.hole_share * expected, None, 0
    for run in slots.holes:
        step = (run.end - run.start) // run.slots
        needed = max(int(-(-limit // 1)) - counted, 1)
        if passed is None and run.slots >= needed:
            passed = _moment(run.start + (needed - 1) * step)
        counted += run.slots
    first, kinds = slots.holes[0], {run.kind.code for run in slots.holes}
    detail = f"{missing} of {expected} {slots.interval} slots {' and '.join(sorted(kinds))}, the first at "
    detail += f"{_moment(first.start):%Y-%m-%d %H:%M} UTC"
    has_bars = slots.count(SlotKind.PRESENT) > 0
    return Hole(slots.session, slots.symbol, slots.interval, missing, expected, has_bars, passed, detail)


def _moment(nanoseconds: int) -> datetime:
    return datetime.fromtimestamp(nanoseconds // 1_000_000_000, UTC)
