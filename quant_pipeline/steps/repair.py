"""Filling holes: which are due for another try, and asking the venue for exactly those. Runs are started elsewhere.

A repair adds bars that are absent and never changes one that is there. What the venue confirms as empty had no trade.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.collect import Collected
from quant_pipeline.steps.coverage import record_fetched
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.gaps import Hole, find_holes, holes_so_far, keys_of
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import bar_closes, session_span
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.repairs import BarRepair, begin_tries, forget_tries, note_reason, read_repairs
from quant_pipeline.venues.errors import UnknownSymbol, VenueError

_WAIT_FACTOR = 4
"""Each wait before another try is so many times the one before: a venue that is down for hours costs few tries."""
_SHOWN = 5
_ASKED = "the venue was asked and the run did not come back"


@dataclass(frozen=True, slots=True)
class Repair:
    """Neighbouring sessions that have holes in the same symbols."""

    first: date
    last: date
    symbols: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class GivenUp:
    """A hole that is not asked for again, and why."""

    hole: Hole
    tries: int
    last_try: datetime
    reason: str

    def sentence(self) -> str:
        """For people."""
        return (
            f"{self.hole.symbol} {self.hole.session}: given up after {self.tries} tries, the last at "
            f"{self.last_try:%Y-%m-%d %H:%M} UTC: {self.reason}"
        )


@dataclass(frozen=True, slots=True)
class Outlook:
    """The holes of a market: those to fill now, those that wait for another try, those that are given up."""

    due: tuple[Hole, ...]
    waiting: tuple[Hole, ...]
    given_up: tuple[GivenUp, ...]

    def sentence(self) -> str:
        """In a line for people: how many holes there are, and why those that are given up are."""
        if not (self.due or self.waiting or self.given_up):
            return "every session that is over is explained: each slot has a bar or is known to have had no trade"
        text = f"{len(self.due)} holes to fill, {len(self.waiting)} wait for another try, {len(self.given_up)} given up"
        return "; ".join([text, *(one.sentence() for one in self.given_up[:_SHOWN])])

    def repairs(self, market: MarketSettings) -> tuple[Repair, ...]:
        """What is due as spans of neighbouring sessions with the same symbols, in order of time."""
        symbols: dict[date, list[str]] = {}
        for hole in self.due:
            symbols.setdefault(hole.session, []).append(hole.symbol)
        found: list[Repair] = []
        for session in sorted(symbols):
            named = tuple(sorted(symbols[session]))
            last = found[-1] if found else None
            joins = last is not None and calendar.next_session(market.market.calendar, last.last) == session
            if last is not None and joins and last.symbols == named:
                found[-1] = Repair(last.first, session, named)
            else:
                found.append(Repair(session, session, named))
        return tuple(found)


def outlook(desk: Desk, market: MarketSettings, now: datetime) -> Outlook:
    """All holes of sessions that are over, by what is to be done about them."""
    holes = holes_so_far(desk, market, now)
    if not holes:
        return Outlook((), (), ())
    tried = {_key(row): row for row in read_repairs(desk.db, market.name, holes[0].session, holes[-1].session)}
    due: list[Hole] = []
    waiting: list[Hole] = []
    given_up: list[GivenUp] = []
    for hole, key in zip(holes, keys_of(holes), strict=True):
        row = tried.get(key)
        if row is None or (row.tries < market.quality.repair_tries and now >= next_try(market, row)):
            due.append(hole)
        elif row.tries < market.quality.repair_tries:
            waiting.append(hole)
        else:
            given_up.append(GivenUp(hole, row.tries, row.last_try, row.reason))
    return Outlook(tuple(due), tuple(waiting), tuple(given_up))


def given_up(desk: Desk, market: MarketSettings, holes: Sequence[Hole]) -> tuple[GivenUp, ...]:
    """Those of some holes (by session) that are not asked for again."""
    if not holes:
        return ()
    tried = {_key(row): row for row in read_repairs(desk.db, market.name, holes[0].session, holes[-1].session)}
    pairs = ((hole, tried.get(key)) for hole, key in zip(holes, keys_of(holes), strict=True))
    return tuple(
        GivenUp(hole, row.tries, row.last_try, row.reason)
        for hole, row in pairs
        if row is not None and row.tries >= market.quality.repair_tries
    )


def next_try(market: MarketSettings, row: BarRepair) -> datetime:
    """When a hole that was tried may be tried again."""
    factor: int = _WAIT_FACTOR ** (row.tries - 1)
    return row.last_try + factor * timedelta(minutes=market.quality.repair_wait_minutes)


def repair_sessions(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> Collected:
    """Ask the venue for the holes of `sessions`, whatever was tried before, and store what it has.

    Raises:
        VenueError: the venue did not answer for some holes; the others are filled, the try is counted and keeps the
            message.
    """
    symbols = market.symbols if context.symbols is None else context.symbols
    holes = find_holes(desk, market, sessions, symbols, context.now)
    total, failed = Collected(), list[VenueError]()
    parts = deque(_parts(market, holes))
    begin_tries(desk.db, market.name, keys_of(holes), at=context.now, reason=_ASKED)
    while parts:
        part = parts.popleft()
        try:
            total += _fill(desk, market, part, context)
        except UnknownSymbol as error:
            alone = [[hole for hole in part if hole.symbol == symbol] for symbol in sorted({h.symbol for h in part})]
            if len(alone) > 1:
                parts.extend(alone)
                continue
            _note(desk, market, part, error)
            failed.append(error)
        except VenueError as error:
            _note(desk, market, part, error)
            failed.append(error)
    _settle(desk, market, holes, context.now, asked=not failed)
    if failed:
        raise failed[0]
    return total


def _note(desk: Desk, market: MarketSettings, holes: Sequence[Hole], error: VenueError) -> None:
    note_reason(desk.db, market.name, keys_of(holes), f"{type(error).__name__}: {error}")


def _parts(market: MarketSettings, holes: Sequence[Hole]) -> Iterator[list[Hole]]:
    """Holes that one request can fill: the same interval and symbols, neighbouring sessions."""
    for interval in sorted({hole.interval for hole in holes}):
        own = [hole for hole in holes if hole.interval == interval]
        for span in Outlook(tuple(own), (), ()).repairs(market):
            yield [hole for hole in own if span.first <= hole.session <= span.last and hole.symbol in span.symbols]


def _fill(desk: Desk, market: MarketSettings, holes: Sequence[Hole], context: RunContext) -> Collected:
    interval, symbols = holes[0].interval, sorted({hole.symbol for hole in holes})
    start, end = session_span(holes[0].session, holes[-1].session)
    stop = min(end, context.now)
    frame = desk.venue(market).data.bars(symbols, interval, start, stop)
    closes = bar_closes(market, frame["ts"], interval)
    closed = frame[closes <= np.datetime64(context.now.replace(tzinfo=None), "ns")]
    stored = read_bars(desk.db, market.name, interval, symbols, start, stop)
    known = pd.MultiIndex.from_frame(stored[["symbol", "ts"]])
    absent = closed[~pd.MultiIndex.from_frame(closed[["symbol", "ts"]]).isin(known)].reset_index(drop=True)
    change = upsert_bars(
        desk.db,
        market.name,
        interval,
        absent,
        source=market.market.venue,
        feed=market.feed,
        adjustment="raw",
        at=context.now,
    )
    record_fetched(desk, market, interval, symbols, start, stop, context.now, kept=True)
    return Collected(change.inserted, change.changed, len(closed) - len(absent), 1)


def _settle(desk: Desk, market: MarketSettings, tried: Sequence[Hole], now: datetime, *, asked: bool) -> None:
    """Forget the tries of holes that are gone; if the venue answered every time, say of the others what is left."""
    if not tried:
        return
    sessions = sorted({hole.session for hole in tried})
    left = {
        (hole.session, hole.symbol): hole
        for hole in find_holes(desk, market, sessions, sorted({hole.symbol for hole in tried}), now)
    }
    gone = [hole for hole in tried if (hole.session, hole.symbol) not in left]
    forget_tries(desk.db, market.name, keys_of(gone))
    for hole in tried:
        rest = left.get((hole.session, hole.symbol))
        if rest is not None and asked:
            note_reason(desk.db, market.name, keys_of([hole]), f"after asking the venue: {rest.detail}")


def _key(row: BarRepair) -> tuple[date, str, str]:
    return row.session, row.symbol, row.interval
