"""Real prices, simulated fills: what a desk sees is what the venue says, and the venue never hears of an order."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal

import pandas as pd
import pytest
import requests

from quant_pipeline.core.values import OrderRequest, OrderState, OrderType, Side
from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY
from quant_pipeline.markets.rules import round_price
from quant_pipeline_tests.exchange.live.conftest import US, VENUE_KEY, VENUE_SECRET, DryRun, at
from quant_pipeline_tests.venues.makers import VENUES, broker, buy, market_data, symbol

VENUE_KEYS = {"APCA-API-KEY-ID": VENUE_KEY, "APCA-API-SECRET-KEY": VENUE_SECRET}
OWN_KEYS = {"APCA-API-KEY-ID": "SIM-ALPACA-KEY", "APCA-API-SECRET-KEY": "SIM-ALPACA-SECRET"}
QUESTIONS = {
    "alpaca": [
        "/v2/stocks/bars?symbols=AAPL,MSFT&timeframe=1Min&start=2025-03-03T14:30:00Z&end=2025-03-03T15:00:00Z&feed=iex",
        "/v2/stocks/bars?symbols=AAPL,MSFT&timeframe=1Day&start=2025-02-20&limit=3&sort=desc&feed=iex",
        "/v2/stocks/MSFT/bars?timeframe=15Min&start=2025-02-28T14:30:00Z&feed=iex",
        "/v2/stocks/bars/latest?symbols=AAPL&feed=iex",
        "/v2/stocks/quotes/latest?symbols=AAPL,MSFT&feed=iex",
        "/v2/stocks/trades/latest?symbols=AAPL,MSFT&feed=iex",
        "/v2/stocks/snapshots?symbols=MSFT&feed=iex",
        "/v2/stocks/bars?symbols=AAPL&timeframe=1Mon",
    ],
    "upbit": [
        "/v1/candles/minutes/1?market=KRW-BTC&count=200",
        "/v1/candles/minutes/1?market=KRW-DOGE&count=200&to=2025-03-03T11:00:00Z",
        "/v1/candles/minutes/60?market=KRW-BTC&count=24",
        "/v1/candles/days?market=KRW-BTC&count=5",
        "/v1/candles/weeks?market=KRW-BTC&count=5",
        "/v1/ticker?markets=KRW-BTC,KRW-DOGE",
        "/v1/ticker/all?quote_currencies=KRW",
        "/v1/orderbook?markets=KRW-BTC",
        "/v1/orderbook/instruments?markets=KRW-BTC",
        "/v1/market/all?isDetails=true",
        "/v1/candles/minutes/1?market=KRW-NONE",
        "/v1/ticker?markets=KRW-BTC,KRW-NONE",
        "/v1/candles/minutes/7?market=KRW-BTC",
    ],
}


@pytest.mark.parametrize("venue", VENUES)
def test_every_question_for_market_data_is_answered_in_the_venues_own_words(dry_run: DryRun, venue: str) -> None:
    for question in QUESTIONS[venue]:
        said = requests.get(dry_run.venue_urls[venue] + question, headers=VENUE_KEYS, timeout=10)
        heard = requests.get(dry_run.url(venue) + question, headers=OWN_KEYS, timeout=10)
        assert (heard.status_code, heard.text) == (said.status_code, said.text), question
        assert heard.headers["content-type"] == said.headers["content-type"]


@pytest.mark.parametrize("venue", VENUES)
def test_bars_and_quotes_of_the_desks_clients_equal_those_from_the_venue(
    dry_run: DryRun, venue: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed, start = [symbol(venue)], at("15:00") - timedelta(days=5)
    with market_data(venue, dry_run.url(venue)) as heard:
        bars = {interval: heard.bars(listed, interval, start, at("15:00")) for interval in ("1m", "1h", "1d")}
        quotes = heard.quotes([*listed, "ZZZZ" if venue == "alpaca" else "KRW-NONE"])
    monkeypatch.setattr("quant_pipeline_tests.venues.makers.ALPACA_KEY", VENUE_KEY)
    monkeypatch.setattr("quant_pipeline_tests.venues.makers.ALPACA_SECRET", VENUE_SECRET)
    with market_data(venue, dry_run.venue_urls[venue]) as said:
        for interval, frame in bars.items():
            assert len(frame) > 1
            pd.testing.assert_frame_equal(frame, said.bars(listed, interval, start, at("15:00")))
        assert quotes == said.quotes(listed)


@pytest.mark.parametrize("venue", VENUES)
def test_orders_of_the_desks_clients_fill_at_the_venues_prices(dry_run: DryRun, venue: str) -> None:
    market = US_EQUITY if venue == "alpaca" else KRW_CRYPTO
    dry_run.move("2025-03-03 15:00:30")
    with broker(venue, dry_run.url(venue)) as desk:
        request = buy(venue)
        assert desk.submit(request).state is OrderState.ACCEPTED
        dry_run.move("2025-03-03 15:01:04")  # the venue's next minute has begun, but may not be all told yet
        assert _found(desk.find(request.client_id, request.symbol)).filled_qty == 0
        dry_run.move("2025-03-03 15:01:30")
        order = _found(desk.find(request.client_id, request.symbol))
        assert order.state is OrderState.FILLED
        with market_data(venue, dry_run.url(venue)) as data:
            minute = data.bars([request.symbol], "1m", at("15:01"), at("15:02"))
            last = data.quotes([request.symbol])[request.symbol]
        opening = Decimal(repr(float(minute["open"].iloc[0])))
        half_spread = Decimal("0.0002") if venue == "alpaca" else Decimal("0.0005")
        assert order.avg_price == round_price(market, opening * (1 + half_spread), side=Side.BUY)
        assert order.fills[0].at == at("15:01")
        held = desk.positions()
        assert [(one.symbol, one.qty) for one in held] == [(request.symbol, order.filled_qty)]
    equity = dry_run.desk.admin.accounts()[market.name]
    assert Decimal(equity["equity"]) == Decimal(equity["cash"]) + order.filled_qty * last.price
    assert not dry_run.venue.orders()


def test_a_limit_order_rests_until_the_venues_price_touches_it(dry_run: DryRun) -> None:
    url = f"{dry_run.venue_urls['upbit']}/v1/candles/minutes/1?market=KRW-BTC&count=1"
    dry_run.move("2025-03-03 15:00:30")
    price = requests.get(url, timeout=10).json()[0]["trade_price"]
    limit = round_price(KRW_CRYPTO, Decimal(repr(price)) * Decimal("0.9995"))
    request = OrderRequest(
        "rests", "KRW-BTC", Side.BUY, order_type=OrderType.LIMIT, qty=Decimal("0.01"), limit_price=limit
    )
    with broker("upbit", dry_run.url("upbit")) as desk:
        desk.submit(request)
        for minute in range(1, 240):
            moment = at("15:00") + timedelta(seconds=minute * MINUTE + 30)
            dry_run.move(moment.strftime("%Y-%m-%d %H:%M:%S"))
            order = _found(desk.find("rests", "KRW-BTC"))
            if order.state is OrderState.FILLED:
                break
    rows = requests.get(url.replace("count=1", "count=200"), timeout=10).json()
    lows = {row["candle_date_time_utc"]: row["low_price"] for row in rows}
    touched = min(stamp for stamp, low in lows.items() if low <= float(limit) and stamp >= "2025-03-03T15:01:00")
    assert order.avg_price == limit
    assert order.fills[0].at.strftime("%H:%M") == f"{pd.Timestamp(touched) + pd.Timedelta(minutes=1):%H:%M}"


def test_an_order_of_the_night_waits_for_the_session_although_the_venue_tells_prices(dry_run: DryRun) -> None:
    dry_run.move("2025-03-03 22:00:00")
    with broker("alpaca", dry_run.url("alpaca")) as desk:
        desk.submit(buy("alpaca"))
        dry_run.move("2025-03-04 14:29:00")
        assert _found(desk.find("d1-entry-1", "AAPL")).filled_qty == 0
        dry_run.move("2025-03-04 14:30:30")
        assert _found(desk.find("d1-entry-1", "AAPL")).fills[0].at == at("14:30") + timedelta(days=1)


def test_the_venue_hears_of_market_data_only_and_of_no_account(dry_run: DryRun) -> None:
    for venue in VENUES:
        with broker(venue, dry_run.url(venue)) as desk, market_data(venue, dry_run.url(venue)) as data:
            desk.account()
            desk.submit(buy(venue))
            desk.open_orders()
            desk.find("d1-entry-1", symbol(venue))
            desk.cancel("d1-entry-1", symbol(venue))
            desk.positions()
            desk.clock()
            data.quotes([symbol(venue)])
    dry_run.move("2025-03-03 15:01:30")
    asked = {(row["dialect"], row["method"], row["path"]) for row in dry_run.asked()}
    assert asked == {
        ("alpaca", "GET", "/v2/stocks/bars"),
        ("alpaca", "GET", "/v2/stocks/quotes/latest"),
        ("alpaca", "GET", "/v2/stocks/trades/latest"),
        ("upbit", "GET", "/v1/market/all"),
        ("upbit", "GET", "/v1/ticker"),
        ("upbit", "GET", "/v1/orderbook"),
        ("upbit", "GET", "/v1/candles/minutes/1"),
    }
    assert {row["status"] for row in dry_run.asked()} == {200}
    assert all(row["client_id"] is None for row in dry_run.asked())


def test_symbols_that_the_venue_does_not_know_are_refused_in_its_words(dry_run: DryRun) -> None:
    body = {"symbol": "ZZZZ", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    refused = requests.post(f"{dry_run.desk.alpaca_url}/v2/orders", json=body, headers=OWN_KEYS, timeout=10)
    known = requests.post(f"{dry_run.venue_urls['alpaca']}/v2/orders", json=body, headers=VENUE_KEYS, timeout=10)
    assert (refused.status_code, refused.text) == (known.status_code, known.text)
    assert requests.get(f"{dry_run.desk.alpaca_url}/v2/assets/ZZZZ", headers=OWN_KEYS, timeout=10).status_code == 404


def test_positions_state_the_change_since_the_venues_last_close(dry_run: DryRun) -> None:
    dry_run.move("2025-03-03 15:00:30")
    with broker("alpaca", dry_run.url("alpaca")) as desk:
        desk.submit(buy("alpaca"))
        dry_run.move("2025-03-03 15:01:30")
        dry_run.move("2025-03-03 15:01:40")
    position = requests.get(f"{dry_run.desk.alpaca_url}/v2/positions/AAPL", headers=OWN_KEYS, timeout=10).json()
    days = f"{dry_run.venue_urls['alpaca']}/v2/stocks/AAPL/bars?timeframe=1Day&start=2025-02-28&end=2025-02-28"
    friday = requests.get(days, headers=VENUE_KEYS, timeout=10).json()["bars"][0]
    assert float(position["lastday_price"]) == friday["c"]


def test_the_state_says_where_prices_come_from(dry_run: DryRun) -> None:
    state = dry_run.desk.admin.live()
    assert {name: row["problem"] for name, row in state.items()} == {"us_equity": None, "krw_crypto": None}
    assert state["us_equity"]["upstream"] == dry_run.venue_urls["alpaca"]
    assert state["us_equity"]["priced"] == len(US)
    assert state["krw_crypto"]["newest_quote"] == at("15:00").isoformat()


def _found[T](order: T | None) -> T:
    assert order is not None
    return order
