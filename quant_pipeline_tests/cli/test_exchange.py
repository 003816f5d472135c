"""`quant exchange`: the simulated exchange in the foreground."""

from __future__ import annotations

import json
import signal
import socket
from decimal import Decimal

import pytest

from quant_pipeline.cli.exchange import exchange_config
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.settings import load_settings
from quant_pipeline_tests.cli.quant_process import SECONDS, QuantDesk, read_document
from quant_pipeline_tests.exchange.makers import exchange_at


def test_it_serves_on_the_ports_of_the_settings_until_ctrl_c(desk: QuantDesk) -> None:
    settings = load_settings(desk.folder / "quant.toml", environ={})
    options = ("--clock", "2026-03-02T14:30:00Z", "--seed", "11", "--json")
    with desk.start("exchange", *options) as process:
        started = read_document(process)
        assert started["alpaca_url"] == f"http://127.0.0.1:{settings.ports.exchange_alpaca}"
        assert (started["seed"], started["now"]) == (11, "2026-03-02T14:30:00+00:00")
        admin = AdminClient(started["upbit_url"])
        assert admin.accounts()["us_equity"]["cash"] == "100000"
        admin.close()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert process.stdout is not None
        assert process.stdout.read() == ""


def test_sigterm_is_an_ordinary_end(desk: QuantDesk) -> None:
    with desk.start("exchange", "--json") as process:
        read_document(process)
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0


def test_a_busy_port_is_named_with_its_setting(desk: QuantDesk) -> None:
    port = load_settings(desk.folder / "quant.toml", environ={}).ports.exchange_upbit
    with socket.create_server(("127.0.0.1", port)):
        done = desk.run("exchange", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert f"port {port} of setting 'ports.exchange_upbit' is in use" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--clock", "noon"], "--clock 'noon' is not a time"),
        (["--clock", "2026-03-02T12:00"], "has no time zone"),
        (["--data", "nowhere"], "--data 'nowhere' is not a folder"),
        (["--live-from", "binance"], "--live-from 'binance' names no venue; use alpaca or upbit"),
        (["--live-from", "alpaca"], "set ALPACA_API_KEY and ALPACA_API_SECRET"),
        (["--live-from", "upbit=https://example.com"], "'https://example.com' is not the market data of upbit"),
        (["--live-from", "upbit", "--clock", "2026-03-02T12:00Z"], "does not go with real prices of krw_crypto"),
    ],
)
def test_what_cannot_be_served_exits_2(desk: QuantDesk, arguments: list[str], said: str) -> None:
    done = desk.run("exchange", *arguments)
    assert (done.code, done.stdout) == (2, "")
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_cash_and_symbols_follow_the_settings() -> None:
    markets = {"us_equity": {"capital": 5000.5, "symbols": ["ZZZ"]}, "krw_crypto": {"capital": 2e6}}
    config = exchange_config(load_settings(environ={}, changes={"markets": markets, "exchange": {"seed": 3}}))
    assert (config.usd_cash, config.krw_cash, config.seed) == (Decimal("5000.5"), Decimal("2000000.0"), 3)
    assert {"ZZZ", "AAPL"} <= set(config.us_symbols)
    assert len(config.us_symbols) == len(set(config.us_symbols))


def test_live_from_takes_real_prices_with_the_keys_of_the_environment_and_never_shows_them(desk: QuantDesk) -> None:
    keys = {"ALPACA_API_KEY": "REAL-KEY-5f1c", "ALPACA_API_SECRET": "REAL-SECRET-88ab"}
    with exchange_at("wall", alpaca_key=keys["ALPACA_API_KEY"], alpaca_secret=keys["ALPACA_API_SECRET"]) as venue:
        options = ("--live-from", f"alpaca={venue.alpaca_url}", "--live-from", f"upbit={venue.upbit_url}")
        with desk.start("exchange", *options, "--json", env=keys) as process:
            started = read_document(process)
            assert started["live"] == {"us_equity": venue.alpaca_url, "krw_crypto": venue.upbit_url}
            admin = AdminClient(started["alpaca_url"])
            state = admin.poll()
            admin.close()
            process.send_signal(signal.SIGINT)
            stdout, stderr = process.communicate(timeout=SECONDS)
    assert {name: (row["problem"], row["priced"]) for name, row in state.items()} == {
        "us_equity": (None, 3),
        "krw_crypto": (None, 2),
    }
    shown = stdout + stderr + json.dumps([started, state])
    assert not [secret for secret in keys.values() if secret in shown]


def test_a_dry_run_lists_what_the_desk_watches_and_nothing_else() -> None:
    told = {
        "exchange": {"live_krw_crypto": "https://api.upbit.com"},
        "markets": {"krw_crypto": {"symbols": ["KRW-ETH"]}},
    }
    config = exchange_config(load_settings(environ={}, changes=told))
    assert config.live_markets == ("krw_crypto",)
    assert config.krw_symbols == ("KRW-ETH",)
    assert (config.live_alpaca_key, config.live_alpaca_secret) == ("", "")
