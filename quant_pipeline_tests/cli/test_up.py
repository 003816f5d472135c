"""`quant up`: a whole desk with its own PostgreSQL, up and down, and what is refused before anything starts."""

from __future__ import annotations

import os
import signal
import socket
import sys
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from quant_pipeline.cli.dagster_api import DagsterApi
from quant_pipeline.cli.services import LOCATION
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.runtime.postgres_files import PostgresFiles
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline_tests.cli.quant_process import (
    SECONDS,
    QuantDesk,
    processes_of,
    read_document,
    wait_until_gone,
)
from quant_pipeline_tests.exchange.makers import exchange_at

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the embedded server needs Linux or macOS")


def settings_of(desk: QuantDesk) -> Settings:
    return load_settings(desk.folder / "quant.toml", environ={})


def status_of(url: str, path: str) -> int:
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    finally:
        connection.close()


def assert_it_is_up(desk: QuantDesk, content: dict[str, Any]) -> None:
    urls = {row["service"]: row["url"] for row in content["addresses"]}
    assert sorted(urls) == ["Dagster", "MLflow", "simulated exchange"]
    assert status_of(urls["Dagster"], "/server_info") == 200
    assert status_of(urls["MLflow"], "/health") == 200
    assert {row["market"]: row["on"] for row in content["markets"]} == {"us_equity": True, "krw_crypto": True}
    found = DagsterApi(urls["Dagster"], LOCATION).instigators()
    assert {one.name for one in found} >= {"smart_trading_pipeline_us_equity_schedule", "changed_bars_krw_crypto"}
    assert all(one.is_on for one in found)
    for row in content["addresses"]:
        assert Path(row["log"]).is_file()
        assert Path(row["log"]).parent == desk.home / "logs"


def assert_the_password_is_on_no_command_line(desk: QuantDesk) -> None:
    password = PostgresFiles(desk.home).password()
    commands = processes_of(desk.folder)
    assert len(commands) > 8
    assert not [command for command in commands.values() if password in command]


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_desk_comes_up_refuses_a_second_one_stops_at_ctrl_c_and_comes_up_again(embedded_desk: QuantDesk) -> None:
    with embedded_desk.start("up", "--no-history", "--json") as process:
        content = read_document(process)
        assert_it_is_up(embedded_desk, content)
        assert_the_password_is_on_no_command_line(embedded_desk)
        second = embedded_desk.run("up")
        assert (second.code, second.stdout) == (2, "")
        assert f"`quant up` already runs on {embedded_desk.home}" in second.stderr

        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert wait_until_gone(embedded_desk.folder, seconds=20) == {}

    with embedded_desk.start("up", "--no-history", "--no-trade", "--json") as process:
        content = read_document(process)
        assert [row["on"] for row in content["markets"]] == [False, False]
        url = next(row["url"] for row in content["addresses"] if row["service"] == "Dagster")
        found = DagsterApi(url, LOCATION).instigators()
        assert {one.kind for one in found if one.is_on} == {"sensor"}
        os.kill(process.pid, signal.SIGKILL)
        process.wait(SECONDS)
        assert wait_until_gone(embedded_desk.folder, seconds=40) == {}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_desk_that_is_set_to_a_dry_run_has_the_venues_prices(migrated_desk: QuantDesk) -> None:
    with exchange_at("wall") as venue:
        live = {"QUANT__EXCHANGE__LIVE_KRW_CRYPTO": venue.upbit_url}
        with migrated_desk.start("up", "--no-history", "--no-trade", "--json", env=live) as process:
            content = read_document(process)
            told = next(row["url"] for row in content["addresses"] if row["service"] == "simulated exchange")
            admin = AdminClient(f"http://127.0.0.1:{settings_of(migrated_desk).ports.exchange_alpaca}")
            state = admin.poll()
            admin.close()
            process.send_signal(signal.SIGINT)
            assert process.wait(SECONDS) == 130
        assert list(state) == ["krw_crypto"]
        assert (state["krw_crypto"]["upstream"], state["krw_crypto"]["problem"]) == (venue.upbit_url, None)
        assert f"krw_crypto at prices of {venue.upbit_url}" in told
        asked = {(row["method"], row["path"]) for row in venue.admin.requests()}
    assert asked == {("GET", f"/v1/{what}") for what in ("market/all", "ticker", "orderbook", "candles/minutes/1")}


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_desk_that_is_stopped_while_it_makes_its_history_leaves_nothing(embedded_desk: QuantDesk) -> None:
    with embedded_desk.start("up", "--json") as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "us_equity: " in line:
                break
        process.send_signal(signal.SIGINT)
        stdout, stderr = process.communicate(timeout=SECONDS)
    assert (process.returncode, stdout) == (130, "")
    assert "Traceback" not in stderr
    assert wait_until_gone(embedded_desk.folder, seconds=20) == {}


@pytest.mark.parametrize("name", ["dagster", "mlflow", "exchange_alpaca"])
def test_a_busy_port_is_named_before_anything_is_started(desk: QuantDesk, name: str) -> None:
    port = getattr(settings_of(desk).ports, name)
    with socket.create_server(("127.0.0.1", port)):
        done = desk.run("up", "--json")
    assert (done.code, done.stdout) == (2, "")
    assert f"port {port} of setting 'ports.{name}' is in use by" in done.stderr
    assert not (desk.home / "logs").exists()


@pytest.mark.slow
def test_a_part_that_cannot_start_is_told_with_the_end_of_its_log(migrated_desk: QuantDesk) -> None:
    """The state file of another seed: the exchange refuses it, and the start ends there."""
    seed = settings_of(migrated_desk).exchange.seed
    migrated_desk.home.mkdir()
    journal = migrated_desk.home / "exchange.journal"
    with migrated_desk.start("exchange", "--seed", str(seed + 1), "--state", str(journal), "--json") as process:
        read_document(process)
        process.send_signal(signal.SIGTERM)
        process.wait(SECONDS)
    began = time.monotonic()
    done = migrated_desk.run("up", "--no-history", "--json")
    assert (done.code, done.stdout) == (1, "")
    assert "simulated exchange ended with exit code 2; the end of" in done.stderr
    assert "seed" in done.stderr
    assert "Traceback" not in done.stderr
    assert time.monotonic() - began < SECONDS
    assert wait_until_gone(migrated_desk.folder, seconds=20) == {}
