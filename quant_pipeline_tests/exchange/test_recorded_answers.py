"""The exchange's answers beside answers recorded from the real venues: the same fields, types and error bodies."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import requests

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.test_alpaca_refusals import KEYS
from quant_pipeline_tests.exchange.test_upbit_refusals import token

REMOVED = {"daytrade_count", "daytrading_buying_power", "pattern_day_trader", "price_unit"}
"""Fields that the venues have taken out since the recording."""

NOT_SERVED = {
    "commission",
    "last_close_pct_change",
    "last_maintenance_margin",
    "last_price",
    "options_approved_level",
    "options_buying_power",
    "options_trading_level",
    "sma",
    "usd",
}
"""Fields of options, margin and price extras that neither the desk nor alpaca-py's models need."""

Json = Any


def _recorded(folder: Path, file: str) -> dict[str, dict[str, Json]]:
    rows = json.loads((folder / "api" / file).read_text(encoding="utf-8"))
    return {row["id"]: row for row in rows}


def _assert_like(answer: Json, recorded: Json, at: str = "") -> None:
    """`answer` has every field of `recorded`, with a value of the same kind."""
    if isinstance(recorded, dict):
        assert isinstance(answer, dict), at
        missing = set(recorded) - set(answer) - REMOVED - NOT_SERVED
        assert not missing, f"{at} lacks {missing}"
        for name in set(recorded) & set(answer):
            _assert_like(answer[name], recorded[name], f"{at}.{name}")
    elif isinstance(recorded, list) and recorded:
        assert isinstance(answer, list), at
        if at.endswith(".attributes"):  # a plain share has none
            return
        assert answer, at
        _assert_like(answer[0], recorded[0], f"{at}[0]")
    elif recorded is not None and answer is not None and not isinstance(recorded, list):
        numeric = isinstance(recorded, int | float) and not isinstance(recorded, bool)
        loose = at.endswith(
            (".qty", ".filled_qty", ".filled_avg_price", ".notional", ".min_total", ".avg_buy_price_modified")
        )
        same = isinstance(answer, int | float) if numeric else isinstance(answer, type(recorded))
        assert same or loose, f"{at}: {answer!r} is not like {recorded!r}"


@pytest.fixture
def traded(exchange: ExchangeHandle) -> ExchangeHandle:
    """An exchange on which both accounts hold something and have an order that waits."""
    orders = f"{exchange.alpaca_url}/v2/orders"
    body = {"symbol": "AAPL", "qty": 5, "side": "buy", "type": "market", "time_in_force": "day"}
    requests.post(orders, json=body, headers=KEYS, timeout=10).raise_for_status()
    by_value = {"symbol": "AAPL", "notional": 500, "side": "buy", "type": "market", "time_in_force": "day"}
    requests.post(orders, json=by_value, headers=KEYS, timeout=10).raise_for_status()
    for bought in (
        {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": "1000000", "identifier": "bought"},
        {
            "market": "KRW-XRP",
            "side": "bid",
            "ord_type": "limit",
            "price": "100",
            "volume": "60",
            "identifier": "waits",
        },
    ):
        _upbit(exchange, "POST", "/v1/orders", bought)
    exchange.admin.advance(120)
    return exchange


def _alpaca(exchange: ExchangeHandle, path: str) -> Json:
    return requests.get(f"{exchange.alpaca_url}{path}", headers=KEYS, timeout=10).json()


def _upbit(exchange: ExchangeHandle, method: str, path: str, params: dict[str, str] | None = None) -> Json:
    headers = {"Authorization": f"Bearer {token(params)}"}
    place = {"json": params} if method == "POST" else {"params": params}
    return requests.request(method, f"{exchange.upbit_url}{path}", headers=headers, timeout=10, **place).json()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("example", "path"),
    [
        ("alpaca_py_get_bars", "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2025-02-03&limit=2"),
        (
            "alpaca_py_multisymbol_get_bars",
            "/v2/stocks/bars?symbols=AAPL,TSLA&timeframe=1Day&start=2025-02-03&end=2025-02-03",
        ),
        (
            "alpaca_py_get_bars_single_empty_response",
            "/v2/stocks/bars?symbols=AAPL&timeframe=1Day&start=2001-01-01&end=2001-01-02",
        ),
        ("alpaca_py_get_latest_trade", "/v2/stocks/trades/latest?symbols=AAPL"),
        ("alpaca_py_get_latest_quote", "/v2/stocks/quotes/latest?symbols=AAPL"),
        ("alpaca_py_get_snapshot", "/v2/stocks/snapshots?symbols=AAPL"),
        ("alpaca_py_get_account", "/v2/account"),
        ("alpaca_py_get_asset", "/v2/assets/AAPL"),
        ("alpaca_py_get_orders", "/v2/orders?status=all"),
        ("alpaca_py_get_all_positions", "/v2/positions"),
        ("docs_clock", "/v2/clock"),
        ("docs_calendar", "/v2/calendar?start=2025-03-03&end=2025-03-04"),
        ("docs_bars-v2", "/v2/stocks/AAPL/bars?timeframe=1Min&start=2025-03-03"),
    ],
)
def test_alpaca_answers_have_the_recorded_fields(
    test_data: Path, traded: ExchangeHandle, example: str, path: str
) -> None:
    recorded = _recorded(test_data, "alpaca/rest_examples.json")[example]
    answer = _alpaca(traded, path)
    if example == "alpaca_py_get_bars_single_empty_response":
        assert answer == recorded["body"]
    _assert_like(answer, recorded["body"])


