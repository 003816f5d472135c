"""The state file: what it remembers over restarts, kills and half-written lines."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.config import ExchangeConfig, config_to_json
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.conftest import DEFAULTS, MONDAY_OPEN
from quant_pipeline_tests.exchange.makers import exchange_at, exchange_process
from quant_pipeline_tests.exchange.test_upbit_refusals import token


def _trade(exchange: ExchangeHandle) -> None:
    """A filled order, an open one, a cancelled one and a refused one, on both venues."""
    client = TradingClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=exchange.alpaca_url)
    terms = {"symbol": "AAPL", "side": "buy", "time_in_force": "gtc"}
    client.submit_order(MarketOrderRequest(qty=3, client_order_id="filled", **terms))
    client.submit_order(LimitOrderRequest(qty=1, limit_price=1.0, client_order_id="open", **terms))
    cancelled = client.submit_order(LimitOrderRequest(qty=1, limit_price=1.0, client_order_id="cancelled", **terms))
    client.cancel_order_by_id(cancelled.id)
    for identifier, price in (("bought", "1000000"), ("refused", "900000000")):
        body = {"market": "KRW-ETH", "side": "bid", "ord_type": "price", "price": price, "identifier": identifier}
        headers = {"Authorization": f"Bearer {token(body)}"}
        requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=headers, timeout=10)
    exchange.admin.advance(600)


def _everything(admin: AdminClient) -> object:
    return admin.orders(), admin.fills(), admin.accounts(), admin.clock()


def test_a_restart_finds_the_same_accounts_orders_ids_and_time(tmp_path: Path) -> None:
    state = tmp_path / "deep" / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
        before = _everything(exchange.admin)
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        assert _everything(exchange.admin) == before
        client = TradingClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=exchange.alpaca_url)
        for name in ("filled", "cancelled"):
            with pytest.raises(Exception, match="client_order_id must be unique"):
                client.submit_order(
                    MarketOrderRequest(symbol="KO", qty=1, side="buy", time_in_force="day", client_order_id=name)
                )
        body = {"market": "KRW-ETH", "side": "bid", "ord_type": "price", "price": "10000", "identifier": "refused"}
        headers = {"Authorization": f"Bearer {token(body)}"}
        answer = requests.post(f"{exchange.upbit_url}/v1/orders", json=body, headers=headers, timeout=10)
        assert answer.json()["error"]["name"] == "duplicated_identifier"


def test_the_clock_does_not_go_back_over_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
        stood = exchange.admin.clock()
    with exchange_at("2025-03-01T00:00:00+00:00", state_path=state) as exchange:
        assert exchange.admin.clock() == stood
    with exchange_at("2025-04-01T00:00:00+00:00", state_path=state) as exchange:
        assert exchange.admin.clock().isoformat() == "2025-04-01T00:00:00+00:00"


def test_the_file_is_made_short_at_each_start_and_says_the_same(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
        before = _everything(exchange.admin)
    long = state.read_text().count("\n")
    for _ in range(2):
        with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
            assert _everything(exchange.admin) == before
        assert state.read_text().count("\n") < long


def test_a_line_cut_off_by_a_crash_is_dropped_at_every_byte(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
    whole = state.read_bytes()
    last = whole.rstrip(b"\n").rfind(b"\n") + 1
    cut = tmp_path / "cut.jsonl"
    for size in (last, last + 1, last + (len(whole) - last) // 2, len(whole) - 2):
        cut.write_bytes(whole[:size])
        Exchange(ExchangeConfig(clock=MONDAY_OPEN, state_path=cut)).close()
        assert all(json.loads(line) for line in cut.read_text().splitlines())


def test_a_broken_line_in_the_middle_is_refused_with_its_number(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
    lines = state.read_text().splitlines()
    state.write_text("\n".join([*lines[:2], "{broken", *lines[2:]]) + "\n")
    with pytest.raises(ValueError, match=r"line 3 .*remove the file"):
        Exchange(ExchangeConfig(clock=MONDAY_OPEN, state_path=state))


def test_the_state_of_another_seed_is_refused(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    Exchange(ExchangeConfig(clock=MONDAY_OPEN, state_path=state, seed=1)).close()
    with pytest.raises(ValueError, match=r"belongs to seed 1 .* seed 2"):
        Exchange(ExchangeConfig(clock=MONDAY_OPEN, state_path=state, seed=2))


def test_reset_empties_the_file_too(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        _trade(exchange)
        exchange.admin.reset()
        assert exchange.admin.orders() == exchange.admin.fills() == exchange.admin.requests() == []
        assert exchange.admin.accounts()["us_equity"]["cash"] == "100000"
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        assert exchange.admin.orders() == []


def test_an_answered_order_survives_kill_9(tmp_path: Path) -> None:
    state = tmp_path / "state.jsonl"
    config = ExchangeConfig(alpaca_port=0, upbit_port=0, clock=MONDAY_OPEN, state_path=state)
    with exchange_process("--config", config_to_json(config)) as (process, alpaca_url, _):
        client = TradingClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=alpaca_url)
        client.submit_order(
            MarketOrderRequest(symbol="KO", qty=1, side="buy", time_in_force="day", client_order_id="survivor")
        )
        process.kill()
        process.wait(10)
    with exchange_at(MONDAY_OPEN, state_path=state) as exchange:
        assert [row["client_id"] for row in exchange.admin.orders()] == ["survivor"]
