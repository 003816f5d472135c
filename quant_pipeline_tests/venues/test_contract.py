"""What both venues promise (`venues.protocols`), against the simulated exchange over real HTTP."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest

from quant_pipeline.core.values import (
    BAR_COLUMNS,
    OrderRequest,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    VenueOrder,
)
from quant_pipeline.markets.market import get_market
from quant_pipeline.markets.rules import round_price
from quant_pipeline.venues.alpaca.broker import AlpacaBroker
from quant_pipeline.venues.alpaca.market_data import AlpacaMarketData
from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    DuplicateOrder,
    OrderRejected,
    UnknownOrder,
    UnknownSymbol,
    VenueUnavailable,
    WrongAccount,
)
from quant_pipeline.venues.protocols import Broker, MarketData
from quant_pipeline.venues.upbit.broker import UpbitBroker
from quant_pipeline_tests.venues import makers
from quant_pipeline_tests.venues.conftest import Place
from quant_pipeline_tests.venues.makers import buy, symbol

_SYMBOLS = {"alpaca": ["AAPL", "MSFT", "NVDA"], "upbit": ["KRW-BTC", "KRW-ETH"]}


@pytest.fixture
def broker(place: Place) -> Iterator[Broker]:
    with makers.broker(place.venue, place.url) as client:
        yield client


@pytest.fixture
def data(place: Place) -> Iterator[MarketData]:
    with makers.market_data(place.venue, place.url) as client:
        yield client


def _bought(place: Place, broker: Broker, client_id: str = "d1-entry-1") -> VenueOrder:
    """A buy that has executed."""
    broker.submit(buy(place.venue, client_id))
    place.admin.advance(120)
    order = broker.find(client_id, symbol(place.venue))
    assert order is not None
    assert order.state is OrderState.FILLED
    return order


def _resting(place: Place, data: MarketData, client_id: str = "d1-rest-1") -> OrderRequest:
    """A limit buy far below the price."""
    name = symbol(place.venue)
    price = round_price(get_market(place.market), data.quotes([name])[name].price * Decimal("0.7"))
    qty = Decimal(2) if place.venue == "alpaca" else Decimal("0.002")
    return OrderRequest(client_id, name, Side.BUY, OrderType.LIMIT, qty=qty, limit_price=price)


# Market data


@pytest.mark.parametrize(("interval", "length"), [("1m", 1), ("5m", 5), ("15m", 15), ("1h", 60), ("1d", 1440)])
def test_bars_are_a_bar_frame_stamped_with_their_start(
    place: Place, data: MarketData, interval: str, length: int
) -> None:
    end = place.admin.clock()
    start = end - timedelta(minutes=length * 12)
    frame = data.bars(_SYMBOLS[place.venue], interval, start, end)
    assert tuple(frame.columns) == BAR_COLUMNS
    assert [str(kind) for kind in frame.dtypes] == ["object", "datetime64[ns, UTC]", *["float64"] * 5]
    assert set(frame["symbol"]) == set(_SYMBOLS[place.venue])
    assert frame["ts"].between(pd.Timestamp(start), pd.Timestamp(end), inclusive="left").all()
    pd.testing.assert_frame_equal(frame, frame.sort_values(["symbol", "ts"], ignore_index=True))
    assert not frame.duplicated(["symbol", "ts"]).any()
    assert (frame["high"] >= frame[["open", "close", "low"]].max(axis="columns")).all()
    assert (frame["low"] <= frame[["open", "close", "high"]].min(axis="columns")).all()


def test_daily_bars_keep_the_venues_stamp_of_their_session(place: Place, data: MarketData) -> None:
    end = place.admin.clock()
    frame = data.bars([symbol(place.venue)], "1d", end - timedelta(days=6), end)
    hour = 5 if place.venue == "alpaca" else 0  # midnight in New York in winter; Upbit's day starts at 00:00 UTC
    assert set(frame["ts"].dt.hour) == {hour}
    days = {at.date() for at in frame["ts"]}
    assert end.date() in days, "the bar that is forming is returned"
    if place.venue == "alpaca":
        assert all(day.weekday() < 5 for day in days)


def test_bars_over_many_pages_are_those_of_each_part_alone(place: Place, data: MarketData) -> None:
    """Alpaca's page is 10,000 rows over all symbols, Upbit's 200 rows of one."""
    end = place.admin.clock()
    span = timedelta(days=14) if place.venue == "alpaca" else timedelta(hours=15)
    start, middle = end - span, end - span / 3
    names = _SYMBOLS[place.venue]
    whole = data.bars(names, "1m", start, end)
    assert len(whole) > (10_000 if place.venue == "alpaca" else 3 * 200 * len(names))
    parts = [data.bars([name], "1m", *part) for name in names for part in ((start, middle), (middle, end))]
    pd.testing.assert_frame_equal(whole, pd.concat(parts, ignore_index=True))


def test_the_minute_that_is_forming_is_returned_and_the_end_is_exclusive(place: Place, data: MarketData) -> None:
    place.admin.advance(30)
    now = place.admin.clock()
    minute = now.replace(second=0, microsecond=0)
    name = symbol(place.venue)
    assert minute not in list(data.bars([name], "1m", minute - timedelta(minutes=3), minute)["ts"])
    assert minute in list(data.bars([name], "1m", minute - timedelta(minutes=3), now + timedelta(minutes=5))["ts"])
    place.admin.advance(30)


def test_a_span_without_bars_is_empty(place: Place, data: MarketData) -> None:
    end = place.admin.clock() + timedelta(days=400)
    assert len(data.bars([symbol(place.venue)], "1m", end - timedelta(hours=1), end)) == 0


def test_bars_of_an_unknown_symbol(place: Place, data: MarketData) -> None:
    end = place.admin.clock()
    span = (end - timedelta(minutes=5), end)
    if place.venue == "alpaca":
        assert set(data.bars(["AAPL", "ZZZZ"], "1m", *span)["symbol"]) == {"AAPL"}
    else:
        with pytest.raises(UnknownSymbol, match="KRW-ZZZZ"):
            data.bars(["KRW-BTC", "KRW-ZZZZ"], "1m", *span)


@pytest.mark.parametrize("place", ["alpaca"], indirect=True)
def test_raw_and_adjusted_bars_are_asked_for_by_name(place: Place, data: AlpacaMarketData) -> None:
    end = place.admin.clock()
    span = (end - timedelta(days=5), end)
    raw, split = (data.bars(["AAPL"], "1d", *span, adjustment=kind) for kind in ("raw", "split"))
    pd.testing.assert_frame_equal(raw, data.bars(["AAPL"], "1d", *span))
    assert list(raw["ts"]) == list(split["ts"])
    with pytest.raises(ValueError, match="adjustment"):
        data.bars(["AAPL"], "1d", *span, adjustment="none")


def test_quotes_are_fresh_and_leave_out_unknown_symbols(place: Place, data: MarketData) -> None:
    names = _SYMBOLS[place.venue]
    quotes = data.quotes([*names, "KRW-ZZZZ"])
    assert set(quotes) == set(names)
    for name, quote in quotes.items():
        assert quote.symbol == name
        assert quote.bid is not None
        assert quote.ask is not None
        assert Decimal(0) < quote.bid <= quote.price <= quote.ask
        assert timedelta(0) <= place.admin.clock() - quote.at < timedelta(minutes=5)


# Account


def test_account_and_clock_agree_with_the_exchanges_own_records(place: Place, broker: Broker) -> None:
    record = place.admin.accounts()[place.market]
    account = broker.account()
    assert (account.currency, account.cash, account.locked) == (record["currency"], Decimal(record["cash"]), 0)
    assert account.account_id
    clock = broker.clock()
    assert clock.now == place.admin.clock()
    assert clock.is_open
    if place.venue == "alpaca":
        assert clock.next_close is not None
        assert clock.next_open is not None
        assert clock.now < clock.next_close < clock.next_open
    assert broker.positions() == ()
    assert broker.open_orders() == ()


# Orders


def test_a_buy_is_accepted_and_then_filled_with_its_executions(place: Place, broker: Broker) -> None:
    submitted = broker.submit(buy(place.venue))
    assert (submitted.client_id, submitted.side) == ("d1-entry-1", Side.BUY)
    assert not submitted.state.is_terminal
    place.admin.advance(120)
    order = broker.find("d1-entry-1", symbol(place.venue))
    assert order is not None
    (record,) = place.admin.orders(place.market)
    fills = place.admin.fills(place.market)
    assert (order.state, order.venue_id) == (OrderState.FILLED, record["venue_id"])
    assert order.filled_qty == Decimal(record["filled_qty"]) == sum(fill.qty for fill in order.fills)
    assert order.avg_price is not None
    assert abs(order.avg_price - Decimal(record["avg_price"])) < Decimal("1e-9")
    assert order.fee == Decimal(record["fee"]) == sum(fill.fee for fill in order.fills)
    assert {fill.fill_id for fill in order.fills} == {one["fill_id"] for one in fills} or place.venue == "alpaca"
    assert [(fill.qty, fill.price, fill.fee) for fill in order.fills] == [
        (Decimal(one["qty"]), Decimal(one["price"]), Decimal(one["fee"])) for one in fills
    ]
    assert order.submitted_at <= order.fills[0].at <= place.admin.clock()


def test_a_buy_by_amount_spends_at_most_that_amount(place: Place, broker: Broker) -> None:
    before = broker.account().cash
    amount = Decimal(500) if place.venue == "alpaca" else Decimal(50_000)
    broker.submit(OrderRequest("by-amount", symbol(place.venue), Side.BUY, notional=amount))
    place.admin.advance(120)
    order = broker.find("by-amount", symbol(place.venue))
    assert order is not None
    assert order.state is OrderState.FILLED
    spent = before - broker.account().cash
    assert amount * Decimal("0.99") < spent <= amount * Decimal("1.0006")


def test_bought_and_sold_leaves_no_position_and_the_cash_of_the_exchange(place: Place, broker: Broker) -> None:
    bought = _bought(place, broker)
    (position,) = broker.positions()
    assert (position.symbol, position.qty, position.locked) == (symbol(place.venue), bought.filled_qty, 0)
    assert bought.avg_price is not None
    assert abs(position.avg_price / bought.avg_price - 1) < Decimal("1e-6")
    broker.submit(OrderRequest("d2-exit-1", position.symbol, Side.SELL, qty=position.qty))
    place.admin.advance(120)
    sold = broker.find("d2-exit-1", position.symbol)
    assert sold is not None
    assert (sold.state, sold.side, sold.filled_qty) == (OrderState.FILLED, Side.SELL, position.qty)
    assert broker.positions() == ()
    assert broker.account().cash == Decimal(place.admin.accounts()[place.market]["cash"])


def test_a_resting_order_is_open_binds_money_and_can_be_cancelled(
    place: Place, broker: Broker, data: MarketData
) -> None:
    request = _resting(place, data)
    assert broker.submit(request).state is OrderState.ACCEPTED
    (standing,) = broker.open_orders()
    assert (standing.client_id, standing.state, standing.symbol) == (
        request.client_id,
        OrderState.ACCEPTED,
        request.symbol,
    )
    account, record = broker.account(), place.admin.accounts()[place.market]
    assert account.cash == Decimal(record["cash"])
    assert account.locked == Decimal(record["locked"]) > 0
    broker.cancel(request.client_id, request.symbol)
    found = broker.find(request.client_id, request.symbol)
    assert found is not None
    assert (found.state, found.filled_qty, found.fills) == (OrderState.CANCELED, Decimal(0), ())
    assert broker.open_orders() == ()
    assert broker.account().locked == 0


def test_more_open_orders_than_one_page_are_all_listed(
    place: Place, broker: Broker, data: MarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "_ORDERS_PAGE" if place.venue == "alpaca" else "_PAGE"
    monkeypatch.setattr(f"quant_pipeline.venues.{place.venue}.broker.{name}", 4)
    template = _resting(place, data)
    sent = [replace(template, client_id=f"rest-{number:02}") for number in range(13)]
    for number, request in enumerate(sent):
        if number % 2 == 0:
            place.admin.advance(1)
        broker.submit(request)
    assert [order.client_id for order in broker.open_orders()] == [request.client_id for request in sent]


@pytest.mark.parametrize("place", ["alpaca"], indirect=True)  # Upbit's pages are numbered
def test_open_orders_that_no_page_can_hold_are_an_error_not_a_part(
    place: Place, broker: Broker, data: MarketData, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("quant_pipeline.venues.alpaca.broker._ORDERS_PAGE", 3)
    template = _resting(place, data)
    for number in range(4):
        broker.submit(replace(template, client_id=f"rest-{number}"))
    with pytest.raises(VenueUnavailable, match="one instant"):
        broker.open_orders()


def test_cancelling_a_finished_order_changes_nothing(place: Place, broker: Broker) -> None:
    bought = _bought(place, broker)
    broker.cancel(bought.client_id, bought.symbol)
    assert broker.find(bought.client_id, bought.symbol) == bought


def test_the_same_id_is_a_duplicate_whatever_became_of_the_first(
    place: Place, broker: Broker, data: MarketData
) -> None:
    request = buy(place.venue)
    broker.submit(request)
    with pytest.raises(DuplicateOrder):
        broker.submit(request)
    place.admin.advance(120)
    with pytest.raises(DuplicateOrder):
        broker.submit(replace(_resting(place, data), client_id=request.client_id))
    assert len(place.admin.orders(place.market)) == 1


def test_an_unknown_order_is_none_and_cannot_be_cancelled(place: Place, broker: Broker) -> None:
    assert broker.find("never-sent", symbol(place.venue)) is None
    with pytest.raises(UnknownOrder):
        broker.cancel("never-sent", symbol(place.venue))


def test_an_unknown_symbol_is_said_to_be_one(place: Place, broker: Broker) -> None:
    name = "ZZZZ" if place.venue == "alpaca" else "KRW-ZZZZ"
    with pytest.raises(UnknownSymbol, match=name):
        broker.submit(OrderRequest("u", name, Side.SELL, qty=Decimal(1)))
    assert place.admin.orders(place.market) == []


def test_what_cannot_be_paid_or_is_not_held_is_refused(place: Place, broker: Broker) -> None:
    amount = Decimal(90_000_000) if place.venue == "alpaca" else Decimal(900_000_000)
    with pytest.raises(OrderRejected) as poor:
        broker.submit(OrderRequest("poor", symbol(place.venue), Side.BUY, notional=amount))
    with pytest.raises(OrderRejected) as short:
        broker.submit(OrderRequest("short", symbol(place.venue), Side.SELL, qty=Decimal(1)))
    codes = (
        ("40310000", "40310000") if place.venue == "alpaca" else ("insufficient_funds_bid", "insufficient_funds_ask")
    )
    assert (poor.value.code, short.value.code) == codes
    assert place.admin.orders(place.market) == []


def test_wrong_keys_are_refused_and_nothing_is_carried_out(place: Place) -> None:
    wrong = "WRONG-SECRET-0123456789-0123456789-01234567"
    client = (
        AlpacaBroker(base_url=place.url, key=makers.ALPACA_KEY, secret=wrong, retries=makers.ONCE)
        if place.venue == "alpaca"
        else UpbitBroker(base_url=place.url, access_key=makers.UPBIT_ACCESS, secret_key=wrong, retries=makers.ONCE)
    )
    try:
        for call in (client.account, lambda: client.submit(buy(place.venue)), lambda: client.find("a", "b")):
            with pytest.raises(AuthenticationFailed) as caught:
                call()
            assert wrong not in str(caught.value)
    finally:
        client.close()
    assert place.admin.orders(place.market) == []


@pytest.mark.parametrize("place", ["alpaca"], indirect=True)  # Upbit's is refused when the client is built
def test_an_account_that_is_not_the_named_one_gets_no_order(place: Place) -> None:
    keys = {"key": makers.ALPACA_KEY, "secret": makers.ALPACA_SECRET}
    stranger = AlpacaBroker(base_url=place.url, live_account="SOMEBODY-ELSE", **keys)
    number = stranger.account().account_id
    named = AlpacaBroker(base_url=place.url, live_account=number, **keys)
    try:
        with pytest.raises(WrongAccount, match="SOMEBODY-ELSE"):
            stranger.submit(buy("alpaca"))
        assert place.posts() == 0
        assert named.submit(buy("alpaca")).state is OrderState.ACCEPTED
        named.submit(buy("alpaca", "second"))
    finally:
        stranger.close()
        named.close()
    assert place.posts() == 2


@pytest.mark.parametrize("place", ["upbit"], indirect=True)
def test_best_and_immediate_orders_are_upbits(place: Place, broker: Broker) -> None:
    request = OrderRequest("best", "KRW-BTC", Side.BUY, OrderType.BEST, TimeInForce.IOC, notional=Decimal(60_000))
    broker.submit(request)
    place.admin.advance(120)
    order = broker.find("best", "KRW-BTC")
    assert order is not None
    assert order.state is OrderState.FILLED
