"""From the body of `POST /v2/orders` to a ticket, or to the venue's refusal of its form. Balances are the engine's."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.alpaca.words import error
from quant_pipeline.exchange.http import Reply
from quant_pipeline.exchange.orders import Force, Kind, Ticket
from quant_pipeline.exchange.words import decimal_of, decimals
from quant_pipeline.markets.market import US_EQUITY
from quant_pipeline.markets.rules import min_notional, tick_size

MAX_CLIENT_ID = 128
_QTY_DECIMALS = 9


class FormError(Exception):
    """The order's form is refused; `reply` is what the venue answers."""

    def __init__(self, status: int, code: int, message: str) -> None:
        """Remember the answer."""
        super().__init__(message)
        self.reply: Reply = error(status, code, message)


def parse_body(body: bytes) -> dict[str, Any]:
    """The JSON object of a request body.

    Raises:
        FormError: it is none.
    """
    try:
        content = json.loads(body)
    except (json.JSONDecodeError, UnicodeDecodeError):
        content = None
    if not isinstance(content, dict):
        raise FormError(400, 40010000, "request body format is invalid")
    return content


def parse_ticket(body: dict[str, Any], listed: frozenset[str], fallback_id: str) -> Ticket:
    """The ticket of an order request; `fallback_id` names an order whose client gave no id.

    Raises:
        FormError: the venue does not take an order of this form.
    """
    symbol = _word(body, "symbol")
    if not symbol:
        raise FormError(422, 40010001, "symbol is required")
    if symbol not in listed:
        raise FormError(422, 42210000, f'could not find asset "{symbol}"')
    side = _choice(body, "side", {side.value: side for side in Side})
    kind = _choice(body, "type", {kind.value: kind for kind in Kind})
    force = _choice(body, "time_in_force", {f.value: f for f in (Force.DAY, Force.GTC, Force.IOC, Force.FOK)})
    if _word(body, "order_class") not in ("", "simple"):
        raise FormError(422, 42210000, f"order class {body['order_class']} is not supported by this exchange")
    qty, funds = _amounts(body)
    limit = _limit_price(body, kind)
    extended = body.get("extended_hours") is True
    if extended and (kind is not Kind.LIMIT or force not in (Force.DAY, Force.GTC)):
        raise FormError(422, 42210000, "extended hours order must be DAY or GTC limit orders")
    if force is not Force.DAY and (funds is not None or (qty is not None and decimals(qty) > 0)):
        raise FormError(422, 42210000, "fractional orders must be DAY orders")
    if funds is not None and kind is not Kind.MARKET:
        raise FormError(422, 42210000, "notional limit orders are not supported by this exchange")
    return Ticket(
        client_id=_client_id(body, fallback_id),
        symbol=symbol,
        side=side,
        kind=kind,
        force=force,
        qty=qty,
        funds=funds,
        limit_price=limit,
        wire={"extended_hours": "true"} if extended else {},
    )


def _word(body: dict[str, Any], name: str) -> str:
    value = body.get(name)
    return value if isinstance(value, str) else ""


def _choice[T](body: dict[str, Any], name: str, choices: dict[str, T]) -> T:
    value = _word(body, name)
    if value not in choices:
        raise FormError(422, 40010001, f"invalid {name}: {value}" if value else f"{name} is required")
    return choices[value]


def _client_id(body: dict[str, Any], fallback_id: str) -> str:
    value = body.get("client_order_id")
    if value in (None, ""):
        return fallback_id
    if not isinstance(value, str) or len(value) > MAX_CLIENT_ID:
        raise FormError(422, 40010001, f"client_order_id must be no more than {MAX_CLIENT_ID} characters")
    return value


def _amounts(body: dict[str, Any]) -> tuple[Decimal | None, Decimal | None]:
    """Quantity and notional; exactly one of them is given."""
    given = {name: body[name] for name in ("qty", "notional") if body.get(name) is not None}
    if not given:
        raise FormError(422, 40010001, "qty or notional is required")
    if len(given) == 2:
        raise FormError(422, 40010001, "only one of qty or notional is accepted")
    name, value = given.popitem()
    number = decimal_of(value)
    if number is None or number <= 0:
        raise FormError(422, 40010001, f"{name} must be > 0")
    if name == "qty":
        if decimals(number) > _QTY_DECIMALS:
            raise FormError(422, 40010001, f"qty must be limited to {_QTY_DECIMALS} decimal places")
        return number, None
    if decimals(number) > 2:
        raise FormError(422, 40010001, "notional value must be limited to 2 decimal places")
    least = min_notional(US_EQUITY)
    if number < least:
        raise FormError(403, 40310000, f"cost basis must be >= minimal amount of order {least}")
    return None, number


def _limit_price(body: dict[str, Any], kind: Kind) -> Decimal | None:
    value = body.get("limit_price")
    if kind is Kind.MARKET:
        if value is not None:
            raise FormError(422, 40010001, "market orders require no stop or limit price")
        return None
    price = decimal_of(value)
    if price is None or price <= 0:
        message = "limit orders require limit price" if value is None else "limit price must be > 0"
        raise FormError(422, 40010001, message)
    if price % tick_size(US_EQUITY, price):
        message = f"invalid limit_price {price}. sub-penny increment does not fulfill minimum pricing criteria"
        raise FormError(422, 42210000, message)
    return price
