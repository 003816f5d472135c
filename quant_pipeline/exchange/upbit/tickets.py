"""From the parameters of `POST /v1/orders` to a ticket, or to the refusal of its form. Balances are the engine's."""

from __future__ import annotations

from decimal import Decimal

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.feed import Feed, Tick
from quant_pipeline.exchange.http import Reply
from quant_pipeline.exchange.orders import Force, Kind, Ticket
from quant_pipeline.exchange.upbit.params import Params
from quant_pipeline.exchange.upbit.words import error
from quant_pipeline.exchange.words import decimal_of, decimals
from quant_pipeline.markets.market import KRW_CRYPTO
from quant_pipeline.markets.rules import min_notional, tick_size

MAX_TOTAL = Decimal(1_000_000_000)
"""Largest order in KRW."""

_SIDES = {"bid": Side.BUY, "ask": Side.SELL}
_FORCES = {None: Force.REST, "ioc": Force.IOC, "fok": Force.FOK, "post_only": Force.POST_ONLY}


class FormError(Exception):
    """The order's form is refused; `reply` is what the venue answers."""

    def __init__(self, name: str, message: str | None = None, *, status: int = 400) -> None:
        """Remember the answer."""
        super().__init__(name)
        self.reply: Reply = error(status, name, message)


def parse_ticket(params: Params, feed: Feed, tick: Tick | None, fallback_id: str) -> Ticket:
    """The ticket of an order request at the last price `tick`; `fallback_id` names an order without identifier.

    Raises:
        FormError: the venue does not take an order of this form.
    """
    side, ord_type, force = _words(params)
    symbol = params.one("market") or ""
    if not feed.lists(symbol):
        raise FormError("notfoundmarket", status=404)
    price, volume = _number(params, "price"), _number(params, "volume")
    word = "bid" if side is Side.BUY else "ask"
    by_funds = ord_type == "price" or (ord_type == "best" and side is Side.BUY)
    if volume is not None and decimals(volume) > KRW_CRYPTO.qty_decimals:
        raise FormError(f"invalid_volume_{word}")
    if ord_type == "limit" and price is not None and price % tick_size(KRW_CRYPTO, price):
        raise FormError(f"invalid_price_{word}")
    total = _total(price, volume, tick, limit=ord_type == "limit")
    if total is not None:
        if total < min_notional(KRW_CRYPTO):
            raise FormError(f"under_min_total_{word}")
        if side is Side.BUY and total > MAX_TOTAL:
            raise FormError("over_krw_funds_bid")
    return Ticket(
        client_id=params.one("identifier") or fallback_id,
        symbol=symbol,
        side=side,
        kind=Kind.LIMIT if ord_type == "limit" else Kind.MARKET,
        force=force,
        qty=None if by_funds else volume,
        funds=price if by_funds else None,
        limit_price=price if ord_type == "limit" else None,
        wire={"ord_type": ord_type, "named": "yes" if params.one("identifier") else ""},
    )


def _words(params: Params) -> tuple[Side, str, Force]:
    """Side, order type and time in force, with the parameters that each order type needs."""
    wrong = [name for name in ("market", "side", "ord_type") if params.one(name) is None]
    problems = [f"{name} is missing" for name in wrong]
    side, ord_type, tif = params.one("side"), params.one("ord_type"), params.one("time_in_force")
    if side not in _SIDES:
        problems.append("side does not have a valid value")
    if ord_type not in ("limit", "price", "market", "best"):
        problems.append("ord_type does not have a valid value")
    if tif not in _FORCES:
        problems.append("time_in_force does not have a valid value")
    if problems:
        raise FormError("validation_error", ", ".join(problems))
    shape = {
        ("limit", "bid"): (True, True),
        ("limit", "ask"): (True, True),
        ("price", "bid"): (True, False),
        ("market", "ask"): (False, True),
        ("best", "bid"): (True, False),
        ("best", "ask"): (False, True),
    }.get((str(ord_type), str(side)))
    if shape is None:
        raise FormError("validation_error", f"ord_type {ord_type} does not go with side {side}")
    for name, needed in zip(("price", "volume"), shape, strict=True):
        if (params.one(name) is not None) != needed:
            problem = "missing" if needed else "not allowed"
            raise FormError("validation_error", f"{name} is {problem} for ord_type {ord_type}")
    if (ord_type == "best" and tif not in ("ioc", "fok")) or (ord_type in ("price", "market") and tif is not None):
        raise FormError("validation_error", f"time_in_force {tif} does not go with ord_type {ord_type}")
    return _SIDES[str(side)], str(ord_type), _FORCES[tif]


def _number(params: Params, name: str) -> Decimal | None:
    text = params.one(name)
    if text is None:
        return None
    number = decimal_of(text)
    if number is None or number <= 0:
        raise FormError("validation_error", f"{name} does not have a valid value")
    return number


def _total(price: Decimal | None, volume: Decimal | None, tick: Tick | None, *, limit: bool) -> Decimal | None:
    """What the order is worth in KRW: by its own price, else by the last one."""
    if volume is None or limit:
        return price if volume is None else (price or Decimal(0)) * volume
    return None if tick is None else tick.price * volume
