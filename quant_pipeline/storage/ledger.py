"""One address for the whole ledger; this module names things and contains none.

It is in `intents`, `orders`, `order_changes`, `journal`, `fills`, `positions`, `cash`, `books`, `equity`, `risk` and
`control`.
"""

from __future__ import annotations

from quant_pipeline.storage.books import BookState, Pending, book_state, trades_today
from quant_pipeline.storage.cash import CashFlow, cash, cash_flows, record_cash
from quant_pipeline.storage.control import (
    ALL_MARKETS,
    Control,
    ControlState,
    control,
    control_history,
    control_state,
    set_control_state,
)
from quant_pipeline.storage.equity import equity_curve, record_equity
from quant_pipeline.storage.fills import LedgerFill, fills_between, fills_of
from quant_pipeline.storage.intents import (
    Intent,
    IntentStatus,
    Leg,
    add_intent,
    expire_intents,
    intent,
    intents_between,
    open_intents,
    set_intent_status,
    settle_intents,
)
from quant_pipeline.storage.journal import SqlJournal
from quant_pipeline.storage.order_changes import apply_fill, mark_order, plan_order, record_order
from quant_pipeline.storage.orders import (
    LedgerOrder,
    OrderEvent,
    open_orders,
    order,
    order_events,
    orders_between,
    orders_of_intent,
)
from quant_pipeline.storage.positions import LedgerPosition, positions
from quant_pipeline.storage.risk import RiskEvent, RiskState, put_risk_state, risk_events, risk_state

__all__ = [
    "ALL_MARKETS",
    "BookState",
    "CashFlow",
    "Control",
    "ControlState",
    "Intent",
    "IntentStatus",
    "LedgerFill",
    "LedgerOrder",
    "LedgerPosition",
    "Leg",
    "OrderEvent",
    "Pending",
    "RiskEvent",
    "RiskState",
    "SqlJournal",
    "add_intent",
    "apply_fill",
    "book_state",
    "cash",
    "cash_flows",
    "control",
    "control_history",
    "control_state",
    "equity_curve",
    "expire_intents",
    "fills_between",
    "fills_of",
    "intent",
    "intents_between",
    "mark_order",
    "open_intents",
    "open_orders",
    "order",
    "order_events",
    "orders_between",
    "orders_of_intent",
    "plan_order",
    "positions",
    "put_risk_state",
    "record_cash",
    "record_equity",
    "record_order",
    "risk_events",
    "risk_state",
    "set_control_state",
    "set_intent_status",
    "settle_intents",
    "trades_today",
]
