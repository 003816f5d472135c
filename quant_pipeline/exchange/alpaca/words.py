"""Alpaca's words: ids, error bodies, and the JSON of orders, positions, account. Nothing is decided here."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import ROUND_HALF_EVEN, Decimal

from quant_pipeline.core.values import OrderState, Side
from quant_pipeline.exchange.bars.symbols import symbol_spec
from quant_pipeline.exchange.http import Reply, json_reply
from quant_pipeline.exchange.orders import Kind, SimOrder
from quant_pipeline.exchange.words import plain, rfc3339

_ASSETS = uuid.UUID("5c0ffee0-0000-4000-8000-000000000000")
_STATUS = {
    OrderState.PARTIALLY_FILLED: "partially_filled",
    OrderState.FILLED: "filled",
    OrderState.CANCELED: "canceled",
    OrderState.EXPIRED: "expired",
}


def error(status: int, code: int, message: str, **more: str) -> Reply:
    """An error body of the trading API."""
    return json_reply(status, {**more, "code": code, "message": message})


def asset_id(symbol: str) -> str:
    """The UUID under which a symbol is listed."""
    return str(uuid.uuid5(_ASSETS, symbol))


def symbol_of(name: str, listed: frozenset[str]) -> str:
    """The symbol behind a path segment that is a symbol or an asset id."""
    return next((symbol for symbol in listed if asset_id(symbol) == name), name)


def cents(amount: Decimal, decimals: int = 9) -> str:
    """An amount with at most `decimals` decimals."""
    return plain(amount.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN))


def asset(symbol: str) -> dict[str, object]:
    """The JSON of a listed share."""
    spec = symbol_spec(symbol)
    return {
        "id": asset_id(symbol),
        "class": "us_equity",
        "exchange": spec.listing,
        "symbol": symbol,
        "name": f"{spec.name} Common Stock",
        "status": "active",
        "tradable": True,
        "marginable": True,
        "shortable": False,
        "easy_to_borrow": False,
        "fractionable": True,
        "attributes": [],
    }


def order_status(order: SimOrder, *, market_open: bool) -> str:
    """The status word; an order that waits is `new` while the market is open, else `accepted`."""
    return _STATUS.get(order.state, "new" if market_open else "accepted")


def order_json(order: SimOrder, status: str) -> dict[str, object]:
    """The JSON of an order; prices, quantities and amounts are strings."""
    ticket = order.ticket
    ended = rfc3339(order.updated_at)
    average = order.avg_price
    return {
        "id": order.venue_id,
        "client_order_id": ticket.client_id,
        "created_at": rfc3339(order.submitted_at),
        "updated_at": ended,
        "submitted_at": rfc3339(order.submitted_at),
        "filled_at": ended if order.state is OrderState.FILLED else None,
        "expired_at": ended if order.state is OrderState.EXPIRED else None,
        "expires_at": None if order.expires_at is None else rfc3339(order.expires_at),
        "canceled_at": ended if order.state is OrderState.CANCELED else None,
        **dict.fromkeys(("failed_at", "replaced_at", "replaced_by", "replaces")),
        "asset_id": asset_id(ticket.symbol),
        "symbol": ticket.symbol,
        "asset_class": "us_equity",
        "notional": None if ticket.funds is None else plain(ticket.funds),
        "qty": None if ticket.qty is None else plain(ticket.qty),
        "filled_qty": plain(order.filled_qty),
        "filled_avg_price": None if average is None else cents(average),
        "order_class": "",
        "order_type": ticket.kind.value,
        "type": ticket.kind.value,
        "side": ticket.side.value,
        "time_in_force": ticket.force.value,
        "limit_price": None if ticket.limit_price is None else plain(ticket.limit_price),
        "stop_price": None,
        "status": status,
        "extended_hours": ticket.kind is Kind.LIMIT and ticket.wire.get("extended_hours") == "true",
        **dict.fromkeys(("legs", "trail_percent", "trail_price", "hwm")),
        "position_intent": "buy_to_open" if ticket.side is Side.BUY else "sell_to_close",
    }


def fill_activity(order: SimOrder, index: int) -> dict[str, object]:
    """The JSON of one execution as an account activity."""
    fill = order.fills[index]
    total = sum((f.qty for f in order.fills[: index + 1]), Decimal(0))
    left = Decimal(0) if order.ticket.qty is None else order.ticket.qty - total
    return {
        "activity_type": "FILL",
        "id": f"{_compact(fill.at)}::{fill.fill_id}",
        "cum_qty": plain(total),
        "leaves_qty": plain(left),
        "price": plain(fill.price),
        "qty": plain(fill.qty),
        "side": order.ticket.side.value,
        "symbol": order.ticket.symbol,
        "transaction_time": rfc3339(fill.at),
        "order_id": order.venue_id,
        "order_status": "filled" if not left else "partially_filled",
        "type": "fill" if not left else "partial_fill",
    }


def _compact(at: datetime) -> str:
    return at.strftime("%Y%m%d%H%M%S") + f"{at.microsecond // 1000:03d}"
