"""What Alpaca's dialect refuses, with the venue's status, code and words."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.conftest import DEFAULTS
from quant_pipeline_tests.exchange.makers import exchange_at

KEYS = {"APCA-API-KEY-ID": DEFAULTS.alpaca_key, "APCA-API-SECRET-KEY": DEFAULTS.alpaca_secret}
GOOD = {"symbol": "AAPL", "qty": 1, "side": "buy", "type": "market", "time_in_force": "day"}


def _post(exchange: ExchangeHandle, **changes: object) -> tuple[int, dict[str, Any]]:
    body = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    answer = requests.post(f"{exchange.alpaca_url}/v2/orders", json=body, headers=KEYS, timeout=10)
    return answer.status_code, answer.json()


@pytest.mark.parametrize(
    ("changes", "status", "code", "text"),
    [
        ({"symbol": "NONE"}, 422, 42210000, 'could not find asset "NONE"'),
        ({"symbol": None}, 422, 40010001, "symbol is required"),
        ({"side": "up"}, 422, 40010001, "invalid side: up"),
        ({"type": "stop", "stop_price": 1}, 422, 40010001, "invalid type: stop"),
        ({"time_in_force": None}, 422, 40010001, "time_in_force is required"),
        ({"qty": None}, 422, 40010001, "qty or notional is required"),
        ({"notional": 5}, 422, 40010001, "only one of qty or notional is accepted"),
        ({"qty": 0}, 422, 40010001, "qty must be > 0"),
        ({"qty": -1}, 422, 40010001, "qty must be > 0"),
        ({"qty": "1e40"}, 422, 40010001, "qty must be > 0"),
        ({"qty": True}, 422, 40010001, "qty must be > 0"),
        ({"qty": "0.1234567891"}, 422, 40010001, "qty must be limited to 9 decimal places"),
        ({"qty": None, "notional": 5.001}, 422, 40010001, "notional value must be limited to 2 decimal places"),
        ({"qty": None, "notional": 0.99}, 403, 40310000, "cost basis must be >= minimal amount of order 1"),
        ({"qty": 0.5, "time_in_force": "gtc"}, 422, 42210000, "fractional orders must be DAY orders"),
        ({"type": "limit"}, 422, 40010001, "limit orders require limit price"),
        ({"type": "limit", "limit_price": 100.123}, 422, 42210000, "sub-penny increment"),
        ({"type": "limit", "limit_price": 0.12345}, 422, 42210000, "sub-penny increment"),
        ({"limit_price": 100}, 422, 40010001, "market orders require no stop or limit price"),
        ({"extended_hours": True}, 422, 42210000, "extended hours order must be DAY or GTC limit orders"),
        ({"order_class": "bracket"}, 422, 42210000, "order class bracket is not supported"),
        ({"client_order_id": "x" * 129}, 422, 40010001, "client_order_id must be no more than 128 characters"),
        ({"side": "sell"}, 403, 40310000, "account is not allowed to short"),
    ],
)
def test_orders_of_a_wrong_form(
    exchange: ExchangeHandle, changes: dict[str, object], status: int, code: int, text: str
) -> None:
    answered, body = _post(exchange, **changes)
    assert (answered, body["code"]) == (status, code)
    assert text in body["message"]
    assert exchange.admin.orders() == []


def test_buying_power_counts_what_open_orders_bind(exchange: ExchangeHandle) -> None:
    status, body = _post(exchange, qty=1_000_000)
    assert (status, body["code"], body["message"]) == (403, 40310000, "insufficient buying power")
    assert body["buying_power"] == "100000"
    assert float(body["cost_basis"]) > 1e7
    limit = {"type": "limit", "limit_price": 100, "time_in_force": "gtc"}
    assert _post(exchange, qty=900, **limit)[0] == 200
    status, body = _post(exchange, qty=101, **limit)
    assert (status, body["buying_power"], body["cost_basis"]) == (403, "10000", "10100")


def test_an_id_is_unique_for_ever_also_after_a_cancel(exchange: ExchangeHandle) -> None:
    status, order = _post(exchange, client_order_id="once", type="limit", limit_price=10)
    assert status == 200
    requests.delete(f"{exchange.alpaca_url}/v2/orders/{order['id']}", headers=KEYS, timeout=10)
    exchange.admin.advance(86_400)
    assert _post(exchange, client_order_id="once") == (
        422,
        {"code": 40010001, "message": "client_order_id must be unique"},
    )


def test_a_refused_order_leaves_its_id_free(exchange: ExchangeHandle) -> None:
    assert _post(exchange, client_order_id="again", qty=1_000_000)[0] == 403
    assert _post(exchange, client_order_id="again")[0] == 200


def test_selling_what_other_orders_hold(exchange: ExchangeHandle) -> None:
    _post(exchange, qty=10)
    exchange.admin.advance(60)
    _post(exchange, qty=8, side="sell", type="limit", limit_price=1000)
    status, body = _post(exchange, qty=3, side="sell")
    assert status == 403
    assert (body["available"], body["existing_qty"], body["held_for_orders"]) == ("2", "10", "8")
    assert body["message"] == "insufficient qty available for order (requested: 3, available: 2)"


def test_an_order_against_ones_own_standing_order_is_a_wash_trade(exchange: ExchangeHandle) -> None:
    _post(exchange, qty=10)
    exchange.admin.advance(60)
    _, resting = _post(exchange, qty=8, side="sell", type="limit", limit_price=1000)
    status, body = _post(exchange, qty=3, type="limit", limit_price=1000)
    assert (status, body["existing_order_id"]) == (403, resting["id"])
    assert body["message"].startswith("potential wash trade detected")


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'"x"', b"\xff\xfe"])
def test_a_body_that_is_no_json_object(exchange: ExchangeHandle, body: bytes) -> None:
    answer = requests.post(f"{exchange.alpaca_url}/v2/orders", data=body, headers=KEYS, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (400, 40010000)


@pytest.mark.parametrize(
    ("path", "headers", "status", "body"),
    [
        ("/v2/account", {}, 403, {"message": "forbidden."}),
        (
            "/v2/account",
            {**KEYS, "APCA-API-SECRET-KEY": "wrong"},
            401,
            {"code": 40110000, "message": "request is not authorized"},
        ),
        ("/v2/stocks/bars", {**KEYS, "APCA-API-KEY-ID": "wrong"}, 403, {"message": "forbidden."}),
    ],
)
def test_missing_and_wrong_keys(
    exchange: ExchangeHandle, path: str, headers: dict[str, str], status: int, body: dict[str, object]
) -> None:
    answer = requests.get(f"{exchange.alpaca_url}{path}", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()) == (status, body)


def test_basic_authentication_is_a_way_in(exchange: ExchangeHandle) -> None:
    pair = (DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret)
    assert requests.get(f"{exchange.alpaca_url}/v2/account", auth=pair, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v2/orders/not-a-uuid", 422, 40010001),
        ("DELETE", "/v2/orders/not-a-uuid", 422, 40010001),
        ("GET", "/v2/orders/00000000-0000-4000-8000-000000000000", 404, 40410000),
        ("DELETE", "/v2/orders/00000000-0000-4000-8000-000000000000", 404, 40410000),
        ("PATCH", "/v2/orders/00000000-0000-4000-8000-000000000000", 404, 40410000),
        ("GET", "/v2/orders:by_client_order_id?client_order_id=none", 404, 40410000),
        ("DELETE", "/v2/positions/AAPL", 404, 40410000),
        ("GET", "/v2/orders?limit=501", 422, 40010001),
        ("GET", "/v2/orders?after=yesterday", 422, 40010001),
        ("GET", "/v2/account/activities/FILL?page_size=0", 422, 40010001),
        ("GET", "/v2/calendar?start=never", 422, 40010001),
        ("GET", "/v2/nothing", 404, 40410000),
    ],
)
def test_other_requests_that_cannot_be_answered(
    exchange: ExchangeHandle, method: str, path: str, status: int, code: int
) -> None:
    answer = requests.request(method, f"{exchange.alpaca_url}{path}", headers=KEYS, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_an_order_is_not_replaced(exchange: ExchangeHandle) -> None:
    _, order = _post(exchange, type="limit", limit_price=10)
    answer = requests.patch(f"{exchange.alpaca_url}/v2/orders/{order['id']}", json={"qty": 2}, headers=KEYS, timeout=10)
    assert (answer.status_code, answer.json()["code"]) == (422, 42210000)


@pytest.mark.parametrize(
    "query",
    [
        "timeframe=1Day",
        "symbols=aapl&timeframe=1Day",
        "symbols=AAPL&timeframe=1Year",
        "symbols=AAPL&timeframe=2Day",
        "symbols=AAPL&timeframe=60Min",
        "symbols=AAPL&timeframe=1Day&limit=10001",
        "symbols=AAPL&timeframe=1Day&start=0",
        "symbols=AAPL&timeframe=1Day&feed=best",
        "symbols=AAPL&timeframe=1Day&adjustment=none",
        "symbols=AAPL&timeframe=1Day&sort=up",
        "symbols=AAPL&timeframe=1Day&page_token=%21",
    ],
)
def test_bars_that_cannot_be_asked_for(exchange: ExchangeHandle, query: str) -> None:
    answer = requests.get(f"{exchange.alpaca_url}/v2/stocks/bars?{query}", headers=KEYS, timeout=10)
    assert answer.status_code == 400
    assert set(answer.json()) == {"message"}


def test_the_limit_of_requests_is_counted_down_in_headers_and_then_refused() -> None:
    with exchange_at("2025-03-03T14:30:00+00:00", alpaca_trading_per_minute=3, alpaca_data_per_minute=1) as exchange:
        answers = [requests.get(f"{exchange.alpaca_url}/v2/account", headers=KEYS, timeout=10) for _ in range(8)]
        quotes = f"{exchange.alpaca_url}/v2/stocks/quotes/latest?symbols=AAPL"
        data = [requests.get(quotes, headers=KEYS, timeout=10) for _ in range(3)]
    # The minute may turn once while the test runs; then three more requests pass.
    assert [answer.status_code for answer in answers[:1]] == [200]
    refused = [answer for answer in answers if answer.status_code == 429]
    assert 2 <= len(refused) <= 5
    assert all(answer.json() == {"code": 42910000, "message": "rate limit exceeded"} for answer in refused)
    assert [answer.headers["X-RateLimit-Limit"] for answer in answers] == ["3"] * 8
    assert {answer.headers["X-RateLimit-Remaining"] for answer in refused} == {"0"}
    assert answers[0].headers["X-RateLimit-Remaining"] == "2"
    assert int(answers[0].headers["X-RateLimit-Reset"]) > 1_700_000_000
    assert 429 in [answer.status_code for answer in data]


def test_the_log_names_the_clients_id_and_no_secret(exchange: ExchangeHandle) -> None:
    _post(exchange, client_order_id="seen")
    entries = exchange.admin.requests(method="POST", path="/v2/orders")
    assert [(entry["client_id"], entry["status"]) for entry in entries] == [("seen", 200)]
    assert DEFAULTS.alpaca_secret not in json.dumps(exchange.admin.requests())
