"""Fetching bars from a venue into storage: which spans are asked for, and that only closed bars are kept.

What is stored is keyed by the time the venue returned. Whether the stored bars are good is said by `bars.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import bar_closes, session_column, session_span, session_starts
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.changes import bar_ends
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage

RECHECK_BARS = 3
"""Closed bars that every tick fetches again, so that a late correction overwrites."""


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


def collect_recent(desk: Desk, market: MarketSettings, session: date, context: RunContext) -> Collected:
    """Fetch what a tick needs: from the last stored bar of each symbol (less a re-check) to now."""
    interval = market.base_interval
    floor = session_starts(calendar.previous_session(market.market.calendar, session))
    ends = bar_ends(desk.db, market.name, interval, _symbols(market, context))
    step = timedelta(seconds=interval_seconds(interval))
    starts = [max(floor, ends[s][1] - RECHECK_BARS * step) if s in ends else floor for s in _symbols(market, context)]
    return _fetch(desk, market, interval, _symbols(market, context), min(starts), context)


def collect_sessions(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> Collected:
    """Fetch the sessions that were never fetched completely, in contiguous spans, at the interval that fits their age."""
    total = Collected()
    missing = _uncovered(desk, market, sessions, context)
    for interval, first, last in _spans(market, missing, context.now):
        start, end = session_span(first, last)
        total += _fetch(desk, market, interval, _symbols(market, context), start, context, end=end)
    return total


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
    hours = calendar.session_hours(market.market.calendar, session)
    length = int((hours.closes_at - hours.opens_at).total_seconds())
    expected = 1 if interval == "1d" else length // interval_seconds(interval)
    over = hours.closes_at <= now
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
    kept = ("forming", "complete")
    return tuple(row.symbol for row in known if row.source == market.market.venue and row.status in kept)


def _uncovered(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> list[date]:
    """Sessions for which some symbol was neither fetched completely nor imported, at any usable interval."""
    symbols = _symbols(market, context)
    known = read_coverage(desk.db, market.name, symbols, sessions[0], sessions[-1])
    complete = {(row.session, row.symbol) for row in known if row.status in ("complete", "partial")}
    return [s for s in sessions if any((s, symbol) not in complete for symbol in symbols)]


def _spans(market: MarketSettings, sessions: Sequence[date], now: datetime) -> Iterator[tuple[str, date, date]]:
    """Contiguous spans of `sessions` with the interval to collect them at."""
    recent = now.date() - timedelta(days=market.recent_base_sessions)
    current: tuple[str, date, date] | None = None
    for session in sorted(sessions):
        interval = market.base_interval if session >= recent else market.decision_interval
        follows = current is not None and calendar.next_session(market.market.calendar, current[2]) == session
        if current is not None and follows and current[0] == interval:
            current = (interval, current[1], session)
            continue
        if current is not None:
            yield current
        current = (interval, session, session)
    if current is not None:
        yield current
