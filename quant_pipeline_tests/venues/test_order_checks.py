"""Off-grid and too small orders are refused before anything is sent; on-grid ones pass."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.values import OrderRequest, OrderType, Side, TimeInForce
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, Market
from quant_pipeline.markets.rules import round_money, round_price, round_qty
from quant_pipeline.venues.errors import BadRequest
from quant_pipeline.venues.order_checks import check_order
from quant_pipeline_tests.venues.canned_server import as_json, canned
from quant_pipeline_tests.venues.makers import broker

D = Decimal


def _limit(symbol: str, qty: str, price: str) -> OrderRequest:
    return OrderRequest("a", symbol, Side.BUY, OrderType.LIMIT, qty=D(qty), limit_price=D(price))


_REFUSED = [
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, qty=D("1.5")), "qty 1.5"),
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, notional=D("100.123")), "100.123"),
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, notional=D("0.99")), "minimum of 1"),
    ("alpaca", _limit("AAPL", "1", "100.123"), "tick of 0.01"),
    ("alpaca", _limit("AAPL", "1", "0.5"), "minimum of 1"),
    ("alpaca", _limit("AAPL", "1", "-1"), "positive"),
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, OrderType.BEST, TimeInForce.IOC, qty=D(1)), "no order type 'best'"),
    ("alpaca", OrderRequest("x" * 129, "AAPL", Side.BUY, qty=D(1)), "129 characters"),
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, time_in_force=TimeInForce.GTC, notional=D(50)), "of the day"),
    ("alpaca", OrderRequest("a", "AAPL", Side.BUY, qty=D(10**17 + 1)), "more digits"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.SELL, qty=D("0.123456789")), "8 decimals"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.BUY, notional=D("5000.5")), "5000.5"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.BUY, notional=D(4999)), "minimum of 5000"),
    ("upbit", _limit("KRW-BTC", "1", "1000500"), "tick of 1000"),
    ("upbit", _limit("KRW-BTC", "0.00000001", "100000000"), "minimum of 5000"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.BUY, qty=D(1)), "takes a notional"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.SELL, notional=D(10_000)), "takes a qty"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.BUY, OrderType.BEST, notional=D(10_000)), "ioc or fok"),
    ("upbit", OrderRequest("a", "KRW-BTC", Side.BUY, time_in_force=TimeInForce.IOC, notional=D(10_000)), "type 'best'"),
    (
        "upbit",
        OrderRequest("a", "KRW-BTC", Side.BUY, OrderType.LIMIT, TimeInForce.DAY, qty=D(1), limit_price=D(1_000_000)),
        "no order for the day",
    ),
    ("upbit", OrderRequest("a", "AAPL", Side.SELL, qty=D(1)), "KRW market"),
    ("upbit", OrderRequest("", "KRW-BTC", Side.SELL, qty=D(1)), "needs an id"),
]


@pytest.mark.parametrize(("venue", "request_", "text"), _REFUSED)
def test_a_bad_order_is_refused_with_its_value_and_nothing_is_sent(
    venue: str, request_: OrderRequest, text: str
) -> None:
    with (
        canned(lambda _: as_json({})) as server,
        broker(venue, server.url) as client,
        pytest.raises(BadRequest, match=text),
    ):
        client.submit(request_)
    assert server.seen == []


_AMOUNTS = st.decimals(min_value=D("0.00000001"), max_value=D(10**7), allow_nan=False, allow_infinity=False, places=10)


@given(market=st.sampled_from([US_EQUITY, KRW_CRYPTO]), qty=_AMOUNTS, price=_AMOUNTS)
def test_what_the_rules_round_to_is_on_the_grid(market: Market, qty: Decimal, price: Decimal) -> None:
    on_grid, tick_price = round_qty(market, qty), round_price(market, price)
    if on_grid <= 0 or tick_price <= 0 or on_grid * tick_price < market.min_notional:
        return
    check_order(market, OrderRequest("a", "X", Side.BUY, OrderType.LIMIT, qty=on_grid, limit_price=tick_price))
    notional = round_money(market, on_grid * tick_price)
    if notional >= market.min_notional:
        check_order(market, OrderRequest("a", "X", Side.BUY, notional=notional))


@given(market=st.sampled_from([US_EQUITY, KRW_CRYPTO]), qty=_AMOUNTS)
def test_what_is_off_the_lot_grid_is_refused(market: Market, qty: Decimal) -> None:
    request = OrderRequest("a", "X", Side.SELL, qty=qty)
    if round_qty(market, qty) == qty:
        check_order(market, request)
    else:
        with pytest.raises(BadRequest, match="lot grid"):
            check_order(market, request)