def test_alpaca_fills_have_the_recorded_fields(test_data: Path, traded: ExchangeHandle) -> None:
    recorded = _recorded(test_data, "alpaca/rest_examples.json")["docs_account-trade-activity-v2"]
    _assert_like(_alpaca(traded, "/v2/account/activities/FILL")[0], recorded["body"])


def test_alpaca_orders_by_value_have_no_quantity(test_data: Path, traded: ExchangeHandle) -> None:
    recorded = _recorded(test_data, "alpaca/rest_examples.json")["order_notional_accepted"]["body"]
    answer = next(row for row in _alpaca(traded, "/v2/orders?status=all") if row["notional"])
    assert answer["qty"] is recorded["qty"] is None
    _assert_like(answer, recorded)


def test_alpaca_error_bodies_are_the_recorded_ones(test_data: Path, exchange: ExchangeHandle) -> None:
    rows = json.loads((test_data / "api/alpaca/errors.json").read_text(encoding="utf-8"))
    recorded = {row["body"]["message"]: row for row in rows}
    orders = f"{exchange.alpaca_url}/v2/orders"
    order = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}
    absent = "00000000-0000-4000-8000-000000000000"
    answers = {
        "insufficient buying power": requests.post(orders, json={**order, "qty": 10**6}, headers=KEYS, timeout=10),
        "order_id is missing": requests.get(f"{orders}/1", headers=KEYS, timeout=10),
        "order is not found.": requests.get(f"{orders}/{absent}", headers=KEYS, timeout=10),
        "forbidden.": requests.get(orders, timeout=10),
        "fractional orders must be DAY orders": requests.post(
            orders, json={**order, "qty": 0.5, "time_in_force": "gtc"}, headers=KEYS, timeout=10
        ),
    }
    for message, answer in answers.items():
        expected = recorded[message]
        assert answer.status_code == expected["status"], message
        assert set(answer.json()) == set(expected["body"]), message
        assert answer.json()["message"] == message
        assert answer.json().get("code") == expected["body"].get("code"), message


@pytest.mark.parametrize(
    ("example", "method", "path", "params"),
    [
        ("candles_minutes_5_single", "GET", "/v1/candles/minutes/5", {"market": "KRW-BTC"}),
        ("candles_days_single", "GET", "/v1/candles/days", {"market": "KRW-BTC"}),
        ("market_all_details", "GET", "/v1/market/all", {"isDetails": "true"}),
        ("ticker_two_markets", "GET", "/v1/ticker", {"markets": "KRW-BTC,KRW-ETH"}),
        ("orderbook_three_levels", "GET", "/v1/orderbook", {"markets": "KRW-BTC"}),
        ("accounts", "GET", "/v1/accounts", None),
        ("orders_chance", "GET", "/v1/orders/chance", {"market": "KRW-BTC"}),
        ("order_open_partly_filled", "GET", "/v1/orders/open", {"market": "KRW-XRP"}),
        ("order_post_limit_bid", "GET", "/v1/order", {"identifier": "waits"}),
    ],
)
def test_upbit_answers_have_the_recorded_fields(
    test_data: Path, traded: ExchangeHandle, example: str, method: str, path: str, params: dict[str, str] | None
) -> None:
    recorded = _recorded(test_data, "upbit/rest_examples.json")[example]
    _assert_like(_upbit(traded, method, path, params), recorded["body"])


def test_an_executed_upbit_order_has_the_recorded_fields_and_arithmetic(
    test_data: Path, traded: ExchangeHandle
) -> None:
    held = _upbit(traded, "GET", "/v1/accounts")[1]["balance"]
    sell = {"market": "KRW-BTC", "side": "ask", "ord_type": "market", "volume": held, "identifier": "sold"}
    _upbit(traded, "POST", "/v1/orders", sell)
    traded.admin.advance(120)
    recorded = _recorded(test_data, "upbit/rest_examples.json")["order_single_done_with_trades"]["body"]
    answer = _upbit(traded, "GET", "/v1/order", {"identifier": "sold"})
    _assert_like(answer, recorded)
    assert "price" not in answer
    assert "price" not in recorded


@pytest.mark.parametrize(
    ("example", "method", "path", "params"),
    [
        (
            "err_under_min_total_bid",
            "POST",
            "/v1/orders",
            {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": "100"},
        ),
        ("err_validation_error", "POST", "/v1/orders", {"market": "KRW-BTC", "ord_type": "price", "price": "10000"}),
        ("err_order_not_found", "GET", "/v1/order", {"uuid": "none"}),
        ("err_unknown_market", "GET", "/v1/candles/minutes/1", {"market": "KRW-NONE"}),
    ],
)
def test_upbit_error_bodies_are_the_recorded_ones(
    test_data: Path, exchange: ExchangeHandle, example: str, method: str, path: str, params: dict[str, str]
) -> None:
    recorded = _recorded(test_data, "upbit/rest_examples.json")[example]
    assert _upbit(exchange, method, path, params) == recorded["body"]


def test_upbit_token_errors_are_the_recorded_ones(test_data: Path, exchange: ExchangeHandle) -> None:
    recorded = _recorded(test_data, "upbit/rest_examples.json")
    url = f"{exchange.upbit_url}/v1/accounts"
    for example, headers in (
        ("err_no_authorization_token", {}),
        ("err_jwt_verification", {"Authorization": "Bearer a.b.c"}),
        ("err_invalid_access_key", {"Authorization": f"Bearer {token(access_key='other')}"}),
    ):
        answer = requests.get(url, headers=headers, timeout=10)
        assert (answer.status_code, answer.json()) == (401, recorded[example]["body"])
