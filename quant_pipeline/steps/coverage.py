"""What is known of each slot of a session: recording what a venue was asked for, and telling absent bars apart.

Asking the venue belongs to `collect.py` and `repair.py`, judging the bars that are there to `quality.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np

from quant_pipeline.core.anchor import symbol_blocks
from quant_pipeline.core.slots import Kinds, Nanoseconds, SlotKind, SlotRun, Slots, slot_kinds, slot_runs
from quant_pipeline.importers.grid import full_slots, slot_ends
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import as_dates, session_column, session_span, session_starts
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage

COMPLETE, FORMING, PARTIAL = "complete", "forming", "partial"


@dataclass(frozen=True, slots=True)
class SessionSlots:
    """The slots of one symbol's session, neighbours of one kind together; `interval` is that of the slots."""

    symbol: str
    session: date
    interval: str
    runs: tuple[SlotRun, ...]

    def count(self, *kinds: SlotKind) -> int:
        """How many slots are of one of `kinds`."""
        return sum(run.slots for run in self.runs if run.kind in kinds)

    @property
    def holes(self) -> tuple[SlotRun, ...]:
        """The runs of slots of which nobody can say why they have no bar."""
        return tuple(run for run in self.runs if run.kind.is_hole)


def session_grid(market: MarketSettings, interval: str, session: date) -> Slots:
    """The grid of a session: regular hours of stocks (half days and clock changes included), 24 hours of crypto."""
    name = market.market.calendar
    starts = full_slots(name, interval, (session,), 0)
    return Slots(starts, slot_ends(name, interval, (session,), starts))


def session_slots(
    desk: Desk, market: MarketSettings, interval: str, pairs: Sequence[tuple[date, str]], now: datetime
) -> tuple[SessionSlots, ...]:
    """Every slot of the (session, symbol) pairs by kind, to the minute. A session nobody asked for is not fetched."""
    if not pairs:
        return ()
    first, last = min(session for session, _ in pairs), max(session for session, _ in pairs)
    symbols = sorted({symbol for _, symbol in pairs})
    times = _stored_times(desk, market, interval, symbols, first, last)
    known = _known(desk, market, interval, symbols, first, last)
    grids = {session: session_grid(market, interval, session) for session in {session for session, _ in pairs}}
    found = []
    for session, symbol in sorted(pairs):
        key, grid = (session, symbol), grids[session]
        kinds = _kinds(grid, times.get(key, _NONE), known.get(key), now)
        found.append(SessionSlots(symbol, session, interval, slot_runs(grid, kinds)))
    return tuple(found)


def record_fetched(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    symbols: Sequence[str],
    start: datetime,
    stop: datetime,
    now: datetime,
    *,
    kept: bool = False,
) -> None:
    """Record that the venue was asked for [start, stop) and that all it gave is stored.

    With `kept` bars that were there before stayed as they were, whoever had given them: the session then keeps the
    names of their source and feed, beside the venue's own if it added some.

    A session of which the fetch saw only the later part goes on from what was fetched before; where nothing joins,
    the part in between stays not fetched, and a session of which nothing was fetched before is left to be collected.
    """
    listed = calendar.sessions(market.market.calendar, start.date(), (stop - timedelta(microseconds=1)).date())
    if not listed:
        return
    times = _stored_times(desk, market, interval, symbols, listed[0], listed[-1])
    known = _known(desk, market, interval, symbols, listed[0], listed[-1])
    rows = []
    for session in listed:
        grid = session_grid(market, interval, session)
        end = min(stop, session_starts(session) + timedelta(days=1))
        begun = start <= _moment(grid.starts[0])
        for symbol in symbols:
            before = known.get((session, symbol))
            if before is None and not begun:
                continue
            earlier = None if before is None else before.fetched_to
            joins = begun or (earlier is not None and start <= earlier)
            fetched_to = max(end, earlier or end) if joins else earlier
            held = times.get((session, symbol), _NONE)
            row = _row(market, interval, session, symbol, grid, held, fetched_to, before, now)
            rows.append(_with_origin(row, before) if kept and before is not None and before.present else row)
    record_coverage(desk.db, rows)


def recount(
    desk: Desk, market: MarketSettings, interval: str, symbols: Sequence[str], sessions: Sequence[date], now: datetime
) -> None:
    """Count again what is stored of sessions that have coverage, after bars were added or taken away by hand."""
    times = _stored_times(desk, market, interval, symbols, min(sessions), max(sessions))
    known = _known(desk, market, interval, symbols, min(sessions), max(sessions))
    rows = []
    for (session, symbol), row in known.items():
        if session in set(sessions):
            grid, held = session_grid(market, interval, session), times.get((session, symbol), _NONE)
            rows.append(_row(market, interval, session, symbol, grid, held, row.fetched_to, row, now))
    record_coverage(desk.db, rows)


