"""Recorded answers of the real venues come out as our values, or as the right error. Needs QUANT_TEST_DATA."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pandas as pd
import pytest

from quant_pipeline.core.values import Account, OrderState, Position, Side, VenueClock
from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    BadRequest,
    OrderRejected,
    RateLimited,
    UnknownSymbol,
    VenueError,
)
from quant_pipeline_tests.venues.canned_server import Answer, Reaction, Seen, as_json, canned
from quant_pipeline_tests.venues.makers import ONCE, broker, buy, market_data, symbol

D = Decimal


def _read(test_data: Path, name: str) -> list[dict[str, Any]]:
    content: list[dict[str, Any]] = json.loads((test_data / "api" / name).read_text())
    return content


def _by_id(test_data: Path, venue: str) -> dict[str, dict[str, Any]]:
    return {one["id"]: one for one in _read(test_data, f"{venue}/rest_examples.json")}


@pytest.fixture
def alpaca(test_data: Path) -> dict[str, dict[str, Any]]:
    return _by_id(test_data, "alpaca")


@pytest.fixture
def upbit(test_data: Path) -> dict[str, dict[str, Any]]:
    return _by_id(test_data, "upbit")


def _answer(entry: dict[str, Any]) -> Reaction:
    body = "" if entry["body"] is None else json.dumps(entry["body"])
    return Answer(entry["status"], body, entry.get("headers", {}))


# Alpaca


@pytest.mark.parametrize(
    ("entry", "symbols", "first"),
    [
        ("alpaca_py_multisymbol_get_bars", ["AAPL", "TSLA"], "2022-03-09T05:00:00Z"),
        ("alpaca_py_get_bars_single_empty_response", [], None),
    ],
)
def test_alpaca_bars(alpaca: dict[str, dict[str, Any]], entry: str, symbols: list[str], first: str | None) -> None:
    with canned(lambda _: _answer(alpaca[entry])) as server, market_data("alpaca", server.url) as client:
        frame = client.bars(["AAPL", "TSLA"], "1d", datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    assert list(frame["symbol"]) == symbols
    if first is not None:
        assert frame["ts"].iloc[0] == pd.Timestamp(first)
        assert list(frame.iloc[1, 2:]) == [839.0, 860.56, 832.01, 858.97, 19227323.0]


def test_alpaca_bars_follow_the_page_token(alpaca: dict[str, dict[str, Any]]) -> None:
    first = alpaca["alpaca_py_get_bars"]
    second = {"bars": {"AAPL": [{"t": "2022-02-03T05:00:00Z", "o": 1, "h": 1, "l": 1, "c": 1, "v": 1}]}}

    def script(seen: Seen) -> Reaction:
        token = parse_qs(seen.query).get("page_token")
        if token is None:
            return _answer(first)
        assert token == [first["body"]["next_page_token"]]
        return as_json({**second, "next_page_token": None})

    with canned(script) as server, market_data("alpaca", server.url) as client:
        frame = client.bars(["AAPL"], "1d", datetime(2022, 2, 1, tzinfo=UTC), datetime(2022, 2, 4, tzinfo=UTC))
    assert [at.day for at in frame["ts"]] == [1, 2, 3]
    assert parse_qs(server.seen[0].query) | {"start": [], "end": []} == {
        "symbols": ["AAPL"],
        "timeframe": ["1Day"],
        "start": [],
        "end": [],
        "adjustment": ["raw"],
        "feed": ["iex"],
        "limit": ["10000"],
    }


def test_alpaca_quotes(alpaca: dict[str, dict[str, Any]]) -> None:
    def script(seen: Seen) -> Reaction:
        return _answer(alpaca["alpaca_py_get_latest_trade" if "trades" in seen.path else "alpaca_py_get_latest_quote"])

    with canned(script) as server, market_data("alpaca", server.url) as client:
        quote = client.quotes(["AAPL", "NONE"])
    assert list(quote) == ["AAPL"]
    one = quote["AAPL"]
    assert (one.price, one.bid, one.ask) == (D("161.2958"), D("161.1"), D("161.11"))
    assert one.at == datetime(2022, 3, 18, 14, 2, 43, 651613, tzinfo=UTC)


def test_alpaca_account_positions_and_clock(alpaca: dict[str, dict[str, Any]]) -> None:
    answers = {
        "/v2/account": alpaca["alpaca_py_get_account"],
        "/v2/positions": alpaca["alpaca_py_get_all_positions"],
        "/v2/clock": alpaca["docs_clock"],
    }
    with canned(lambda seen: _answer(answers[seen.path])) as server, broker("alpaca", server.url) as client:
        assert client.account() == Account("010203ABCD", "USD", D("-23140.2"), D(0))
        assert client.positions() == (Position("AAPL", D(5), D(100), D(0)),)
        assert client.clock() == VenueClock(
            now=datetime(2022, 4, 28, 18, 7, 4, 451420, tzinfo=UTC),
            is_open=True,
            next_open=datetime(2022, 4, 29, 13, 30, tzinfo=UTC),
            next_close=datetime(2022, 4, 28, 20, 0, tzinfo=UTC),
        )


@pytest.mark.parametrize("entry", ["alpaca_py_market_order", "order_notional_accepted"])
def test_alpaca_order_accepted(alpaca: dict[str, dict[str, Any]], entry: str) -> None:
    client_id = alpaca[entry]["body"]["client_order_id"]
    with canned(lambda _: _answer(alpaca[entry])) as server, broker("alpaca", server.url) as client:
        order = client.submit(buy("alpaca", client_id))
    assert (order.client_id, order.venue_id) == (client_id, "61e69015-8549-4bfd-b9c3-01e75843f47d")
    assert (order.state, order.side, order.filled_qty, order.avg_price) == (OrderState.ACCEPTED, Side.BUY, D(0), None)
    assert order.submitted_at == datetime(2021, 3, 16, 18, 38, 1, 937734, tzinfo=UTC)


@pytest.mark.parametrize("entry", ["alpaca_py_get_order_by_id", "alpaca_py_close_position_with_qty"])
def test_alpaca_order_found(alpaca: dict[str, dict[str, Any]], entry: str) -> None:
    with canned(lambda _: _answer(alpaca[entry])) as server, broker("alpaca", server.url) as client:
        order = client.find(alpaca[entry]["body"]["client_order_id"], "AAPL")
    assert order is not None
    assert (order.state, order.fills) == (OrderState.ACCEPTED, ())


def test_alpaca_open_orders(alpaca: dict[str, dict[str, Any]]) -> None:
    with canned(lambda _: _answer(alpaca["alpaca_py_get_orders"])) as server, broker("alpaca", server.url) as client:
        (order,) = client.open_orders()
    assert (order.symbol, order.state, order.venue_status) == ("SPY", OrderState.ACCEPTED, "new")


@pytest.mark.parametrize("entry", ["alpaca_py_cancel_order_by_id", "alpaca_py_cancel_order_throws_uncancelable_error"])
def test_alpaca_cancel_asks_once_and_takes_a_finished_order_as_it_is(
    alpaca: dict[str, dict[str, Any]], entry: str
) -> None:
    found = alpaca["alpaca_py_market_order"]
    with (
        canned(lambda seen: _answer(alpaca[entry] if seen.method == "DELETE" else found)) as server,
        broker("alpaca", server.url) as client,
    ):
        client.cancel("a", "AAPL")
    assert server.seen[-1].path == "/v2/orders/61e69015-8549-4bfd-b9c3-01e75843f47d"


def test_alpaca_fills_come_from_the_accounts_activities(alpaca: dict[str, dict[str, Any]]) -> None:
    activity = alpaca["docs_account-trade-activity-v2"]["body"]
    order = alpaca["alpaca_py_market_order"]["body"] | {
        "id": activity["order_id"],
        "symbol": activity["symbol"],
        "status": "filled",
        "filled_qty": "1",
        "filled_avg_price": "1.63",
    }
    other = activity | {"id": "20190524113406978::0", "order_id": "somebody-elses"}

    def script(seen: Seen) -> Reaction:
        return as_json([activity, other] if "activities" in seen.path else order)

    with canned(script) as server, broker("alpaca", server.url) as client:
        found = client.find(order["client_order_id"], "LPCN")
    assert found is not None
    (fill,) = found.fills
    assert (found.state, found.filled_qty, found.avg_price) == (OrderState.FILLED, D(1), D("1.63"))
    assert (fill.fill_id, fill.qty, fill.price, fill.fee) == (activity["id"], D(1), D("1.63"), D(0))
    assert fill.at == datetime(2019, 5, 24, 15, 34, 6, 977000, tzinfo=UTC)


_ALPACA_SUBMIT = {
    (403, 40310000): OrderRejected,
    (422, 40010001): OrderRejected,
    (404, 40410000): OrderRejected,
    (429, 42910000): RateLimited,
    (403, None): AuthenticationFailed,
    (422, 42210000): OrderRejected,
    (400, None): OrderRejected,
}
_ALPACA_READ = _ALPACA_SUBMIT | {
    (403, 40310000): BadRequest,
    (422, 40010001): BadRequest,
    (404, 40410000): BadRequest,
    (422, 42210000): BadRequest,
    (400, None): BadRequest,
}


def test_alpacas_error_bodies_have_their_type(test_data: Path) -> None:
    entries = _read(test_data, "alpaca/errors.json")
    assert {(one["status"], one["body"].get("code")) for one in entries} == set(_ALPACA_SUBMIT)
    for entry in entries:
        key = (entry["status"], entry["body"].get("code"))
        reaction = Answer(entry["status"], entry["body_text"])
        with canned(lambda _, reaction=reaction: reaction) as server, broker("alpaca", server.url) as client:
            assert _type_of(lambda client=client: client.submit(buy("alpaca"))) is _ALPACA_SUBMIT[key]
        with (
            canned(lambda _, reaction=reaction: reaction) as server,
            broker("alpaca", server.url, retries=ONCE) as client,
        ):
            assert _type_of(client.account) is _ALPACA_READ[key]
            found_or_error = _type_of(lambda client=client: client.find("a", "AAPL"))
            assert found_or_error is (None if key == (404, 40410000) else _ALPACA_READ[key])


def _type_of(call: Any) -> type[VenueError] | None:
    try:
        call()
    except VenueError as error:
        return type(error)
    return None


# Upbit


def test_upbit_candle_pages_join(test_data: Path) -> None:
    folder = test_data / "api" / "upbit"
    pages = [json.loads((folder / f"candles_1m_KRW-BTC_20200220_page{n}.json").read_text()) for n in (1, 2)]
    recorded = sorted([*pages[0], *pages[1]], key=lambda one: one["candle_date_time_utc"])
    start, last = (datetime.fromisoformat(recorded[n]["candle_date_time_utc"]).replace(tzinfo=UTC) for n in (0, -1))

    def script(seen: Seen) -> Reaction:
        terms = parse_qs(seen.query)
        to = terms["to"][0].replace(" ", "T")
        before = [one for one in recorded if one["candle_date_time_utc"] < to]
        return as_json(before[::-1][: int(terms["count"][0])])

    with canned(script) as server, market_data("upbit", server.url) as client:
        frame = client.bars(["KRW-BTC"], "1m", start, last + timedelta(minutes=1))
    assert [at.strftime("%Y-%m-%dT%H:%M:%S") for at in frame["ts"]] == [one["candle_date_time_utc"] for one in recorded]
    for column, name in {
        "open": "opening_price",
        "high": "high_price",
        "low": "low_price",
        "close": "trade_price",
        "volume": "candle_acc_trade_volume",
    }.items():
        assert list(frame[column]) == [one[name] for one in recorded]
    assert [parse_qs(one.query)["count"] for one in server.seen] == [["200"], ["40"]]


@pytest.mark.parametrize(
    ("entry", "interval", "start"),
    [
        ("candles_minutes_5_single", "5m", datetime(2026, 8, 3, 10, 45, tzinfo=UTC)),
        ("candles_days_single", "1d", datetime(2018, 4, 18, tzinfo=UTC)),
    ],
)
def test_upbit_single_candles(upbit: dict[str, dict[str, Any]], entry: str, interval: str, start: datetime) -> None:
    with canned(lambda _: _answer(upbit[entry])) as server, market_data("upbit", server.url) as client:
        frame = client.bars(["KRW-BTC"], interval, start, start + timedelta(minutes=1))
    assert list(frame["ts"]) == [pd.Timestamp(start)]
    assert server.seen[0].path == upbit[entry]["path"]


def test_upbit_quotes(upbit: dict[str, dict[str, Any]]) -> None:
    def script(seen: Seen) -> Reaction:
        return _answer(upbit["ticker_two_markets" if seen.path == "/v1/ticker" else "orderbook_three_levels"])

    with canned(script) as server, market_data("upbit", server.url) as client:
        quotes = client.quotes(["KRW-BTC", "KRW-ETH"])
    assert (quotes["KRW-BTC"].price, quotes["KRW-ETH"].price) == (D(82324000), D(3560000))
    assert (quotes["KRW-BTC"].bid, quotes["KRW-BTC"].ask) == (D(83184000), D(83186000))
    assert quotes["KRW-ETH"].bid is None
    assert quotes["KRW-ETH"].at == datetime(2024, 8, 22, 7, 16, 0, 320000, tzinfo=UTC)
    assert parse_qs(server.seen[0].query) == {"markets": ["KRW-BTC", "KRW-ETH"]}


def test_upbit_balances(upbit: dict[str, dict[str, Any]]) -> None:
    with canned(lambda _: _answer(upbit["accounts"])) as server, broker("upbit", server.url) as client:
        account = client.account()
        assert client.positions() == (Position("KRW-BTC", D("2.0"), D(101000), D(0)),)
    assert (account.currency, account.cash, account.locked) == ("KRW", D(1000000), D(0))


def test_upbit_order_accepted(upbit: dict[str, dict[str, Any]]) -> None:
    with canned(lambda _: _answer(upbit["order_post_limit_bid"])) as server, broker("upbit", server.url) as client:
        order = client.submit(buy("upbit", "mine"))
    assert (order.client_id, order.venue_id) == ("mine", "ecccd8d2-69a2-4f6a-84ed-29b29c3d020b")
    assert (order.state, order.side, order.filled_qty, order.fee) == (OrderState.ACCEPTED, Side.BUY, D(0), D(0))
    assert order.submitted_at == datetime(2021, 8, 29, 10, 48, 18, tzinfo=UTC)


def test_upbit_cancel_takes_a_waiting_answer_for_an_accepted_request(upbit: dict[str, dict[str, Any]]) -> None:
    entry = upbit["order_cancel_accepted"]
    with canned(lambda _: _answer(entry)) as server, broker("upbit", server.url) as client:
        client.cancel("mine", "KRW-BTC")
        found = client.find("mine", "KRW-BTC")
    assert found is not None
    assert found.state is OrderState.ACCEPTED
    assert [(one.method, one.target) for one in server.seen[:2]] == [
        ("GET", "/v1/order?identifier=mine"),
        ("DELETE", "/v1/order?identifier=mine"),
    ]


def test_upbit_open_order_partly_filled(upbit: dict[str, dict[str, Any]]) -> None:
    entry = upbit["order_open_partly_filled"]
    with canned(lambda _: _answer(entry)) as server, broker("upbit", server.url) as client:
        (order,) = client.open_orders()
    assert (order.state, order.filled_qty) == (OrderState.PARTIALLY_FILLED, D("0.00095483"))
    assert order.avg_price is not None
    assert round(order.avg_price, 2) == D("104812000.00")
    assert order.fee == D("50.03882098")
    assert parse_qs(server.seen[0].query)["states[]"] == ["wait", "watch"]


def test_upbit_finished_order_with_its_trades(upbit: dict[str, dict[str, Any]]) -> None:
    entry = upbit["order_single_done_with_trades"]
    with canned(lambda _: _answer(entry)) as server, broker("upbit", server.url) as client:
        order = client.find("mine", "KRW-USDT")
    assert order is not None
    (fill,) = order.fills
    assert (order.state, order.side, order.filled_qty) == (OrderState.FILLED, Side.SELL, D("5.377594"))
    assert (fill.price, fill.qty, fill.fee) == (D(1375), D("5.377594"), D("3.697095875"))
    assert (order.avg_price, order.fee) == (D(1375), D("3.697095875"))
    assert order.updated_at == datetime(2025, 8, 9, 7, 44, 0, 597751, tzinfo=UTC)


_UPBIT_SUBMIT = {
    "err_insufficient_funds_bid": OrderRejected,
    "err_under_min_total_bid": OrderRejected,
    "err_validation_error": OrderRejected,
    "err_invalid_access_key": AuthenticationFailed,
    "err_jwt_verification": AuthenticationFailed,
    "err_no_authorization_token": AuthenticationFailed,
}


def test_upbits_error_bodies_have_their_type(upbit: dict[str, dict[str, Any]]) -> None:
    others = {"err_order_not_found", "err_unknown_market"}
    assert {name for name in upbit if name.startswith("err_")} == set(_UPBIT_SUBMIT) | others
    for name, expected in _UPBIT_SUBMIT.items():
        reaction = _answer(upbit[name])
        with canned(lambda _, reaction=reaction: reaction) as server, broker("upbit", server.url) as client:
            assert _type_of(lambda client=client: client.submit(buy("upbit"))) is expected
    with canned(lambda _: _answer(upbit["err_order_not_found"])) as server, broker("upbit", server.url) as client:
        assert client.find("mine", symbol("upbit")) is None
    with canned(lambda _: _answer(upbit["err_unknown_market"])) as server, market_data("upbit", server.url) as data:
        at = datetime(2026, 8, 3, tzinfo=UTC)
        assert _type_of(lambda: data.bars(["KRW-NONE"], "1m", at, at + timedelta(minutes=1))) is UnknownSymbol


_NOT_ASKED_FOR = {
    "alpaca_py_get_snapshot",
    "alpaca_py_stock_latest_bar",
    "alpaca_py_get_asset",
    "docs_calendar",
    "docs_bars-v2",
    "docs_portfolio-history-v2",
    "market_all_details",
    "orders_chance",
}


def test_every_recorded_answer_is_looked_at_here(
    alpaca: dict[str, dict[str, Any]], upbit: dict[str, dict[str, Any]]
) -> None:
    source = Path(__file__).read_text()
    assert {name for name in {**alpaca, **upbit} if f'"{name}"' not in source} == set()
    assert set(alpaca) | set(upbit) >= _NOT_ASKED_FOR
