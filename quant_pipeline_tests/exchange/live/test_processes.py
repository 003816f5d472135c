"""The dry run as it is run: a process of its own in wall time, and another one that plays the venue."""

from __future__ import annotations

import json

import pytest
import requests

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline_tests.exchange.live.conftest import VENUE_KEY, VENUE_SECRET
from quant_pipeline_tests.exchange.makers import exchange_process

FREE_PORTS = ("--alpaca-port", "0", "--upbit-port", "0")


def test_two_processes_in_wall_time_show_one_market(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", VENUE_KEY)
    monkeypatch.setenv("ALPACA_API_SECRET", VENUE_SECRET)
    keys = json.dumps({"alpaca_key": VENUE_KEY, "alpaca_secret": VENUE_SECRET, "seed": 99})
    with exchange_process("--config", keys, *FREE_PORTS) as (_, alpaca, upbit):
        live = (
            "--live-us-equity",
            alpaca,
            "--live-krw-crypto",
            upbit,
            "--us-symbols",
            "KO",
            "--krw-symbols",
            "KRW-BTC",
        )
        with exchange_process(*FREE_PORTS, *live) as (desk, own_alpaca, own_upbit):
            admin = AdminClient(own_alpaca)
            state = admin.poll()
            admin.close()
            assert {name: row["problem"] for name, row in state.items()} == {"us_equity": None, "krw_crypto": None}
            question = "/v1/candles/minutes/1?market=KRW-BTC&count=5&to=2025-03-03T15:00:00Z"
            said, heard = (requests.get(url + question, timeout=10) for url in (upbit, own_upbit))
            assert heard.text == said.text
            desk.terminate()
            _, log = desk.communicate(timeout=20)
    assert "Traceback" not in log
    assert VENUE_KEY not in log
    assert VENUE_SECRET not in log


@pytest.mark.parametrize(
    ("option", "url", "said"),
    [
        ("--live-us-equity", "https://data.alpaca.markets", "set ALPACA_API_KEY and ALPACA_API_SECRET"),
        ("--live-us-equity", "https://api.alpaca.markets", "is not the market data of alpaca"),
        ("--live-us-equity", "https://paper-api.alpaca.markets", "is not the market data of alpaca"),
        ("--live-us-equity", "http://data.alpaca.markets", "is not the market data of alpaca"),
        ("--live-us-equity", "https://data.alpaca.markets.example.com", "is not the market data of alpaca"),
        ("--live-us-equity", "https://me:secret@data.alpaca.markets", "is not the market data of alpaca"),
        ("--live-krw-crypto", "https://api.upbit.com/v1", "is not the market data of upbit"),
        ("--live-krw-crypto", "api.upbit.com", "is not the market data of upbit"),
        ("--live-timeout-seconds", "0", "live_timeout_seconds = 0 must be positive"),
    ],
)
def test_a_dry_run_that_cannot_be_right_does_not_start(
    option: str, url: str, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from quant_pipeline.exchange.__main__ import main

    monkeypatch.delenv("ALPACA_API_KEY", raising=False)
    with pytest.raises(SystemExit) as ended:
        main([option, url, *FREE_PORTS])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_keys_are_no_options(capsys: pytest.CaptureFixture[str]) -> None:
    from quant_pipeline.exchange.__main__ import main

    with pytest.raises(SystemExit):
        main(["--live-alpaca-key", "x"])
    assert "unrecognized arguments" in capsys.readouterr().err
