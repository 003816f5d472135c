"""The admin API: the clock, the neutral records, the request log."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest
import requests

from quant_pipeline.exchange.admin import admin_reply
from quant_pipeline.exchange.client import AdminClient, AdminError
from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Request
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.conftest import MONDAY_OPEN
from quant_pipeline_tests.exchange.test_alpaca_refusals import KEYS
from quant_pipeline_tests.exchange.test_upbit_refusals import token


def test_both_ports_show_one_clock(exchange: ExchangeHandle) -> None:
    exchange.admin.set_clock(datetime(2025, 3, 3, 15, 0, tzinfo=UTC))
    other = AdminClient(exchange.upbit_url)
    assert other.advance(1.5) == exchange.admin.clock() == datetime(2025, 3, 3, 15, 0, 1, 500_000, tzinfo=UTC)
    other.close()


def test_a_clock_that_would_go_back_is_refused_with_a_sentence(exchange: ExchangeHandle) -> None:
    with pytest.raises(AdminError, match=r"time never goes back: the clock is at 2025-03-03T14:30:00\+00:00"):
        exchange.admin.set_clock(datetime(2025, 3, 3, 14, 29, tzinfo=UTC))
    assert exchange.admin.clock() == datetime(2025, 3, 3, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"advance_seconds": "1"}', 400),
        (b'{"advance_seconds": true}', 400),
        (b'{"set": 5}', 400),
        (b'{"set": "soon"}', 409),
        (b'{"advance_seconds": -1}', 409),
    ],
)
def test_odd_clock_requests_change_nothing(exchange: ExchangeHandle, body: bytes, status: int) -> None:
    answer = requests.post(f"{exchange.alpaca_url}/admin/clock", data=body, timeout=10)
    assert answer.status_code == status
    assert "error" in answer.json()
    assert exchange.admin.clock() == datetime(2025, 3, 3, 14, 30, tzinfo=UTC)


def test_unknown_admin_paths_name_the_known_ones(exchange: ExchangeHandle) -> None:
    answer = requests.get(f"{exchange.alpaca_url}/admin/nothing", timeout=10)
    assert answer.status_code == 404
    assert "GET /admin/fills" in answer.json()["error"]


@pytest.mark.parametrize("peer", ["192.168.1.5", "::ffff:10.0.0.1", "", "nowhere"])
def test_only_loopback_may_steer(peer: str) -> None:
    exchange = Exchange(ExchangeConfig(clock=MONDAY_OPEN))
    assert admin_reply(exchange, Request("GET", "/admin/clock", peer=peer)).status == 403
    assert admin_reply(exchange, Request("GET", "/admin/clock", peer="::1")).status == 200


def _trade_on_both(exchange: ExchangeHandle) -> None:
    order = {
        "symbol": "AAPL",
        "notional": 500,
        "side": "buy",
        "type": "market",
        "time_in_force": "day",
        "client_order_id": "us-1",
    }
    requests.post(f"{exchange.alpaca_url}/v2/orders", json=order, headers=KEYS, timeout=10).raise_for_status()
    body = {"market": "KRW-ETH", "side": "bid", "ord_type": "price", "price": "100000", "identifier": "krw-1"}
    headers = {"Authorization": f"Bearer {token(body)}"}
    requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=headers, timeout=10).raise_for_status()
    exchange.admin.advance(300)


def test_records_have_one_form_for_both_venues_and_add_up(exchange: ExchangeHandle) -> None:
    _trade_on_both(exchange)
    orders, fills, accounts = exchange.admin.orders(), exchange.admin.fills(), exchange.admin.accounts()
    assert [row["client_id"] for row in orders] == [row["client_id"] for row in fills] == ["us-1", "krw-1"]
    assert set(orders[0]) == set(orders[1])
    for order, fill in zip(orders, fills, strict=True):
        account = accounts[fill["market"]]
        start = Decimal(100_000 if fill["market"] == "us_equity" else 100_000_000)
        assert Decimal(fill["funds"]) == Decimal(fill["price"]) * Decimal(fill["qty"]) == Decimal(order["filled_funds"])
        assert Decimal(account["cash"]) == start - Decimal(fill["funds"]) - Decimal(fill["fee"])
        assert account["holdings"][fill["symbol"]]["qty"] == fill["qty"] == order["filled_qty"]
        assert account["fees_paid"] == fill["fee"] == order["fee"]
    assert exchange.admin.fills("krw_crypto") == fills[1:]
    assert exchange.admin.orders("us_equity") == orders[:1]


def test_the_log_is_numbered_filtered_and_leaves_out_admin(exchange: ExchangeHandle) -> None:
    _trade_on_both(exchange)
    posts = exchange.admin.requests(method="POST")
    assert [(row["seq"], row["dialect"], row["client_id"]) for row in posts] == [
        (1, "alpaca", "us-1"),
        (2, "upbit", "krw-1"),
    ]
    assert exchange.admin.requests(method="POST", dialect="upbit") == posts[1:]
    assert exchange.admin.requests(after=1) == posts[1:]
    assert exchange.admin.requests(path="/v2/orders") == posts[:1]
    requests.get(f"{exchange.upbit_url}/v1/accounts", timeout=10)
    assert exchange.admin.requests(after=2)[0]["status"] == 401
