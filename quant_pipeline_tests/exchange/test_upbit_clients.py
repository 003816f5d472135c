"""The untouched upbit-sdk against the exchange: every call that the desk's venue client may make."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise

import pytest
import upbit as sdk
from upbit import Upbit

from quant_pipeline.exchange.server import ExchangeHandle


def _buy(upbit: Upbit, identifier: str, price: str = "1000000") -> sdk.types.Order:
    return upbit.orders.create(market="KRW-BTC", ord_type="price", side="bid", price=price, identifier=identifier)


def test_a_market_buy_locks_amount_and_fee_and_ends_as_cancel_though_executed(
    exchange: ExchangeHandle, upbit: Upbit
) -> None:
    exchange.admin.advance(5)
    placed = _buy(upbit, "one")
    assert (placed.state, placed.price, placed.volume, placed.locked) == ("wait", "1000000", None, "1000500")
    cash = upbit.accounts.list()[0]
    assert (cash.currency, cash.balance, cash.locked) == ("KRW", "98999500", "1000500")
    exchange.admin.advance(180)
    done = upbit.orders.retrieve(identifier="one")
    assert (done.state, done.uuid, done.trades_count, done.locked) == ("cancel", placed.uuid, 1, "0")
    trade = done.trades[0]
    funds = Decimal(trade.price) * Decimal(trade.volume)
    assert Decimal(trade.funds) == funds <= 1_000_000
    assert Decimal(done.paid_fee) == funds * Decimal("0.0005")
    cash, coin = upbit.accounts.list()
    assert Decimal(cash.balance) == 100_000_000 - funds - Decimal(done.paid_fee)
    assert (coin.currency, coin.balance, coin.avg_buy_price) == ("BTC", done.executed_volume, trade.price)


def test_a_market_sell_ends_as_done(exchange: ExchangeHandle, upbit: Upbit) -> None:
    _buy(upbit, "buy")
    exchange.admin.advance(180)
    held = upbit.accounts.list()[1].balance
    sold = upbit.orders.create(market="KRW-BTC", ord_type="market", side="ask", volume=held, identifier="sell")
    assert (sold.locked, sold.price) == (held, None)
    exchange.admin.advance(180)
    done = upbit.orders.retrieve(uuid=sold.uuid)
    assert (done.state, done.remaining_volume, done.executed_volume) == ("done", "0", held)
    assert [row.currency for row in upbit.accounts.list()] == ["KRW"]


@pytest.mark.parametrize("force", ["ioc", "fok"])
def test_best_orders_take_the_next_price(exchange: ExchangeHandle, upbit: Upbit, force: str) -> None:
    bought = upbit.orders.create(
        market="KRW-ETH", ord_type="best", side="bid", price="500000", time_in_force=force, identifier="b"
    )
    exchange.admin.advance(180)
    done = upbit.orders.retrieve(uuid=bought.uuid)
    assert (done.ord_type, done.time_in_force, done.trades_count) == ("best", force, 1)
    sold = upbit.orders.create(
        market="KRW-ETH", ord_type="best", side="ask", volume=done.executed_volume, time_in_force=force, identifier="s"
    )
    exchange.admin.advance(180)
    assert upbit.orders.retrieve(uuid=sold.uuid).state == "done"


def test_a_limit_order_waits_is_listed_and_is_cancelled(exchange: ExchangeHandle, upbit: Upbit) -> None:
    orders = [
        upbit.orders.create(
            market="KRW-XRP", ord_type="limit", side="bid", price="100", volume="60", identifier=f"limit-{n}"
        )
        for n in range(3)
    ]
    assert [order.locked for order in orders] == ["6003"] * 3
    waiting = list(upbit.orders.list_open(market="KRW-XRP", order_by="asc", states=["wait", "watch"], limit=2))
    assert [order.identifier for order in waiting] == ["limit-0", "limit-1", "limit-2"]
    answered = upbit.orders.cancel(identifier="limit-1")
    assert answered.state == "wait"
    assert upbit.orders.retrieve(identifier="limit-1").state == "cancel"
    batch = upbit.orders.cancel_by_uuids(uuids=[order.uuid for order in orders])
    assert (batch.success.count, batch.failed.count) == (2, 1)
    assert upbit.accounts.list()[0].locked == "0"
    closed = upbit.orders.list_closed(market="KRW-XRP", states=["cancel"], order_by="asc")
    assert [order.identifier for order in closed] == ["limit-0", "limit-1", "limit-2"]
    named = upbit.orders.list_by_uuids(identifiers=["limit-2", "limit-0", "none"])
    assert [order.identifier for order in named] == ["limit-2", "limit-0"]


def test_cancelling_all_open_orders_of_one_side(exchange: ExchangeHandle, upbit: Upbit) -> None:
    _buy(upbit, "hold")
    exchange.admin.advance(180)
    held = upbit.accounts.list()[1].balance
    upbit.orders.create(market="KRW-BTC", ord_type="limit", side="ask", price="900000000", volume=held, identifier="a")
    upbit.orders.create(market="KRW-XRP", ord_type="limit", side="bid", price="100", volume="60", identifier="b")
    result = upbit.orders.cancel_open(cancel_side="ask")
    assert [order.identifier for order in result.success.orders] == ["a"]
    assert [order.identifier for order in upbit.orders.list_open()] == ["b"]


def test_chance_states_fee_minimum_and_balances(upbit: Upbit) -> None:
    chance = upbit.orders.retrieve_chance(market="KRW-BTC")
    assert (chance.bid_fee, chance.ask_fee, chance.market.bid.min_total) == ("0.0005", "0.0005", "5000")
    assert (chance.bid_account.balance, chance.ask_account.currency) == ("100000000", "BTC")


def test_a_test_order_is_checked_and_not_taken(exchange: ExchangeHandle, upbit: Upbit) -> None:
    for _ in range(2):
        tested = upbit.orders.test_create(
            market="KRW-BTC", ord_type="price", side="bid", price="1000000", identifier="dry"
        )
        assert tested.locked == "1000500"
    assert exchange.admin.orders() == []
    assert _buy(upbit, "dry").state == "wait"


def test_the_venues_time_is_in_every_answer(exchange: ExchangeHandle, upbit: Upbit) -> None:
    answer = upbit.accounts.with_raw_response.list()
    assert answer.headers["Date"] == "Mon, 03 Mar 2025 14:30:00 GMT"
    assert answer.headers["Remaining-Req"].startswith("group=default; min=")


@pytest.mark.parametrize("unit", [1, 3, 5, 10, 15, 30, 60, 240])
def test_minute_candles_come_newest_first_with_the_forming_one(
    exchange: ExchangeHandle, upbit: Upbit, unit: int
) -> None:
    exchange.admin.advance(95)
    candles = upbit.candles.list_minutes(unit, market="KRW-BTC", count=50)
    times = [datetime.fromisoformat(candle.candle_date_time_utc).replace(tzinfo=UTC) for candle in candles]
    assert len(times) == 50
    assert times == sorted(set(times), reverse=True)
    now = exchange.admin.clock().timestamp()
    assert now - times[0].timestamp() < max(unit * 60, 300)
    assert all(time.timestamp() % (unit * 60) == 0 for time in times)
    assert {candle.unit for candle in candles} == {unit}


def test_pages_join_without_overlap_and_the_bound_is_exclusive(upbit: Upbit) -> None:
    whole = upbit.candles.list_minutes(1, market="KRW-DOGE", count=200)
    first = upbit.candles.list_minutes(1, market="KRW-DOGE", count=120)
    second = upbit.candles.list_minutes(1, market="KRW-DOGE", count=80, to=first[-1].candle_date_time_utc)
    assert [c.candle_date_time_utc for c in [*first, *second]] == [c.candle_date_time_utc for c in whole]


@pytest.mark.parametrize(
    "to", ["2025-03-01T10:40:00Z", "2025-03-01T10:40:00", "2025-03-01 10:40:00", "2025-03-01T19:40:00+09:00"]
)
def test_a_bound_without_offset_is_utc(upbit: Upbit, to: str) -> None:
    candles = upbit.candles.list_minutes(5, market="KRW-BTC", count=2, to=to)
    assert [candle.candle_date_time_utc for candle in candles] == ["2025-03-01T10:35:00", "2025-03-01T10:30:00"]
    assert candles[0].candle_date_time_kst == "2025-03-01T19:35:00"


def test_daily_candles_state_the_change_since_the_day_before(upbit: Upbit) -> None:
    days = upbit.candles.list_days(market="KRW-ETH", count=5)
    assert [day.candle_date_time_utc[:10] for day in days] == [f"2025-03-0{n}" for n in (3, 2, 1)] + [
        "2025-02-28",
        "2025-02-27",
    ]
    for day, before in pairwise(days):
        assert day.prev_closing_price == before.trade_price
        assert Decimal(day.change_price) == Decimal(day.trade_price) - Decimal(before.trade_price)


def test_weeks_and_months_are_made_of_days(upbit: Upbit) -> None:
    days = upbit.candles.list_days(market="KRW-BTC", count=62, to="2025-03-01T00:00:00")
    month = upbit.candles.list_months(market="KRW-BTC", count=2, to="2025-03-01T00:00:00")[0]
    in_february = [day for day in days if day.candle_date_time_utc.startswith("2025-02")]
    assert month.first_day_of_period == "2025-02-01"
    assert (month.opening_price, month.trade_price) == (in_february[-1].opening_price, in_february[0].trade_price)
    assert float(month.high_price) == max(float(day.high_price) for day in in_february)
    weeks = upbit.candles.list_weeks(market="KRW-BTC", count=2)
    assert [week.first_day_of_period for week in weeks] == ["2025-03-03", "2025-02-24"]


def test_tickers_books_markets_and_ticks(exchange: ExchangeHandle, upbit: Upbit) -> None:
    exchange.admin.advance(30)
    tickers = upbit.tickers.list_by_trading_pairs(markets="KRW-BTC,KRW-XRP")
    books = upbit.orderbooks.list(markets="KRW-BTC,KRW-XRP")
    for ticker, book in zip(tickers, books, strict=True):
        assert ticker.market == book.market
        best = book.orderbook_units[0]
        assert float(best.bid_price) < float(ticker.trade_price) < float(best.ask_price)
        assert ticker.timestamp == int(exchange.admin.clock().timestamp() * 1000)
        assert float(ticker.lowest_52_week_price) <= float(ticker.low_price) <= float(ticker.trade_price)
    assert len(upbit.tickers.list_by_quote_currencies(quote_currencies="KRW")) == 10
    steps = {row.market: row.tick_size for row in upbit.orderbooks.list_instruments(markets="KRW-BTC,KRW-XRP")}
    assert steps == {"KRW-BTC": "1000", "KRW-XRP": "1"}
    assert {pair.market for pair in upbit.trading_pairs.list()} >= {"KRW-BTC", "KRW-DOGE"}
