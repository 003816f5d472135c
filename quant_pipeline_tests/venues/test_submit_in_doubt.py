"""A POST is sent exactly once, and everything but the venue's own readable refusal leaves a doubt."""

from __future__ import annotations

import json

import pytest

from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    DuplicateOrder,
    OrderInDoubt,
    OrderRejected,
    RateLimited,
    UnknownSymbol,
    VenueError,
)
from quant_pipeline.venues.transport import Timeout
from quant_pipeline_tests.venues.canned_server import Answer, Misbehaviour, Reaction, as_json, canned, html
from quant_pipeline_tests.venues.makers import (
    ALPACA_SECRET,
    PATIENT,
    QUICK,
    UPBIT_SECRET,
    VENUES,
    broker,
    buy,
)

_ODD: dict[str, Reaction] = {
    "hang": Misbehaviour.HANG,
    "drop": Misbehaviour.DROP,
    "break off": Misbehaviour.BREAK_OFF,
    "not http": Misbehaviour.NOT_HTTP,
    "500 html": html(500),
    "502 html": html(502),
    "504 html": html(504),
    "504 json": as_json({"message": "gateway timeout"}, 504),
    "403 html": html(403),
    "404 html": html(404),
    "200 html": html(200),
    "200 empty": Answer(200, ""),
    "200 list": as_json([]),
    "200 without fields": as_json({"id": "x"}),
    "302": Answer(302, "", {"Location": "http://127.0.0.1:9/elsewhere"}),
    "307": Answer(307, "", {"Location": "/v1/orders"}),
    "408": as_json({"message": "slow"}, 408),
}


def _submit(venue: str, url: str, timeout: Timeout = PATIENT) -> None:
    with broker(venue, url, timeout=timeout) as client:
        client.submit(buy(venue))


@pytest.mark.parametrize("venue", VENUES)
@pytest.mark.parametrize("oddity", _ODD)
def test_anything_that_is_no_answer_leaves_a_doubt_and_is_sent_once(venue: str, oddity: str) -> None:
    with canned(lambda _: _ODD[oddity]) as server, pytest.raises(OrderInDoubt) as caught:
        _submit(venue, server.url, QUICK if oddity == "hang" else PATIENT)
    assert len(server.seen) == 1
    assert ALPACA_SECRET not in str(caught.value)
    assert UPBIT_SECRET not in str(caught.value)


@pytest.mark.parametrize("venue", VENUES)
def test_nobody_listening_leaves_a_doubt(venue: str) -> None:
    with canned(lambda _: html(200)) as server:
        url = server.url
    with pytest.raises(OrderInDoubt):
        _submit(venue, url)


def _alpaca(status: int, code: int | None, message: str) -> Reaction:
    body: dict[str, object] = {"message": message}
    return as_json(body if code is None else {"code": code, **body}, status)


def _upbit(status: int, name: str | int, message: str = "") -> Reaction:
    return as_json({"error": {"name": name, "message": message}}, status)


@pytest.mark.parametrize(
    ("venue", "reaction", "expected"),
    [
        ("alpaca", _alpaca(403, 40310000, "insufficient buying power"), OrderRejected),
        ("alpaca", _alpaca(422, 42210000, "fractional orders must be DAY orders"), OrderRejected),
        ("alpaca", _alpaca(422, 40010001, "qty is required"), OrderRejected),
        ("alpaca", _alpaca(422, 40010001, "client_order_id must be unique"), DuplicateOrder),
        ("alpaca", _alpaca(422, 40010001, 'asset "XXXX" not found'), UnknownSymbol),
        ("alpaca", _alpaca(422, 42210000, 'could not find asset "XXXX"'), UnknownSymbol),
        ("alpaca", _alpaca(403, None, "forbidden."), AuthenticationFailed),
        ("alpaca", _alpaca(401, 40110000, "request is not authorized"), AuthenticationFailed),
        ("alpaca", _alpaca(429, 42910000, "rate limit exceeded"), RateLimited),
        ("alpaca", html(429), RateLimited),
        ("upbit", _upbit(400, "insufficient_funds_bid"), OrderRejected),
        ("upbit", _upbit(400, "under_min_total_bid"), OrderRejected),
        ("upbit", _upbit(400, "invalid_price_bid"), OrderRejected),
        ("upbit", _upbit(400, "market_offline"), OrderRejected),
        ("upbit", _upbit(400, "duplicated_identifier"), DuplicateOrder),
        ("upbit", _upbit(404, "notfoundmarket"), UnknownSymbol),
        ("upbit", _upbit(401, "jwt_verification"), AuthenticationFailed),
        ("upbit", _upbit(401, "nonce_used"), AuthenticationFailed),
        ("upbit", _upbit(403, "out_of_scope"), AuthenticationFailed),
        ("upbit", _upbit(400, 400, "integer names are not the order desk's"), OrderInDoubt),
        ("upbit", as_json({"name": "too_many_requests"}, 429), RateLimited),
        ("upbit", Answer(418, "blocked"), RateLimited),
    ],
)
def test_the_venues_own_refusals_have_their_type(venue: str, reaction: Reaction, expected: type[VenueError]) -> None:
    with canned(lambda _: reaction) as server, pytest.raises(VenueError) as caught:
        _submit(venue, server.url)
    assert type(caught.value) is expected
    assert len(server.seen) == 1


def test_alpaca_gets_numbers_as_its_client_sends_them() -> None:
    with canned(lambda _: html(500)) as server, pytest.raises(OrderInDoubt):
        _submit("alpaca", server.url)
    request = server.seen[0]
    assert (request.method, request.target) == ("POST", "/v2/orders")
    assert json.loads(request.body) == {
        "symbol": "AAPL",
        "qty": 3.0,
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "d1-entry-1",
    }


def test_upbit_gets_decimal_strings_and_our_identifier() -> None:
    with canned(lambda _: html(500)) as server, pytest.raises(OrderInDoubt):
        _submit("upbit", server.url)
    request = server.seen[0]
    assert (request.method, request.target) == ("POST", "/v1/orders")
    assert json.loads(request.body) == {
        "market": "KRW-BTC",
        "side": "bid",
        "ord_type": "price",
        "price": "100000",
        "identifier": "d1-entry-1",
    }
    assert UPBIT_SECRET not in str(request.headers)


@pytest.mark.parametrize("venue", VENUES)
def test_after_the_budget_is_used_up_an_order_is_not_even_sent(venue: str) -> None:
    spent = {
        "alpaca": as_json({"code": 42910000, "message": "rate limit exceeded"}, 429, Retry_After="60"),
        "upbit": as_json({"error": {"name": "too_many_requests", "message": ""}}, 418, Retry_After="60"),
    }[venue]
    with canned(lambda _: spent) as server, broker(venue, server.url) as client:
        for _ in range(2):
            with pytest.raises(RateLimited):
                client.submit(buy(venue))
    assert len(server.seen) == 1


def test_an_answer_about_another_order_is_a_doubt() -> None:
    body = {
        "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
        "client_order_id": "somebody-else",
        "created_at": "2026-03-02T15:00:00Z",
        "symbol": "AAPL",
        "side": "buy",
        "status": "accepted",
        "filled_qty": "0",
    }
    with canned(lambda _: as_json(body)) as server, pytest.raises(OrderInDoubt, match="somebody-else"):
        _submit("alpaca", server.url)
