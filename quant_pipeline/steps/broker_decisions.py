"""Deciding the newest closed bar for the broker's book, once, and turning what it wants into intents.

A bar is decided for a broker's book one time only: the first decision is the decision, whatever is recomputed later.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np

from quant_pipeline.core.trading.decisions import BarInputs, decide
from quant_pipeline.core.values import Reason, Side
from quant_pipeline.markets import calendar
from quant_pipeline.markets.rules import round_money, round_qty
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.account import book_view, day_state, desk_lock, marked, open_book, sync, universe
from quant_pipeline.steps.decision_rows import Outcome, Place, decision_row
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.grids import Grid
from quant_pipeline.steps.params import trading_params
from quant_pipeline.steps.splits import closes_in_new_units
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.books import book_state
from quant_pipeline.storage.decisions import Decision, append_decisions, latest_decisions
from quant_pipeline.storage.intents import Intent, IntentStatus, Leg, add_intent


def decide_for_broker(
    desk: Desk,
    market: MarketSettings,
    grid: Grid,
    session: date,
    inputs: Mapping[tuple[date, str], Mapping[str, str]],
    context: RunContext,
) -> tuple[Decision, ...]:
    """The decisions of the broker's book about the newest closed bar of `session`; empty when there is no such bar.

    Runs under the market's lock. A bar that was decided before keeps its decisions; intents that a crash left out are
    made from them. A bar that closed longer ago than intents live is not decided any more.
    """
    rows = grid.rows_of(session)
    if not len(rows):
        return ()
    with desk.db.advisory_lock(desk_lock(market), wait=True):
        open_book(desk, market, context.now)
        sync(desk, market, context.now)
        newest = int(rows[-1])
        decided = _stored(desk, market, grid, newest)
        if not decided:
            if context.now >= _expiry(market, _closed_at(grid, newest)):
                return ()
            append_decisions(desk.db, _decide(desk, market, grid, newest, inputs, context))
            decided = _stored(desk, market, grid, newest)
        _plan(desk, market, decided, context.now)
        return decided


def _stored(desk: Desk, market: MarketSettings, grid: Grid, row: int) -> tuple[Decision, ...]:
    session = date.fromisoformat(str(grid.sessions[row]))
    starts = _closed_at(grid, row)
    found = latest_decisions(desk.db, market.name, market.broker_book, session, session)
    # Exits are decided between bars; only decisions about this very bar count here.
    return tuple(d for d in found if d.bar_close == starts and Reason[d.reason.upper()] not in _EXITS)


_EXITS = (Reason.STOP_LOSS, Reason.TAKE_PROFIT)


def _decide(
    desk: Desk,
    market: MarketSettings,
    grid: Grid,
    row: int,
    inputs: Mapping[tuple[date, str], Mapping[str, str]],
    context: RunContext,
) -> list[Decision]:
    session = date.fromisoformat(str(grid.sessions[row]))
    x = grid.bars.inputs
    prices = {s: Decimal(repr(float(p))) for s, p in zip(grid.symbols, x.price[row], strict=True) if np.isfinite(p)}
    book = marked(desk, market, prices)
    if book.unmarked:
        # At cost, a holding that did not trade in this bar would look like a loss of all that it gained.
        prices |= closes_in_new_units(desk, market, book.unmarked, _closed_at(grid, row), context.now)
        book = marked(desk, market, prices)
    symbols = universe(market, book.state)
    params = trading_params(market, session)
    day = day_state(desk, market, session, book, context.now)
    view = book_view(desk, market, symbols, prices, book, day, context.now, scale=params.qty_scale)
    decided = decide(_widened(bar_inputs(x, row), symbols), view, params)
    at = {symbol: i for i, symbol in enumerate(decided.symbols)}
    made: list[Decision] = []
    for column, symbol in enumerate(grid.symbols):
        i = at[symbol]
        if decided.reason[i] == Reason.NO_BAR:
            continue
        pair = int(decided.pair[i])
        outcome = Outcome(
            int(decided.action[i]),
            int(decided.reason[i]),
            int(decided.lots[i]),
            float(decided.notional[i]),
            None if pair < 0 else decided.symbols[pair],
        )
        made.append(
            decision_row(
                desk,
                market,
                market.broker_book,
                grid,
                Place(row, column),
                outcome,
                equity=float(book.equity),
                params=params,
                inputs=inputs[(session, symbol)],
                latest={},
                settings_hash=market.trading_hash(),
                context=context,
            )
        )
    return made


def bar_inputs(x: BarInputs, row: int) -> BarInputs:
    """One bar of many."""
    cut = {name: getattr(x, name)[row] for name in BarInputs.__dataclass_fields__ if name != "symbols"}
    return BarInputs(symbols=x.symbols, **cut)


def _widened(x: BarInputs, symbols: Sequence[str]) -> BarInputs:
    """The inputs with symbols that the book holds but the market no longer lists: nothing is known of them."""
    if tuple(symbols) == x.symbols:
        return x
    place = {symbol: i for i, symbol in enumerate(x.symbols)}
    missing: dict[str, object] = {"price": np.nan, "expected_return": np.nan, "confidence": np.nan, "vol20": np.nan}
    missing |= {"status": int(Reason.NO_BAR)}
    columns = {}
    for name in BarInputs.__dataclass_fields__:
        if name == "symbols":
            continue
        values = getattr(x, name)
        fill = missing.get(name, 0)
        columns[name] = np.array([values[place[s]] if s in place else fill for s in symbols], values.dtype)
    return BarInputs(symbols=tuple(symbols), **columns)


def _closed_at(grid: Grid, row: int) -> datetime:
    moment: datetime = grid.closes_at[row].astype("datetime64[us]").astype(datetime)
    return moment.replace(tzinfo=UTC)


def _window(market: MarketSettings, closed: datetime) -> tuple[datetime, datetime]:
    """From when on, and until when, what was decided at `closed` may be sent.

    Around the clock that is at once. For stocks it begins with the next open, so a daily decision trades on the
    following session and a Friday's on Monday.
    """
    life = timedelta(minutes=market.orders.expiry_minutes)
    if market.market.calendar == "always" or calendar.is_open(market.market.calendar, closed):
        return closed, closed + life
    opens = calendar.session_hours(market.market.calendar, calendar.session_at(market.market.calendar, closed)).opens_at
    return opens, opens + life


def _expiry(market: MarketSettings, closed: datetime) -> datetime:
    return _window(market, closed)[1]


def _plan(desk: Desk, market: MarketSettings, decided: Sequence[Decision], now: datetime) -> None:
    """Make the intents of these decisions, all in one transaction; those that exist are left as they are."""
    intents = [intent for decision in decided for intent in _intents(market, decision, decided, now)]
    with desk.db.begin() as connection:
        for intent in intents:
            add_intent(connection, intent)


def _intents(market: MarketSettings, decision: Decision, decided: Sequence[Decision], now: datetime) -> list[Intent]:
    if decision.action == 0:
        return []
    leg = {Reason.BUY_SIGNAL.code: Leg.ENTRY, Reason.REBALANCE_OUT.code: Leg.REBALANCE_OUT}.get(
        decision.reason, Leg.EXIT
    )
    side = Side.BUY if decision.action > 0 else Side.SELL
    first = _intent(market, decision, side, leg, now)
    if leg is not Leg.REBALANCE_OUT:
        return [first]
    wanted = next(d for d in decided if d.symbol == decision.inputs["pair"])
    notional = round_money(market.market, decision.notional or Decimal(0))
    into = _intent(market, wanted, Side.BUY, Leg.REBALANCE_IN, now)
    return [first, replace(into, qty=None, notional=notional, depends_on=first.id)]


def _intent(market: MarketSettings, decision: Decision, side: Side, leg: Leg, now: datetime) -> Intent:
    by_notional = side is Side.BUY and market.market.buy_by == "notional"
    begins, ends = _window(market, decision.bar_close)
    qty = decision.qty if decision.qty is not None else Decimal(1)
    return Intent(
        id=f"{decision.id}-{leg}",
        decision_id=decision.id,
        market=market.name,
        book=market.broker_book,
        symbol=decision.symbol,
        side=side,
        leg=leg,
        qty=None if by_notional else round_qty(market.market, qty),
        notional=round_money(market.market, decision.notional or Decimal(0)) if by_notional else None,
        depends_on=None,
        not_before=begins,
        expires_at=ends,
        status=IntentStatus.OPEN,
        reason=decision.reason,
        created_at=now,
    )


def pending_symbols(desk: Desk, market: MarketSettings) -> frozenset[str]:
    """Symbols with an intent or order under way."""
    return frozenset(p.symbol for p in book_state(desk.db, market.name, market.broker_book).pending)
