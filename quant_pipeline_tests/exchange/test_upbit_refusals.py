"""What Upbit's dialect refuses, with the venue's status and words; tokens are made by hand, as its documents say."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import uuid
from typing import Any
from urllib.parse import unquote, urlencode

import pytest
import requests

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.conftest import DEFAULTS
from quant_pipeline_tests.exchange.makers import exchange_at

GOOD = {"market": "KRW-BTC", "side": "bid", "ord_type": "price", "price": "10000"}


def _base64(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def token(
    params: dict[str, Any] | None = None,
    *,
    algorithm: str = "HS256",
    secret: str = DEFAULTS.upbit_secret_key,
    **changes: Any,
) -> str:
    """A token for `params`; `changes` replace or (None) drop fields of its payload."""
    payload: dict[str, Any] = {"access_key": DEFAULTS.upbit_access_key, "nonce": str(uuid.uuid4())}
    if params:
        text = unquote(urlencode(params, doseq=True))
        payload |= {"query_hash": hashlib.sha512(text.encode()).hexdigest(), "query_hash_alg": "SHA512"}
    payload = {name: value for name, value in {**payload, **changes}.items() if value is not None}
    signed = ".".join(_base64(json.dumps(part).encode()) for part in ({"alg": algorithm, "typ": "JWT"}, payload))
    digest = getattr(hashlib, f"sha{algorithm[2:]}")
    return f"{signed}.{_base64(hmac.new(secret.encode(), signed.encode(), digest).digest())}"


def _bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


def _post(exchange: ExchangeHandle, **changes: object) -> tuple[int, Any]:
    body = {name: value for name, value in {**GOOD, **changes}.items() if value is not None}
    answer = requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=_bearer(token(body)), timeout=10)
    return answer.status_code, answer.json()


def _name(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["error"]["name"]


LIMIT = {"ord_type": "limit", "price": "90000000", "volume": "0.001"}
SELL = {"side": "ask", "ord_type": "market", "price": None, "volume": "0.001"}


@pytest.mark.parametrize(
    ("changes", "status", "name"),
    [
        ({"side": None}, 400, "validation_error"),
        ({"side": "buy"}, 400, "validation_error"),
        ({"ord_type": "stop"}, 400, "validation_error"),
        ({"ord_type": "market"}, 400, "validation_error"),
        ({"price": None}, 400, "validation_error"),
        ({"volume": "1"}, 400, "validation_error"),
        ({"price": "many"}, 400, "validation_error"),
        ({"price": "-1"}, 400, "validation_error"),
        ({"price": "1e60"}, 400, "validation_error"),
        ({"time_in_force": "ioc"}, 400, "validation_error"),
        ({"ord_type": "best"}, 400, "validation_error"),
        ({"time_in_force": "day", **LIMIT}, 400, "validation_error"),
        ({"market": "KRW-NONE"}, 404, "notfoundmarket"),
        ({"price": "4999"}, 400, "under_min_total_bid"),
        ({"price": "1000000001"}, 400, "over_krw_funds_bid"),
        ({"price": "100000000"}, 400, "insufficient_funds_bid"),
        ({**LIMIT, "price": "90000500"}, 400, "invalid_price_bid"),
        ({**LIMIT, "side": "ask", "price": "90000500"}, 400, "invalid_price_ask"),
        ({**LIMIT, "volume": "0.000000001"}, 400, "invalid_volume_bid"),
        ({**LIMIT, "volume": "0.00005"}, 400, "under_min_total_bid"),
        ({**SELL, "volume": "0.00001"}, 400, "under_min_total_ask"),
        (SELL, 400, "insufficient_funds_ask"),
    ],
)
def test_orders_that_are_refused(exchange: ExchangeHandle, changes: dict[str, object], status: int, name: str) -> None:
    assert _name(_post(exchange, **changes)) == (status, name)
    assert exchange.admin.orders() == []
    assert exchange.admin.accounts()["krw_crypto"]["locked"] == "0"


def test_an_identifier_serves_once_for_ever(exchange: ExchangeHandle) -> None:
    assert _post(exchange, identifier="once")[0] == 201
    exchange.admin.advance(30 * 86_400)
    assert _name(_post(exchange, identifier="once")) == (400, "duplicated_identifier")


def test_an_identifier_is_used_up_by_an_order_that_failed_but_not_by_one_of_a_wrong_form(
    exchange: ExchangeHandle,
) -> None:
    assert _name(_post(exchange, identifier="a", price="100000000")) == (400, "insufficient_funds_bid")
    assert _name(_post(exchange, identifier="a")) == (400, "duplicated_identifier")
    assert _name(_post(exchange, identifier="b", side="up")) == (400, "validation_error")
    assert _post(exchange, identifier="b")[0] == 201


@pytest.mark.parametrize("algorithm", ["HS256", "HS384", "HS512"])
def test_each_documented_signature_is_accepted(exchange: ExchangeHandle, algorithm: str) -> None:
    headers = _bearer(token(algorithm=algorithm))
    assert requests.get(f"{exchange.upbit_url}/v1/accounts", headers=headers, timeout=10).status_code == 200


@pytest.mark.parametrize(
    ("headers", "name"),
    [
        ({}, "no_authorization_token"),
        ({"Authorization": "Basic abc"}, "no_authorization_token"),
        (_bearer("not.a.token"), "jwt_verification"),
        (_bearer("one-part"), "jwt_verification"),
        (_bearer(token(secret="another secret of more than thirty-two characters")), "jwt_verification"),
        (_bearer(token(nonce=None)), "jwt_verification"),
        (_bearer(token(access_key="somebody-else")), "invalid_access_key"),
        (_bearer(token({"market": "KRW-BTC"})), "invalid_query_payload"),
    ],
)
def test_tokens_that_do_not_open(exchange: ExchangeHandle, headers: dict[str, str], name: str) -> None:
    answer = requests.get(f"{exchange.upbit_url}/v1/accounts", headers=headers, timeout=10)
    assert (answer.status_code, answer.json()["error"]["name"]) == (401, name)


def test_a_token_without_algorithm_is_no_token(exchange: ExchangeHandle) -> None:
    unsigned = ".".join(
        _base64(json.dumps(part).encode())
        for part in ({"alg": "none"}, {"access_key": DEFAULTS.upbit_access_key, "nonce": "n"})
    )
    answer = requests.get(f"{exchange.upbit_url}/v1/accounts", headers=_bearer(f"{unsigned}."), timeout=10)
    assert answer.json()["error"]["name"] == "jwt_verification"


def test_a_nonce_serves_once(exchange: ExchangeHandle) -> None:
    headers = _bearer(token())
    url = f"{exchange.upbit_url}/v1/accounts"
    assert requests.get(url, headers=headers, timeout=10).status_code == 200
    assert requests.get(url, headers=headers, timeout=10).json()["error"]["name"] == "nonce_used"


def test_the_query_hash_covers_what_is_sent(exchange: ExchangeHandle) -> None:
    url = f"{exchange.upbit_url}/v1/orders/chance"
    good, bad = {"market": "KRW-BTC"}, {"market": "KRW-ETH"}
    for asked, signed, status in ((good, good, 200), (bad, good, 401), (good, None, 401)):
        answer = requests.get(url, params=asked, headers=_bearer(token(signed)), timeout=10)
        assert answer.status_code == status
    body = {**GOOD, "price": "20000"}
    answer = requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=_bearer(token(GOOD)), timeout=10)
    assert answer.json()["error"]["name"] == "invalid_query_payload"
    assert exchange.admin.orders() == []


def test_lists_are_hashed_with_plain_brackets(exchange: ExchangeHandle) -> None:
    _, order = _post(exchange, **LIMIT)
    params = {"uuids[]": [order["uuid"]], "order_by": "asc"}
    answer = requests.get(
        f"{exchange.upbit_url}/v1/orders/uuids", params=params, headers=_bearer(token(params)), timeout=10
    )
    assert [row["uuid"] for row in answer.json()] == [order["uuid"]]


def test_parameters_may_come_in_the_body_of_get_and_delete(exchange: ExchangeHandle) -> None:
    _, order = _post(exchange, **{**LIMIT, "price": "10000000"})
    params = {"uuid": order["uuid"]}
    url = f"{exchange.upbit_url}/v1/order"
    form = requests.get(url, data=params, headers=_bearer(token(params)), timeout=10)
    assert form.json()["state"] == "wait"
    assert requests.delete(url, json=params, headers=_bearer(token(params)), timeout=10).status_code == 200
    assert requests.get(url, data=params, headers=_bearer(token(params)), timeout=10).json()["state"] == "cancel"


@pytest.mark.parametrize(
    ("method", "path", "params", "status", "name"),
    [
        ("GET", "/v1/order", {"identifier": "none"}, 404, "order_not_found"),
        ("DELETE", "/v1/order", {"uuid": "none"}, 404, "order_not_found"),
        ("GET", "/v1/orders/chance", {"market": "KRW-NONE"}, 404, "notfoundmarket"),
        ("GET", "/v1/orders/uuids", {"order_by": "asc"}, 400, "validation_error"),
        ("GET", "/v1/orders/open", {"limit": "101"}, 400, "validation_error"),
        ("GET", "/v1/orders/closed", {"start_time": "2025-01-01", "end_time": "2025-02-01"}, 400, "validation_error"),
        ("GET", "/v1/orders/closed", {"start_time": "yesterday"}, 400, "validation_error"),
        ("DELETE", "/v1/orders/open", {"count": "301"}, 400, "validation_error"),
    ],
)
def test_other_requests_that_cannot_be_answered(
    exchange: ExchangeHandle, method: str, path: str, params: dict[str, str], status: int, name: str
) -> None:
    url = f"{exchange.upbit_url}{path}"
    answer = requests.request(method, url, params=params, headers=_bearer(token(params)), timeout=10)
    assert (answer.status_code, answer.json()["error"]["name"]) == (status, name)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/v1/candles/minutes/1?market=KRW-NONE", 404),
        ("/v1/candles/minutes/120?market=KRW-BTC", 400),
        ("/v1/candles/minutes/x?market=KRW-BTC", 400),
        ("/v1/candles/days?market=KRW-BTC&count=0", 400),
        ("/v1/candles/days?market=KRW-BTC&count=some", 400),
        ("/v1/candles/days?market=KRW-BTC&to=soon", 400),
        ("/v1/ticker", 400),
        ("/v1/ticker?markets=KRW-BTC,KRW-NONE", 404),
        ("/v1/orderbook?markets=KRW-NONE", 404),
        ("/v1/orderbook/instruments?markets=KRW-NONE", 404),
        ("/v1/nothing", 404),
    ],
)
def test_errors_of_the_quotation_api_have_a_number_for_a_name(exchange: ExchangeHandle, path: str, status: int) -> None:
    answer = requests.get(f"{exchange.upbit_url}{path}", timeout=10)
    assert (answer.status_code, answer.json()["error"]["name"]) == (status, status)


def test_more_than_a_page_of_candles_is_a_page(exchange: ExchangeHandle) -> None:
    url = f"{exchange.upbit_url}/v1/candles/minutes/1?market=KRW-BTC"
    assert len(requests.get(f"{url}&count=1000", timeout=10).json()) == 200
    assert len(requests.get(url, timeout=10).json()) == 1


def test_going_on_after_429_leads_to_418() -> None:
    with exchange_at("2025-03-03T14:30:00+00:00", upbit_quotation_per_second=1, upbit_block_after=2) as exchange:
        url = f"{exchange.upbit_url}/v1/market/all"
        with requests.Session() as session:
            answers = [session.get(url, timeout=10) for _ in range(30)]
    by_status = {answer.status_code: answer for answer in reversed(answers)}
    assert list(by_status)[-1] == 200
    assert set(by_status) == {200, 429, 418}
    assert by_status[429].json() == {"error": {"name": 429, "message": "Too many API requests."}}
    assert by_status[429].headers["Remaining-Req"] == "group=market; min=60; sec=0"
    assert "Blocked for" in by_status[418].json()["error"]["message"]


def test_each_group_has_its_own_limit() -> None:
    with exchange_at("2025-03-03T14:30:00+00:00") as exchange:
        groups = {
            path: requests.get(f"{exchange.upbit_url}{path}", timeout=10).headers["Remaining-Req"].split(";")[0]
            for path in ("/v1/market/all", "/v1/ticker?markets=KRW-BTC", "/v1/candles/days?market=KRW-BTC")
        }
        body = dict(GOOD)
        ordered = requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=_bearer(token(body)), timeout=10)
    assert list(groups.values()) == ["group=market", "group=ticker", "group=candles"]
    assert ordered.headers["Remaining-Req"].startswith("group=order;")
