"""Fetching bars from a venue into storage: which spans are asked for, and that only closed bars are kept.

What is stored is keyed by the time the venue returned. Whether the stored bars are good is said by `bars.py`, which of
them the venue has withdrawn by `withdrawn.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.collect_plan import plan_chunks
from quant_pipeline.steps.coverage import record_fetched
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import bar_closes, session_span, session_starts
from quant_pipeline.steps.withdrawn import ADJUSTMENT, given_before, withdraw
from quant_pipeline.storage.bars import last_bars, upsert_bars
from quant_pipeline.storage.changes import bar_ends
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.partitions import ensure_months_ahead

Progress = Callable[[str, float], None]
"""Told what is being fetched, and the part that is done (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection changed: bars new, bars with other values than before, bars seen again unchanged.

    `withdrawn` bars are deleted because the venue has them no more, `doubts` say which ones it did not give and why
    they were kept.
    """

    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    requested_spans: int = 0
    withdrawn: int = 0
    doubts: tuple[str, ...] = ()

    def __add__(self, other: Collected) -> Collected:
        """The sum of two collections."""
        return Collected(
            self.inserted + other.inserted,
            self.changed + other.changed,
            self.unchanged + other.unchanged,
            self.requested_spans + other.requested_spans,
            self.withdrawn + other.withdrawn,
            self.doubts + other.doubts,
        )


def silent(_text: str, _part: float) -> None:
    """Progress that nobody wants to see."""


def collect_recent(desk: Desk, market: MarketSettings, session: date, context: RunContext) -> Collected:
    """Fetch what a tick needs: from what each symbol is known up to (less a re-check) to now."""
    ensure_months_ahead(desk.db, context.now)
    interval = market.base_interval
    floor = session_starts(calendar.previous_session(market.market.calendar, session))
    known = _known_until(desk, market, interval, floor, context)
    again = _asked_again_from(desk, market, interval, known, floor, context)
    starts = [again.get(symbol, floor) for symbol in _symbols(market, context)]
    return fetch(desk, market, interval, _symbols(market, context), min(starts), context)


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
        total += fetch(desk, market, chunk.interval, chunk.symbols, start, context, end=end)
        done += chunk.rows
    if chunks:
        withdrawn = f", {total.withdrawn} withdrawn" if total.withdrawn else ""
        progress(f"{total.inserted} bars new, {total.changed} changed{withdrawn}", 1.0)
    return total


def fetch(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    symbols: Sequence[str],
    start: datetime,
    context: RunContext,
    *,
    end: datetime | None = None,
) -> Collected:
    """Ask for the bars of [start, end), at most up to now, and store what the venue says: also that a bar is no more."""
    stop = min(end, context.now) if end is not None else context.now
    if start >= stop:
        return Collected()
    held = given_before(desk, market, interval, symbols, start, stop)

    def ask(some: Sequence[str]) -> pd.DataFrame:
        return desk.venue(market).data.bars(some, interval, start, stop)

    frame = ask(symbols)
    closes = bar_closes(market, frame["ts"], interval)
    closed = frame[closes <= np.datetime64(context.now.replace(tzinfo=None), "ns")].reset_index(drop=True)
    change = upsert_bars(
        desk.db,
        market.name,
        interval,
        closed,
        source=market.market.venue,
        feed=market.feed,
        adjustment=ADJUSTMENT,
        at=context.now,
    )
    gone = withdraw(desk, market, interval, held, frame, context.now, ask=ask)
    record_fetched(desk, market, interval, symbols, start, stop, context.now)
    return Collected(change.inserted, change.changed, change.unchanged, 1, gone.deleted, gone.doubts)


def _asked_again_from(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    known: Mapping[str, datetime],
    floor: datetime,
    context: RunContext,
) -> dict[str, datetime]:
    """Where the re-check of each symbol begins that is known up to `floor`, the session before, at least.

    Daily bars are counted, because a weekend is no re-check. They may lie before `floor`: only what has bars on both
    sides in an answer can be seen to be withdrawn.
    """
    if interval != "1d":
        recheck = market.recheck_bars * timedelta(seconds=interval_seconds(interval))
        return {symbol: max(floor, last - recheck) for symbol, last in known.items()}
    recent = [symbol for symbol, last in known.items() if last >= floor]
    bars = last_bars(desk.db, market.name, interval, recent, market.recheck_bars + 1, context.now)
    oldest = floor - timedelta(days=2 * market.recheck_bars + 7)
    return {
        str(symbol): max(oldest, starts.to_pydatetime())
        for symbol, starts in bars.groupby("symbol")["ts"].min().items()
    }


def _known_until(
    desk: Desk, market: MarketSettings, interval: str, floor: datetime, context: RunContext
) -> dict[str, datetime]:
    """The start of the last bar of each symbol that was fetched, or would have been if there had been a trade.

    Coverage says up to when a session was fetched: a market in which nobody trades is not asked about from its last
    trade on again and again, and what somebody imported further on hides no gap. Without that the last stored bar counts.
    """
    symbols, step = _symbols(market, context), interval_seconds(interval)
    known = {symbol: last for symbol, (_, last) in bar_ends(desk.db, market.name, interval, symbols).items()}
    if interval == "1d":
        return known
    fetched: dict[str, datetime] = {}
    for row in read_coverage(desk.db, market.name, symbols, floor.date(), context.now.date(), interval=interval):
        if row.fetched_to is not None:
            seen = datetime.fromtimestamp((int(row.fetched_to.timestamp()) // step - 1) * step, UTC)
            end = calendar.session_hours(market.market.calendar, row.session).closes_at - timedelta(seconds=step)
            fetched[row.symbol] = min(seen, end)
    return known | fetched


def _symbols(market: MarketSettings, context: RunContext) -> tuple[str, ...]:
    return market.symbols if context.symbols is None else context.symbols


def _uncovered(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext
) -> dict[date, tuple[str, ...]]:
    """For each session the symbols that were neither fetched completely nor imported, at any usable interval."""
    symbols = _symbols(market, context)
    known = read_coverage(desk.db, market.name, symbols, sessions[0], sessions[-1])
    complete = {(row.session, row.symbol) for row in known if row.status in ("complete", "partial")}
    return {s: tuple(symbol for symbol in symbols if (s, symbol) not in complete) for s in sessions}
