"""Stops and take profits of the broker's book: which are due at fresh prices, as decisions with intents.

No switch, halt or model blocks them; a price that cannot be compared with what is held is not passed to them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal

import numpy as np

from quant_pipeline.core.identity import combine_hashes, decision_id
from quant_pipeline.core.trading.exits import due_exits
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Action, Reason, Side
from quant_pipeline.markets.rules import round_qty
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.account import MarkedBook, universe
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.params import trading_params
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.decisions import Decision, append_decisions
from quant_pipeline.storage.intents import Intent, IntentStatus, Leg, add_intent, intents_between
from quant_pipeline.storage.positions import LedgerPosition

_LEGS = {Reason.STOP_LOSS: Leg.STOP_LOSS, Reason.TAKE_PROFIT: Leg.TAKE_PROFIT}


@dataclass(frozen=True, slots=True)
class _Exit:
    """One exit that is due."""

    position: LedgerPosition
    reason: Reason
    qty: Decimal
    price: Decimal


def plan_exits(
    desk: Desk,
    market: MarketSettings,
    session: date,
    book: MarkedBook,
    prices: Mapping[str, Decimal],
    context: RunContext,
) -> tuple[Intent, ...]:
    """Write decision and intent of every exit that is due; an exit that is under way is not planned again.

    The id is derived from the position (when it was opened, how much is held) and the number of earlier tries, so a
    crash between the two writes is mended by the next tick and never doubled.
    """
    params = trading_params(market, session)
    planned: list[Intent] = []
    for due in _due(desk, market, book, prices, params, context):
        tries = len(_earlier(desk, market, due, context))
        decision = _decision(desk, market, session, due, book, context, tries=tries)
        append_decisions(desk.db, [decision])
        planned.append(_intent(market, decision, due, context))
    with desk.db.begin() as connection:
        for one in planned:
            add_intent(connection, one)
    return tuple(planned)


def _due(
    desk: Desk,
    market: MarketSettings,
    book: MarkedBook,
    prices: Mapping[str, Decimal],
    params: TradingParams,
    context: RunContext,
) -> list[_Exit]:
    symbols = universe(market, book.state)
    held = {p.symbol: p for p in book.state.positions if p.qty > 0}
    selling = {p.symbol for p in book.state.pending if p.side is Side.SELL}
    free = np.array([_lots(held[s].qty, params) if s in held and s not in selling else 0 for s in symbols], np.int64)
    found = due_exits(
        symbols,
        np.array([float(prices[s]) if s in prices else np.nan for s in symbols]),
        np.array([float(held[s].avg_price) if s in held else np.nan for s in symbols]),
        free,
        np.array([s in held and _profit_was_taken(desk, market, held[s], context) for s in symbols]),
        params,
    )
    exits = [
        _Exit(held[s], Reason(int(found.reason[i])), Decimal(int(found.lots[i])) / params.qty_scale, prices[s])
        for i, s in enumerate(symbols)
        if found.reason[i]
    ]
    # Upbit refuses to sell for less than its minimum; such a remainder stays until it is worth more.
    return [e for e in exits if e.qty * e.price >= market.market.min_notional]


def _lots(qty: Decimal, params: TradingParams) -> int:
    return int(qty * params.qty_scale)


def _profit_was_taken(desk: Desk, market: MarketSettings, position: LedgerPosition, context: RunContext) -> bool:
    if position.opened_at is None:
        return False
    end = context.now + timedelta(microseconds=1)
    past = intents_between(desk.db, market.name, market.broker_book, position.opened_at, end)
    return any(i.symbol == position.symbol and i.leg is Leg.TAKE_PROFIT and i.status is IntentStatus.DONE for i in past)


def _earlier(desk: Desk, market: MarketSettings, due: _Exit, context: RunContext) -> list[Intent]:
    """Exits of this position that were planned before and are over."""
    since = due.position.opened_at or context.now - timedelta(days=1)
    past = intents_between(desk.db, market.name, market.broker_book, since, context.now + timedelta(microseconds=1))
    return [i for i in past if i.symbol == due.position.symbol and i.leg in _LEGS.values() and i.status.is_over]


def _decision(
    desk: Desk,
    market: MarketSettings,
    session: date,
    due: _Exit,
    book: MarkedBook,
    context: RunContext,
    *,
    tries: int,
) -> Decision:
    position = due.position
    made_of = {
        "opened_at": "" if position.opened_at is None else position.opened_at.isoformat(),
        "avg_price": str(position.avg_price),
        "held": str(position.qty),
    }
    content = combine_hashes(due.reason.code, *made_of.values())
    opened = position.opened_at or context.now
    return Decision(
        id=decision_id(market.name, market.broker_book, position.symbol, opened, content, "exit", tries + 1),
        market=market.name,
        book=market.broker_book,
        symbol=position.symbol,
        session=session,
        bar_ts=context.now,
        bar_close=context.now,
        origin=context.origin,
        version=tries + 1,
        action=int(Action.SELL),
        reason=due.reason.code,
        vote=0,
        score=None,
        expected_return=None,
        p_up=None,
        confidence=None,
        members_usable=None,
        model_version_id=None,
        price=due.price,
        qty=due.qty,
        notional=due.qty * due.price,
        equity=book.equity,
        settings_hash=market.trading_hash(),
        code_hash=desk.core_hash,
        platform_hash=desk.platform_hash,
        inputs=made_of,
        decided_at=context.now,
        run_id=context.run_id,
    )


def _intent(market: MarketSettings, decision: Decision, due: _Exit, context: RunContext) -> Intent:
    leg = _LEGS[due.reason]
    return Intent(
        id=f"{decision.id}-{leg}",
        decision_id=decision.id,
        market=market.name,
        book=market.broker_book,
        symbol=decision.symbol,
        side=Side.SELL,
        leg=leg,
        qty=round_qty(market.market, due.qty),
        notional=None,
        depends_on=None,
        not_before=context.now,
        expires_at=context.now + timedelta(minutes=market.orders.expiry_minutes),
        status=IntentStatus.OPEN,
        reason=due.reason.code,
        created_at=context.now,
    )
