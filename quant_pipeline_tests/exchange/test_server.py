"""Starting and stopping: in a thread, as a process, on busy ports, with wrong settings."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import threading
from decimal import Decimal
from pathlib import Path

import pytest
import requests

from quant_pipeline.exchange.config import ExchangeConfig, config_from_dict, config_to_json
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.server import running_exchange
from quant_pipeline_tests.exchange.conftest import MONDAY_OPEN
from quant_pipeline_tests.exchange.makers import child_environment, exchange_at, exchange_process

COMMAND = [sys.executable, "-m", "quant_pipeline.exchange"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_process_ends_cleanly_on_a_signal_and_frees_its_ports(number: signal.Signals) -> None:
    options = ("--alpaca-port", "0", "--upbit-port", "0", "--clock", MONDAY_OPEN, "--us-symbols", "KO,PEP")
    with exchange_process(*options) as (process, alpaca_url, upbit_url), requests.Session() as session:
        for url in (alpaca_url, upbit_url):  # these connections stay open and must not hold it up
            clock = session.get(f"{url}/admin/clock", timeout=5).json()
            assert (clock["mode"], clock["pid"]) == ("manual", process.pid)
        process.send_signal(number)
        _, log = process.communicate(timeout=10)
    assert process.returncode == 0
    assert "Traceback" not in log
    for url in (alpaca_url, upbit_url):
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--clock", "soon"], "'soon' is not an ISO 8601 time"),
        (["--seed", "x"], "invalid literal"),
        (["--usd-cash", "-5"], "usd_cash = -5 must be positive"),
        (["--config", '{"sed": 1}'], "unknown exchange setting sed"),
        (["--config", "@/no/such/file"], "No such file"),
        (["--config", "{"], "Expecting"),
    ],
)
def test_wrong_options_end_with_code_2_and_a_sentence(options: list[str], sentence: str) -> None:
    ended = subprocess.run(
        [*COMMAND, *options], env=child_environment(), capture_output=True, text=True, timeout=30, check=False
    )
    assert ended.returncode == 2
    assert sentence in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("setting", ["alpaca_port", "upbit_port"])
def test_a_busy_port_is_named_with_its_setting(setting: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        config = ExchangeConfig(**{"alpaca_port": 0, "upbit_port": 0, setting: port})
        with (
            pytest.raises(OSError, match=f"cannot listen on 127.0.0.1:{port} .*change {setting}"),
            running_exchange(config),
        ):
            pytest.fail("the exchange started on a busy port")


def test_two_exchanges_run_side_by_side_and_leave_no_thread() -> None:
    before = threading.active_count()
    with exchange_at(MONDAY_OPEN) as one, exchange_at("2025-03-04T15:00:00+00:00") as other:
        assert one.admin.clock() < other.admin.clock()
        assert len({one.alpaca_url, one.upbit_url, other.alpaca_url, other.upbit_url}) == 4
    assert threading.active_count() == before


def test_what_fails_at_the_start_is_raised_where_it_was_started(tmp_path: Path) -> None:
    (tmp_path / "us_equity").mkdir()
    config = ExchangeConfig(alpaca_port=0, upbit_port=0, data_dir=tmp_path)
    with pytest.raises(ValueError, match="holds no bars"), running_exchange(config):
        pytest.fail("the exchange started without bars")


def test_in_wall_time_there_is_history_up_to_now() -> None:
    with exchange_at("wall") as exchange:
        before = exchange.admin.clock()
        url = f"{exchange.upbit_url}/v1/candles/minutes/1?market=KRW-BTC&count=30"
        candles = requests.get(url, timeout=10).json()
        assert len(candles) == 30
        assert exchange.admin.clock() >= before


def test_a_config_survives_json() -> None:
    config = ExchangeConfig(
        seed=3,
        clock=MONDAY_OPEN,
        us_symbols=("KO",),
        usd_cash=Decimal("123.45"),
        max_participation=Decimal("0.1"),
        state_path=Path("a/b.jsonl"),
    )
    import json

    assert config_from_dict(json.loads(config_to_json(config))) == config


def test_secrets_are_not_in_the_configs_repr() -> None:
    config = ExchangeConfig()
    assert config.alpaca_secret not in repr(config)
    assert config.upbit_secret_key not in repr(config)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("krw_cash", Decimal(0)),
        ("upbit_order_per_second", 0),
        ("half_spread_bp_us", Decimal(-1)),
        ("max_participation", Decimal("1.5")),
    ],
)
def test_values_out_of_range_are_refused_by_name(setting: str, value: object) -> None:
    with pytest.raises(ValueError, match=setting):
        ExchangeConfig(**{setting: value})  # type: ignore[arg-type]


def test_equal_seeds_give_equal_ids_and_fills_in_two_exchanges() -> None:
    from quant_pipeline.core.values import Side
    from quant_pipeline_tests.exchange.makers import ticket, utc

    logs = []
    for _ in range(2):
        exchange = Exchange(ExchangeConfig(clock=MONDAY_OPEN))
        exchange.us.submit(ticket("a", "AAPL", Side.BUY, qty="3"), exchange.now())
        exchange.move_clock(to=utc("2025-03-03 14:40"))
        exchange.now()
        logs.append((exchange.us.fill_log, exchange.us.account))
    assert logs[0] == logs[1]
