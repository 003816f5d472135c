"""Fetching bars from a venue into storage: which spans are asked for, and that only closed bars are kept.

What is stored is keyed by the time the venue returned. Whether the stored bars are good is said by `bars.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.collect_plan import expected_bars, plan_chunks
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import bar_closes, session_column, session_span, session_starts
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.changes import bar_ends
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.partitions import ensure_months_ahead

Progress = Callable[[str, float], None]
"""Told what is being fetched, and the part that is done (0 to 1)."""

_SEEN_WHOLE = ("forming", "complete")
"""Coverage of sessions that were fetched from their beginning on."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection changed: bars new, bars with other values than before, bars seen again unchanged."""

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    requested_spans: int = 0

    def __add__(self, other: Collected) -> Collected:
        """The sum of two collections."""
        return Collected(
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.requested_spans + other.requested_spans,
        )


def silent(_text: str, _part: float) -> None:
    """Progress that nobody wants to see."""


def collect_recent(desk: Desk, market: MarketSettings, session: date, context: RunContext) -> Collected:
    """Fetch what a tick needs: from what each symbol is known up to (less a re-check) to now."""
    ensure_months_ahead(desk.db, context.now)
    interval = market.base_interval
    floor = session_starts(calendar.previous_session(market.market.calendar, session))
    recheck = market.recheck_bars * timedelta(seconds=interval_seconds(interval))
    known = _known_until(desk, market, interval, floor, context)
    starts = [max(floor, known[s] - recheck) if s in known else floor for s in _symbols(market, context)]
    return _fetch(desk, market, interval, _symbols(market, context), min(starts), context)


def collect_sessions(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext, *, progress: Progress = silent
) -> Collected:
    """Fetch the sessions that were never fetched completely, piece by piece, at the interval that fits their age.

    Bars and coverage of a piece are committed before the next one is asked for. Coverage alone says what is missing,
    so a run that was killed is continued by any later one, which loses at most a piece.
    """
    total = Collected()
    chunks = plan_chunks(market, _uncovered(desk, market, sessions, context), context.now)
    rows, done = sum(chunk.rows for chunk in chunks), 0
    for chunk in chunks:
        first, last = chunk.sessions[0], chunk.sessions[-1]
        symbols = chunk.symbols[0] if len(chunk.symbols) == 1 else f"{len(chunk.symbols)} symbols"
        progress(f"{chunk.interval} bars of {symbols} from {first} to {last}", done / rows)
        start, end = session_span(first, last)
        total += _fetch(desk, market, chunk.interval, chunk.symbols, start, context, end=end)
        done += chunk.rows
    if chunks:
        progress(f"{total.inserted} bars new, {total.changed} changed", 1.0)
    return total


def _known_until(
    desk: Desk, market: MarketSettings, interval: str, floor: datetime, context: RunContext
) -> dict[str, datetime]:
    """The start of the last bar of each symbol that is stored, or that would be if there had been a trade.

    Coverage says up to when a session was seen: a market in which nobody trades is not asked about from its last trade
    on again and again.
    """
    symbols, step = _symbols(market, context), interval_seconds(interval)
    known = {symbol: last for symbol, (_, last) in bar_ends(desk.db, market.name, interval, symbols).items()}
    if interval == "1d":
        return known
    for row in read_coverage(desk.db, market.name, symbols, floor.date(), context.now.date(), interval=interval):
        if row.symbol in known and row.source == market.market.venue and row.status in _SEEN_WHOLE:
            seen = datetime.fromtimestamp((int(row.checked_at.timestamp()) // step - 1) * step, UTC)
            end = calendar.session_hours(market.market.calendar, row.session).closes_at - timedelta(seconds=step)
            known[row.symbol] = max(known[row.symbol], min(seen, end))
    return known


def _symbols(market: MarketSettings, context: RunContext) -> tuple[str, ...]:
    return market.symbols if context.symbols is None else context.symbols


def _fetch(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    symbols: Sequence[str],
    start: datetime,
    context: RunContext,
    *,
    end: datetime | None = None,
) -> Collected:
    stop = min(end, context.now) if end is not None else context.now
    if start >= stop:
        return Collected()
    frame = desk.venue(market).data.bars(symbols, interval, start, stop)
    closes = bar_closes(market, frame["ts"], interval)
    closed = frame[closes <= np.datetime64(context.now.replace(tzinfo=None), "ns")].reset_index(drop=True)
    change = upsert_bars(
        desk.db,
        market.name,
        interval,
        closed,
        source=market.market.venue,
        feed=market.feed,
        adjustment="raw",
        at=context.now,
    )
    _record_coverage(desk, market, interval, symbols, start, stop, context)
    return Collected(change.inserted, change.changed, change.unchanged, 1)


def _record_coverage(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    symbols: Sequence[str],
    start: datetime,
    stop: datetime,
    context: RunContext,
) -> None:
    """Count what is stored of each fetched session; a session that had closed is complete: what is absent had no trade.

    Of the session in which the fetch began, only symbols whose earlier part was fetched before are counted: ticks go on
    from the last stored bar, so nothing is missing in between.
    """
    last = (stop - timedelta(microseconds=1)).date()
    listed = calendar.sessions(market.market.calendar, start.date(), last)
    if not listed:
        return
    begun = None if session_starts(listed[0]) >= start else _begun(desk, market, interval, symbols, listed[0])
    stored = read_bars(desk.db, market.name, interval, symbols, *session_span(listed[0], listed[-1]))
    groups = dict(
        iter(stored.groupby([stored["symbol"], pd.Series(session_column(stored["ts"]), index=stored.index)])["ts"])
    )
    rows = [
        _coverage_row(market, interval, session, symbol, groups.get((symbol, pd.Timestamp(session))), context.now)
        for session in listed
        for symbol in (symbols if begun is None or session != listed[0] else begun)
    ]
    record_coverage(desk.db, rows)


def _coverage_row(
    market: MarketSettings, interval: str, session: date, symbol: str, times: pd.Series | None, now: datetime
) -> Coverage:
    """What is there of one symbol's session; `times` are the starts of its stored bars."""
    expected = expected_bars(market, interval, session)
    over = calendar.session_hours(market.market.calendar, session).closes_at <= now
    present = 0 if times is None else len(times)
    return Coverage(
        market=market.name,
        symbol=symbol,
        interval=interval,
        session=session,
        expected=expected,
        present=present,
        no_trade=max(expected - present, 0) if over else 0,
        first_ts=None if times is None else times.iloc[0].to_pydatetime(),
        last_ts=None if times is None else times.iloc[-1].to_pydatetime(),
        source=market.market.venue,
        feed=market.feed,
        adjustment="raw",
        status="complete" if over else "forming",
        checked_at=now,
    )


def _begun(desk: Desk, market: MarketSettings, interval: str, symbols: Sequence[str], session: date) -> tuple[str, ...]:
    """The symbols whose bars of `session` were fetched from its beginning on by an earlier collection."""
    known = read_coverage(desk.db, market.name, symbols, session, session, interval=interval)
    return tuple(r.symbol for r in known if r.source == market.market.venue and r.status in _SEEN_WHOLE)


def _uncovered(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext
) -> dict[date, tuple[str, ...]]:
    """For each session the symbols that were neither fetched completely nor imported, at any usable interval."""
    symbols = _symbols(market, context)
    known = read_coverage(desk.db, market.name, symbols, sessions[0], sessions[-1])
    complete = {(row.session, row.symbol) for row in known if row.status in ("complete", "partial")}
    return {s: tuple(symbol for symbol in symbols if (s, symbol) not in complete) for s in sessions}
