"""Alpaca's JSON as the desk's values. Raises KeyError, TypeError or ValueError where it is not what it should be.

The raw answers are read, not alpaca-py's models: those refuse a whole answer for one unknown word (an exchange, a new
order status), which for an order would turn a known outcome into a doubt.
"""

from __future__ import annotations

from decimal import Decimal

from quant_pipeline.core.values import Account, Fill, OrderState, Position, Side, VenueClock, VenueOrder
from quant_pipeline.venues.json_values import Json, number, text, when

_TERMINAL = {
    "filled": OrderState.FILLED,
    "canceled": OrderState.CANCELED,
    "expired": OrderState.EXPIRED,
    "rejected": OrderState.REJECTED,
    "replaced": OrderState.CANCELED,
}


def account(answer: Json) -> Account:
    """The account; `locked` is cash that the broker will not let us spend (0 on margin, where it cannot be told)."""
    cash = number(answer["cash"])
    buying_power = answer.get("buying_power")
    spendable = cash if buying_power is None else min(cash, number(buying_power))
    return Account(
        account_id=text(answer["account_number"]),
        currency=text(answer.get("currency") or "USD"),
        cash=cash,
        locked=max(cash - spendable, Decimal(0)),
    )


def position(answer: Json) -> Position:
    """One holding."""
    qty = number(answer["qty"])
    available = answer.get("qty_available")
    return Position(
        symbol=text(answer["symbol"]),
        qty=qty,
        avg_price=number(answer["avg_entry_price"]),
        locked=Decimal(0) if available is None else max(qty - number(available), Decimal(0)),
    )


def clock(answer: Json) -> VenueClock:
    """The exchange's time and session."""
    return VenueClock(
        now=when(answer["timestamp"]),
        is_open=bool(answer["is_open"]),
        next_open=when(answer["next_open"]),
        next_close=when(answer["next_close"]),
    )


def fill(answer: Json) -> Fill:
    """One FILL activity. Alpaca takes no commission; fees passed on at the day's end are not part of an execution."""
    return Fill(
        fill_id=text(answer["id"]),
        qty=number(answer["qty"]),
        price=number(answer["price"]),
        fee=Decimal(0),
        at=when(answer["transaction_time"]),
    )


def order(answer: Json, fills: tuple[Fill, ...] = ()) -> VenueOrder:
    """One order. It is terminal only when `fills` add up to what was filled: see `protocols.Broker`."""
    status = text(answer["status"])
    filled = number(answer.get("filled_qty") or 0)
    average = number(answer.get("filled_avg_price") or 0)
    return VenueOrder(
        client_id=text(answer["client_order_id"]),
        venue_id=text(answer["id"]),
        symbol=text(answer["symbol"]),
        side=Side(text(answer["side"])),
        state=_state(status, filled, fills),
        filled_qty=filled,
        avg_price=average if filled > 0 and average > 0 else None,
        fee=sum((one.fee for one in fills), Decimal(0)),
        submitted_at=when(answer.get("submitted_at") or answer["created_at"]),
        updated_at=when(answer.get("updated_at") or answer["created_at"]),
        fills=fills,
        venue_status=status,
    )


def _state(status: str, filled: Decimal, fills: tuple[Fill, ...]) -> OrderState:
    """Words that are not terminal, and words Alpaca may add later, leave the order open: it is asked for again."""
    terminal = _TERMINAL.get(status)
    if terminal is not None and sum((one.qty for one in fills), Decimal(0)) == filled:
        return terminal
    return OrderState.PARTIALLY_FILLED if filled > 0 else OrderState.ACCEPTED
