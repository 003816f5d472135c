"""Partial fills and tight budgets, each with a simulated exchange of its own over real HTTP."""

from __future__ import annotations

from contextlib import closing
from datetime import timedelta
from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderRequest, OrderState, Side, VenueOrder
from quant_pipeline.exchange.server import ExchangeConfig, running_exchange
from quant_pipeline.venues.alpaca.broker import AlpacaBroker
from quant_pipeline.venues.alpaca.clients import BUDGETS
from quant_pipeline.venues.errors import RateLimited
from quant_pipeline.venues.limits import InProcessLimiter
from quant_pipeline_tests.venues import makers
from quant_pipeline_tests.venues.conftest import TUESDAY_10_AM_NEW_YORK
from quant_pipeline_tests.venues.makers import VENUES, symbol


@pytest.mark.parametrize("venue", VENUES)
def test_an_order_filled_in_parts_keeps_its_executions_and_ends_when_all_are_known(venue: str) -> None:
    config = ExchangeConfig(
        alpaca_port=0,
        upbit_port=0,
        clock=TUESDAY_10_AM_NEW_YORK,
        max_participation=Decimal("0.00001"),
        usd_cash=Decimal(10_000_000),
        krw_cash=Decimal(100_000_000_000),
        upbit_exchange_per_second=1000,
    )
    amount = {"qty": Decimal(60)} if venue == "alpaca" else {"notional": Decimal(20_000)}
    seen: list[VenueOrder] = []
    with running_exchange(config) as running:
        url = running.alpaca_url if venue == "alpaca" else running.upbit_url
        with makers.broker(venue, url) as broker:
            broker.submit(OrderRequest("parts", symbol(venue), Side.BUY, **amount))
            while not (seen and seen[-1].state.is_terminal) and len(seen) < 120:
                running.admin.advance(60)
                order = broker.find("parts", symbol(venue))
                assert order is not None
                seen.append(order)
        records = running.admin.fills()
    last = seen[-1]
    assert last.state is OrderState.FILLED
    assert len(last.fills) == len(records) > 2
    assert OrderState.PARTIALLY_FILLED in {order.state for order in seen}
    for order in seen:
        assert order.fills == last.fills[: len(order.fills)], "an execution changed after it was reported"
        assert sum(fill.qty for fill in order.fills) == order.filled_qty
    assert [(fill.qty, fill.price, fill.fee) for fill in last.fills] == [
        (Decimal(one["qty"]), Decimal(one["price"]), Decimal(one["fee"])) for one in records
    ]


def test_many_upbit_pages_stay_inside_the_budget_of_ten_a_second() -> None:
    config = ExchangeConfig(alpaca_port=0, upbit_port=0, clock=TUESDAY_10_AM_NEW_YORK)
    with running_exchange(config) as running, makers.market_data("upbit", running.upbit_url) as data:
        end = running.admin.clock()
        frame = data.bars(["KRW-BTC"], "1m", end - timedelta(minutes=200 * 24), end)
        statuses = [one["status"] for one in running.admin.requests(dialect="upbit")]
    assert len(frame) > 200 * 22
    assert statuses == [200] * len(statuses)
    assert len(statuses) > 20


def test_when_alpacas_minute_is_used_up_we_stop_before_it_says_so() -> None:
    config = ExchangeConfig(alpaca_port=0, upbit_port=0, alpaca_trading_per_minute=5)
    with running_exchange(config) as running:
        broker = AlpacaBroker(
            base_url=running.alpaca_url,
            key=makers.ALPACA_KEY,
            secret=makers.ALPACA_SECRET,
            limiter=InProcessLimiter(BUDGETS, max_wait=0.01),
        )
        with closing(broker), pytest.raises(RateLimited) as caught:
            # A minute may turn over once meanwhile, so at most ten pass.
            _ = [broker.account() for _ in range(11)]
        statuses = [one["status"] for one in running.admin.requests(dialect="alpaca")]
    assert caught.value.retry_after is not None
    assert 0 < caught.value.retry_after <= 61
    assert set(statuses) == {200}
    assert 5 <= len(statuses) <= 10
