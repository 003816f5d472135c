"""Splits in the broker's book: the ledger follows what the venue does overnight, and old prices are told in new units."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal

from quant_pipeline.core.jumps import LONGEST_NIGHT, unexplained_jump
from quant_pipeline.core.values import Quote
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import has_actions, stored_actions
from quant_pipeline.steps.decision_bars import LastClose, last_closes
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import session_starts
from quant_pipeline.storage.books import book_state
from quant_pipeline.storage.corporate_actions import CorporateAction
from quant_pipeline.storage.positions import positions
from quant_pipeline.storage.splits import PositionSplit, apply_split, position_splits


@dataclass(frozen=True, slots=True)
class Doubts:
    """Symbols whose fresh price looks like a split that no action tells of; `foreign`: the venue holds another quantity.

    The first are not bought. The second are not sold either, stops included: the ledger does not know what it holds.
    """

    jumped: frozenset[str] = frozenset()
    foreign: frozenset[str] = frozenset()


def apply_splits(desk: Desk, market: MarketSettings, now: datetime) -> tuple[PositionSplit, ...]:
    """Restate holdings and unsent intents for every split that is in force; each once, however often this runs.

    Fills up to the split must be in the ledger. A split is in force from the open of its ex-date on.
    """
    if not has_actions(market):
        return ()
    name, book = market.name, market.broker_book
    state = book_state(desk.db, name, book)
    since = {p.symbol: p.since for p in reversed(state.pending) if p.client_id is None and p.qty is not None}
    for held in state.positions:
        if held.qty > 0 and held.opened_at is not None:
            since[held.symbol] = min(held.opened_at, since.get(held.symbol, held.opened_at))
    if not since:
        return ()
    done = {(split.symbol, split.ex_date) for split in position_splits(desk.db, name, book)}
    made: list[PositionSplit] = []
    for action in _splits(desk, market, sorted(since), min(since.values()).date(), now):
        effective = in_force_from(market, action)
        if (action.symbol, action.ex_date) in done or effective <= since[action.symbol] or action.ratio is None:
            continue
        lot = Decimal(1).scaleb(-market.market.qty_decimals)
        entry = apply_split(
            desk.db, name, book, action.symbol, action.ex_date, action.ratio, effective=effective, at=now, lot=lot
        )
        made += [] if entry is None else [entry]
    return tuple(made)


def _splits(
    desk: Desk, market: MarketSettings, symbols: list[str], first: date, now: datetime
) -> list[CorporateAction]:
    """Splits of the symbols from `first` on that are in force at `now`, by date."""
    rows = [row for row in stored_actions(desk, market, symbols, first) if row.kind == "split"]
    return sorted((row for row in rows if in_force_from(market, row) <= now), key=lambda row: (row.ex_date, row.symbol))


def in_force_from(market: MarketSettings, action: CorporateAction) -> datetime:
    """The open of an action's ex-date; of the next session where that day is none."""
    name, day = market.market.calendar, action.ex_date
    session = day if calendar.is_session(name, day) else calendar.next_session(name, day)
    return calendar.session_hours(name, session).opens_at


def in_new_units(
    desk: Desk, market: MarketSettings, prices: Mapping[str, tuple[datetime, Decimal]], now: datetime
) -> dict[str, Decimal]:
    """Prices with the moments they were made at, in the units of `now`: those from before a split are divided by it."""
    told = {symbol: price for symbol, (_, price) in prices.items()}
    if not prices or not has_actions(market):
        return told
    first = min(at for at, _ in prices.values()).date()
    for action in _splits(desk, market, sorted(prices), first, now):
        if prices[action.symbol][0] < in_force_from(market, action) and action.ratio is not None:
            told[action.symbol] /= action.ratio
    return told


def quoted(desk: Desk, market: MarketSettings, quotes: Mapping[str, Quote], now: datetime) -> dict[str, Decimal]:
    """The prices of quotes in the units of `now`: a share may not have traded yet since its split."""
    moments = {symbol: (quote.traded_at or quote.at, quote.price) for symbol, quote in quotes.items()}
    return in_new_units(desk, market, moments, now)


def closes_in_new_units(
    desk: Desk, market: MarketSettings, symbols: tuple[str, ...], before: datetime, now: datetime
) -> dict[str, Decimal]:
    """The last closes of bars that start before `before`, in the units of `now`."""
    return in_new_units(desk, market, _moments(market, last_closes(desk, market, symbols, before)), now)


def _moments(market: MarketSettings, closes: Mapping[str, LastClose]) -> dict[str, tuple[datetime, Decimal]]:
    """Closes with when their bars traded: a daily bar begins at midnight, before a split of its day took effect."""
    return {symbol: (_traded_from(market, close.starts), close.price) for symbol, close in closes.items()}


def _traded_from(market: MarketSettings, starts: datetime) -> datetime:
    day = starts.astimezone(UTC).date()
    if not calendar.is_session(market.market.calendar, day):
        return starts
    return max(starts, calendar.session_hours(market.market.calendar, day).opens_at)


def doubts(desk: Desk, market: MarketSettings, session: date, prices: Mapping[str, Decimal], now: datetime) -> Doubts:
    """Which of the fresh `prices` cannot be compared with the close of the session before."""
    if not prices or not has_actions(market):
        return Doubts()
    starts = session_starts(session)
    found = last_closes(desk, market, tuple(sorted(prices)), starts)
    night = LONGEST_NIGHT.astype(object)
    recent = {s: close for s, close in found.items() if starts.date() - close.starts.date() <= night}
    before = in_new_units(desk, market, _moments(market, recent), now)
    jumped = {s for s, price in before.items() if unexplained_jump(float(price), float(prices[s])) is not None}
    if not jumped:
        return Doubts()
    theirs = {p.symbol: p.qty for p in desk.venue(market).broker.positions()}
    ours = {p.symbol: p.qty for p in positions(desk.db, market.name, market.broker_book)}
    foreign = {s for s in jumped if ours.get(s, Decimal(0)) != theirs.get(s, Decimal(0))}
    return Doubts(frozenset(jumped), frozenset(foreign))