def used_coverage(market: MarketSettings, rows: Sequence[Coverage]) -> dict[tuple[date, str], Coverage]:
    """For each (session, symbol) the row of the bars that decisions are made from: base bars where there are any.

    Without any bar, the row that explains most counts.
    """
    rank = {interval: n for n, interval in enumerate(intervals_of(market))}
    found: dict[tuple[date, str], Coverage] = {}
    for row in sorted(rows, key=lambda r: rank.get(r.interval, len(rank))):
        if row.interval not in rank:
            continue
        kept = found.get((row.session, row.symbol))
        if kept is None or (kept.present == 0 and (row.present > 0 or kept.status != COMPLETE)):
            found[row.session, row.symbol] = row
    return found


def intervals_of(market: MarketSettings) -> tuple[str, ...]:
    """The intervals whose bars decisions are made from, the preferred one first."""
    return tuple(dict.fromkeys((market.base_interval, market.decision_interval)))


def _row(
    market: MarketSettings,
    interval: str,
    session: date,
    symbol: str,
    grid: Slots,
    held: Nanoseconds,
    fetched_to: datetime | None,
    before: Coverage | None,
    now: datetime,
) -> Coverage:
    there = np.isin(grid.starts, held)
    asked = fetched_to is not None
    over = grid.ends <= _nanoseconds(now)
    no_trade = ~there & over & (grid.ends <= (_nanoseconds(fetched_to) if fetched_to is not None else -1))
    status = COMPLETE if bool((over & (there | no_trade)).all()) else FORMING
    if status == FORMING and before is not None and before.status == PARTIAL and before.fetched_to == fetched_to:
        status = PARTIAL
    return Coverage(
        market=market.name,
        symbol=symbol,
        interval=interval,
        session=session,
        expected=len(grid.starts),
        present=int(there.sum()),
        no_trade=int(no_trade.sum()),
        first_ts=_moment(held[0]) if len(held) else None,
        last_ts=_moment(held[-1]) if len(held) else None,
        source=market.market.venue if asked or before is None else before.source,
        feed=market.feed if asked or before is None else before.feed,
        adjustment="raw" if asked or before is None else before.adjustment,
        status=status,
        checked_at=now,
        fetched_to=fetched_to,
    )


def _with_origin(row: Coverage, before: Coverage) -> Coverage:
    """The row with the origin of the bars that were there before, and of those that came to them."""
    if row.present == before.present:
        return replace(row, source=before.source, feed=before.feed, adjustment=before.adjustment)
    pairs = ((getattr(before, name), getattr(row, name)) for name in ("source", "feed", "adjustment"))
    source, feed, adjustment = ("+".join(dict.fromkeys((*was.split("+"), new))) for was, new in pairs)
    return replace(row, source=source, feed=feed, adjustment=adjustment)


def _kinds(grid: Slots, held: Nanoseconds, row: Coverage | None, now: datetime) -> Kinds:
    fetched = None if row is None or row.fetched_to is None else _nanoseconds(row.fetched_to)
    imported = row is not None and row.status == PARTIAL
    return slot_kinds(grid, held, fetched_to=fetched, now=_nanoseconds(now), imported=imported)


def _stored_times(
    desk: Desk, market: MarketSettings, interval: str, symbols: Sequence[str], first: date, last: date
) -> Mapping[tuple[date, str], Nanoseconds]:
    """Starts of the stored bars of each (session, symbol), ascending."""
    stored = read_bars(desk.db, market.name, interval, symbols, *session_span(first, last))
    starts = stored["ts"].to_numpy(dtype="datetime64[ns]").astype(np.int64)
    days = session_column(stored["ts"])
    found: dict[tuple[date, str], Nanoseconds] = {}
    for symbol, begin, end in symbol_blocks(stored):
        held, at = np.unique(days[begin:end], return_index=True)
        for day, times in zip(as_dates(held), np.split(starts[begin:end], at[1:]), strict=True):
            found[day, symbol] = times
    return found


def _known(
    desk: Desk, market: MarketSettings, interval: str, symbols: Sequence[str], first: date, last: date
) -> dict[tuple[date, str], Coverage]:
    rows = read_coverage(desk.db, market.name, symbols, first, last, interval=interval)
    return {(row.session, row.symbol): row for row in rows}


def _nanoseconds(at: datetime) -> int:
    return ((at - _EPOCH) // timedelta(microseconds=1)) * 1000


def _moment(nanoseconds: np.int64) -> datetime:
    return _EPOCH + timedelta(microseconds=int(nanoseconds) // 1000)


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NONE: Nanoseconds = np.empty(0, np.int64)
