"""Refuse an order that breaks a rule of its market before it is sent. Rounding is the caller's: `markets.rules`."""

from __future__ import annotations

from decimal import Decimal

from quant_pipeline.core.values import OrderRequest
from quant_pipeline.markets.market import Market
from quant_pipeline.markets.rules import min_notional, round_money, round_price, round_qty, tick_size
from quant_pipeline.venues.errors import BadRequest


def check_order(market: Market, request: OrderRequest) -> None:
    """Check lot, money grid, tick and minimum of `request`.

    Raises:
        BadRequest: names the value, the rule and what to do.
    """
    if request.qty is not None:
        _check_qty(market, request, request.qty)
    if request.notional is not None:
        _check_notional(market, request, request.notional)
    if request.limit_price is not None:
        _check_limit(market, request, request.limit_price)


def _check_qty(market: Market, request: OrderRequest, qty: Decimal) -> None:
    if round_qty(market, qty) != qty:
        msg = (
            f"order {request.client_id}: qty {qty} of {request.symbol} is off the lot grid of {market.name}"
            f" ({market.qty_decimals} decimals); round it down with markets.rules.round_qty"
        )
        raise BadRequest(msg)


def _check_notional(market: Market, request: OrderRequest, notional: Decimal) -> None:
    if round_money(market, notional) != notional:
        msg = (
            f"order {request.client_id}: {notional} {market.currency} has more than {market.money_decimals} decimals;"
            " round it down with markets.rules.round_money"
        )
        raise BadRequest(msg)
    _check_minimum(market, request, notional)


def _check_limit(market: Market, request: OrderRequest, price: Decimal) -> None:
    if not price.is_finite() or price <= 0:
        msg = f"order {request.client_id}: limit price {price} must be a positive number"
        raise BadRequest(msg)
    if round_price(market, price) != price:
        msg = (
            f"order {request.client_id}: limit price {price} of {request.symbol} is off the tick of"
            f" {tick_size(market, price)}; round it with markets.rules.round_price"
        )
        raise BadRequest(msg)
    if request.qty is not None:
        _check_minimum(market, request, request.qty * price)


def _check_minimum(market: Market, request: OrderRequest, amount: Decimal) -> None:
    least = min_notional(market)
    if amount < least:
        msg = (
            f"order {request.client_id}: {amount} {market.currency} of {request.symbol} is under the minimum of {least}"
        )
        raise BadRequest(msg)
