"""The untouched alpaca-py against the exchange: every call that the desk's venue client may make."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data.enums import Adjustment, DataFeed
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.data.requests import (
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockSnapshotRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, OrderStatus, QueryOrderStatus, TimeInForce
from alpaca.trading.requests import (
    ClosePositionRequest,
    GetAssetsRequest,
    GetCalendarRequest,
    GetOrdersRequest,
    LimitOrderRequest,
    MarketOrderRequest,
)

from quant_pipeline.exchange.server import ExchangeHandle


def _market(client_id: str, side: OrderSide = OrderSide.BUY, **amount: float) -> MarketOrderRequest:
    return MarketOrderRequest(
        symbol="AAPL", side=side, time_in_force=TimeInForce.DAY, client_order_id=client_id, **(amount or {"qty": 10})
    )


def _limit(client_id: str, price: float) -> LimitOrderRequest:
    return LimitOrderRequest(
        symbol="MSFT", qty=2, side="buy", time_in_force="gtc", client_order_id=client_id, limit_price=price
    )


def test_a_market_order_is_accepted_filled_at_the_next_minute_and_held(
    exchange: ExchangeHandle, trading: TradingClient, stock_data: StockHistoricalDataClient
) -> None:
    exchange.admin.advance(20)
    placed = trading.submit_order(_market("one"))
    assert (placed.status, placed.filled_qty, placed.client_order_id) == (OrderStatus.ACCEPTED, "0", "one")
    exchange.admin.advance(40)
    filled = trading.get_order_by_client_id("one")
    assert (filled.status, filled.filled_qty, filled.id) == (OrderStatus.FILLED, "10", placed.id)
    opened = stock_data.get_stock_bars(
        StockBarsRequest(
            symbol_or_symbols="AAPL", timeframe=TimeFrame.Minute, start=datetime(2025, 3, 3, 14, 31, tzinfo=UTC)
        )
    )["AAPL"][0].open
    price = Decimal(filled.filled_avg_price)
    assert Decimal(repr(opened)) < price <= Decimal(repr(opened)) * Decimal("1.0002") + Decimal("0.01")
    position = trading.get_open_position("AAPL")
    assert (position.qty, position.qty_available, Decimal(position.avg_entry_price)) == ("10", "10", price)
    account = trading.get_account()
    assert Decimal(account.cash) == 100_000 - 10 * price
    assert Decimal(account.equity) == Decimal(account.cash) + Decimal(position.market_value)


def test_an_order_at_night_waits_and_fills_at_the_opening(exchange: ExchangeHandle, trading: TradingClient) -> None:
    exchange.admin.advance(8 * 3600)
    trading.submit_order(_market("night"))
    exchange.admin.advance(8 * 3600)
    assert trading.get_order_by_client_id("night").status is OrderStatus.ACCEPTED
    exchange.admin.advance(9 * 3600)
    filled = trading.get_order_by_client_id("night")
    assert filled.status is OrderStatus.FILLED
    assert filled.filled_at == datetime(2025, 3, 4, 14, 30, tzinfo=UTC)


def test_orders_by_value_and_fractions(exchange: ExchangeHandle, trading: TradingClient) -> None:
    trading.submit_order(_market("value", notional=100.12))
    trading.submit_order(_market("part", qty=0.5))
    exchange.admin.advance(0)
    by_value, part = (trading.get_order_by_client_id(name) for name in ("value", "part"))
    assert (by_value.notional, by_value.qty, part.filled_qty) == ("100.12", None, "0.5")
    spent = Decimal(by_value.filled_qty) * Decimal(by_value.filled_avg_price)
    assert Decimal("100.12") - spent < Decimal("0.000001")


def test_lists_by_status_symbol_side_time_and_direction(exchange: ExchangeHandle, trading: TradingClient) -> None:
    trading.submit_order(_market("first"))
    exchange.admin.advance(120)
    between = exchange.admin.clock()
    exchange.admin.advance(120)
    trading.submit_order(_limit("second", 100.0))
    trading.submit_order(_limit("third", 101.0))

    def names(**wanted: object) -> list[str]:
        return [order.client_order_id for order in trading.get_orders(GetOrdersRequest(**wanted))]

    assert names(status=QueryOrderStatus.ALL) == ["third", "second", "first"]
    assert names(status=QueryOrderStatus.ALL, direction="asc", limit=2) == ["first", "second"]
    assert names(status=QueryOrderStatus.OPEN) == ["third", "second"]
    assert names(status=QueryOrderStatus.CLOSED) == ["first"]
    assert names(status=QueryOrderStatus.ALL, after=between) == ["third", "second"]
    assert names(status=QueryOrderStatus.ALL, until=between) == ["first"]
    assert names(status=QueryOrderStatus.ALL, symbols=["AAPL"], side=OrderSide.BUY) == ["first"]
    assert names(status=QueryOrderStatus.ALL, side=OrderSide.SELL) == []


def test_cancel_one_and_all(trading: TradingClient) -> None:
    one, other = trading.submit_order(_limit("a", 100.0)), trading.submit_order(_limit("b", 100.0))
    trading.cancel_order_by_id(one.id)
    assert trading.get_order_by_id(one.id).status is OrderStatus.CANCELED
    with pytest.raises(APIError) as refused:
        trading.cancel_order_by_id(one.id)
    assert (refused.value.status_code, refused.value.code) == (422, 42210000)
    cancelled = trading.cancel_orders()
    assert [(answer.id, answer.status) for answer in cancelled] == [(other.id, 200)]


def test_closing_positions_in_part_and_in_whole(exchange: ExchangeHandle, trading: TradingClient) -> None:
    trading.submit_order(_market("a"))
    trading.submit_order(_limit("b", 100.0))
    exchange.admin.advance(60)
    trading.close_position("AAPL", ClosePositionRequest(qty="2.5"))
    exchange.admin.advance(60)
    trading.close_position("AAPL", ClosePositionRequest(percentage="50"))
    exchange.admin.advance(60)
    assert trading.get_open_position("AAPL").qty == "3.75"
    closed = trading.close_all_positions(cancel_orders=True)
    assert [(answer.symbol, answer.status) for answer in closed] == [("AAPL", 200)]
    exchange.admin.advance(60)
    assert trading.get_all_positions() == []
    assert trading.get_orders(GetOrdersRequest(status=QueryOrderStatus.OPEN)) == []
    with pytest.raises(APIError) as refused:
        trading.get_open_position("AAPL")
    assert (refused.value.status_code, refused.value.code) == (404, 40410000)


def test_clock_knows_weekends_and_half_days(exchange: ExchangeHandle, trading: TradingClient) -> None:
    assert trading.get_clock().is_open
    exchange.admin.set_clock(datetime(2025, 3, 7, 21, 0, tzinfo=UTC))
    clock = trading.get_clock()
    assert (clock.is_open, clock.next_open.isoformat()) == (False, "2025-03-10T09:30:00-04:00")
    exchange.admin.set_clock(datetime(2025, 11, 28, 17, 0, tzinfo=UTC))
    assert trading.get_clock().next_close.isoformat() == "2025-11-28T13:00:00-05:00"


def test_calendar_and_assets(trading: TradingClient) -> None:
    days = trading.get_calendar(GetCalendarRequest(start=date(2025, 11, 26), end=date(2025, 12, 1)))
    assert [(day.date.isoformat(), f"{day.close:%H:%M}") for day in days] == [
        ("2025-11-26", "16:00"),
        ("2025-11-28", "13:00"),
        ("2025-12-01", "16:00"),
    ]
    assets = trading.get_all_assets(GetAssetsRequest(status="active", asset_class="us_equity"))
    assert len(assets) == 32
    apple = trading.get_asset("AAPL")
    assert (apple.symbol, apple.fractionable, apple.id) == ("AAPL", True, trading.get_asset(str(apple.id)).id)
    with pytest.raises(APIError) as unknown:
        trading.get_asset("NONE")
    assert unknown.value.status_code == 404


def test_executions_as_account_activities(exchange: ExchangeHandle, trading: TradingClient) -> None:
    for number in range(3):
        trading.submit_order(_market(f"order-{number}"))
        exchange.admin.advance(60)
    everything = trading.get("/account/activities/FILL", {"direction": "asc"})
    logged = exchange.admin.fills("us_equity")
    assert [(row["qty"], row["price"], row["order_id"]) for row in everything] == [
        (row["qty"], row["price"], row["venue_id"]) for row in logged
    ]
    pages = [trading.get("/account/activities/FILL", {"direction": "asc", "page_size": 2})]
    pages.append(
        trading.get("/account/activities/FILL", {"direction": "asc", "page_size": 2, "page_token": pages[0][-1]["id"]})
    )
    assert [row for page in pages for row in page] == everything
    later = trading.get("/account/activities/FILL", {"after": everything[0]["transaction_time"], "direction": "asc"})
    assert later == everything[1:]


def test_bars_of_many_symbols_come_in_pages_and_whole(
    exchange: ExchangeHandle, stock_data: StockHistoricalDataClient
) -> None:
    symbols = ["AAPL", "MSFT", "XOM", "NONE"]
    request = StockBarsRequest(
        symbol_or_symbols=symbols,
        timeframe=TimeFrame(5, TimeFrameUnit.Minute),
        start=datetime(2024, 10, 1, tzinfo=UTC),
        end=datetime(2025, 2, 1, tzinfo=UTC),
        adjustment=Adjustment.ALL,
        feed=DataFeed.IEX,
    )
    frame = stock_data.get_stock_bars(request).df
    assert set(frame.index.get_level_values("symbol")) == {"AAPL", "MSFT", "XOM"}
    assert (frame.groupby("symbol").size() == 84 * 78 - 2 * 36).all()  # two half days
    assert frame.index.is_unique
    pages = exchange.admin.requests(path="/v2/stocks/bars")
    assert len(pages) == 2


def test_a_limit_counts_over_all_symbols(stock_data: StockHistoricalDataClient) -> None:
    request = StockBarsRequest(
        symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Day, start=datetime(2025, 1, 1, tzinfo=UTC), limit=45
    )
    counted = stock_data.get_stock_bars(request).df.groupby("symbol").size()
    assert counted.to_dict() == {"AAPL": 40, "MSFT": 5}


def test_newest_first_gives_the_same_bars_backwards(stock_data: StockHistoricalDataClient) -> None:
    def bars(sort: str, limit: int | None) -> list[datetime]:
        request = StockBarsRequest(
            symbol_or_symbols="KO",
            timeframe=TimeFrame.Hour,
            start=datetime(2025, 2, 3, tzinfo=UTC),
            sort=sort,
            limit=limit,
        )
        return [bar.timestamp for bar in stock_data.get_stock_bars(request)["KO"]]

    assert bars("desc", None) == bars("asc", None)[::-1]
    assert bars("desc", 5) == bars("asc", None)[::-1][:5]


def test_todays_daily_bar_is_stamped_midnight_in_new_york_and_still_forms(
    exchange: ExchangeHandle, stock_data: StockHistoricalDataClient
) -> None:
    request = StockBarsRequest(
        symbol_or_symbols="AAPL", timeframe=TimeFrame.Day, start=datetime(2025, 3, 3, tzinfo=UTC)
    )
    early = stock_data.get_stock_bars(request)["AAPL"][0]
    exchange.admin.advance(3600)
    later = stock_data.get_stock_bars(request)["AAPL"][0]
    assert early.timestamp == later.timestamp == datetime(2025, 3, 3, 5, tzinfo=UTC)
    assert early.volume < later.volume
    assert early.open == later.open


def test_an_empty_answer_is_an_empty_frame(stock_data: StockHistoricalDataClient) -> None:
    request = StockBarsRequest(
        symbol_or_symbols="AAPL",
        timeframe=TimeFrame.Day,
        start=datetime(2001, 1, 1, tzinfo=UTC),
        end=datetime(2001, 2, 1, tzinfo=UTC),
    )
    assert stock_data.get_stock_bars(request).df.empty


def test_latest_values_and_snapshots_agree(exchange: ExchangeHandle, stock_data: StockHistoricalDataClient) -> None:
    exchange.admin.advance(95)
    symbols = ["AAPL", "TSLA"]
    quotes = stock_data.get_stock_latest_quote(StockLatestQuoteRequest(symbol_or_symbols=symbols))
    trades = stock_data.get_stock_latest_trade(StockLatestTradeRequest(symbol_or_symbols=symbols))
    bars = stock_data.get_stock_latest_bar(StockLatestBarRequest(symbol_or_symbols=symbols))
    snapshots = stock_data.get_stock_snapshot(StockSnapshotRequest(symbol_or_symbols=symbols))
    for symbol in symbols:
        assert quotes[symbol].bid_price < trades[symbol].price < quotes[symbol].ask_price
        assert quotes[symbol].timestamp == exchange.admin.clock()
        assert bars[symbol].timestamp == datetime(2025, 3, 3, 14, 31, tzinfo=UTC)
        assert snapshots[symbol].latest_trade == trades[symbol]
        assert snapshots[symbol].minute_bar == bars[symbol]
        assert snapshots[symbol].previous_daily_bar.timestamp == datetime(2025, 2, 28, 5, tzinfo=UTC)
