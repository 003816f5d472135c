"""`quant demo`: starts what is needed, lets a worker trade each market, shows what happened, leaves nothing running."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from quant_pipeline.cluster import embedded, prepare
from quant_pipeline.demo.options import DemoOptions, clock_start, demo_settings, live_sessions
from quant_pipeline.demo.recorded import write_recorded_bars
from quant_pipeline.demo.show import show
from quant_pipeline.demo.summary import MarketSummary, summarize
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.runtime.keeper import keeper_command
from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.runtime.processes import ProcessGroup
from quant_pipeline.settings import Settings
from quant_pipeline.steps.connect import open_desk

MARKETS = ("us_equity", "krw_crypto")
_POLL_SECONDS = 0.25
_GRACE_SECONDS = 10.0
_FAST = {"alpaca_trading_per_minute": 1_000_000, "alpaca_data_per_minute": 1_000_000}
_FAST |= {
    "upbit_quotation_per_second": 100_000,
    "upbit_exchange_per_second": 100_000,
    "upbit_order_per_second": 100_000,
}


class DemoFailedError(RuntimeError):
    """A part of the demo ended with an error; the text holds the end of its log."""


@dataclass(frozen=True, slots=True)
class DemoResult:
    """What happened in each market, and how long it took (wall seconds)."""

    markets: tuple[MarketSummary, ...]
    seconds: float

    @property
    def agrees(self) -> bool:
        """Whether every ledger equals its exchange."""
        return not any(market.differences for market in self.markets)


@dataclass(slots=True)
class _Worker:
    """One market's worker process."""

    market: str
    settings: Settings
    process: subprocess.Popen[bytes]
    log: Path
    progress: Path
    seen: int = 0


def run_demo(options: DemoOptions, console: Console) -> DemoResult:
    """Run the demo of both markets and show it on `console`.

    Raises:
        DemoFailedError: a worker failed.
    """
    began = time.monotonic()
    if options.home.exists():
        shutil.rmtree(options.home)
    options.home.mkdir(parents=True)
    console.print(_source(options))
    with ExitStack() as stack:
        base = demo_settings(options, {})
        _compile_meanwhile(base, stack)
        if options.data is not None:
            write_recorded_bars(options.data, base, console)
        server = embedded(base, fast=True)
        stack.callback(server.stop)
        prepare(base)
        group = stack.enter_context(ProcessGroup())
        workers = [_start(options, name, group, stack) for name in MARKETS]
        _watch(workers, console)
        results = tuple(_summary(options, worker) for worker in workers)
    result = DemoResult(results, time.monotonic() - began)
    show(result.markets, result.seconds, console)
    if not options.keep:
        shutil.rmtree(options.home)
    return result


def _source(options: DemoOptions) -> str:
    if options.data is not None:
        return (
            f"Bars: [bold]real[/], from the files in {options.data}. The exchange is simulated: it fills on these bars."
        )
    return (
        f"Bars: [bold]generated[/] (seed {options.seed}) by the simulated exchange, with momentum put in on purpose: "
        "this shows that everything works, not that it earns. So that weeks pass in minutes, crypto is collected by the "
        "hour and decided every 4 hours (default: by the minute, every hour); all thresholds are the defaults."
    )


def _compile_meanwhile(settings: Settings, stack: ExitStack) -> None:
    """Both workers need the same kernels soon; set-up compiled them, unless the code has changed since."""
    log = settings.home / "logs" / "kernels.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    _kept_process(
        ["-m", "quant_pipeline.runtime.compile_kernels", str(settings.home.parent)], log, dict(os.environ), stack
    )


def _kept_process(
    arguments: list[str], log: Path, environment: dict[str, str], stack: ExitStack
) -> subprocess.Popen[bytes]:
    """Start a Python process that ends with this one, however that comes, or when `stack` is left."""
    file: IO[bytes] = stack.enter_context(log.open("wb"))
    process = subprocess.Popen(  # noqa: S603 - this very program
        keeper_command([sys.executable, *arguments], grace=_GRACE_SECONDS),
        stdin=subprocess.PIPE,  # closed by our death; then the keeper ends the process
        stdout=file,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    stack.callback(_end, process)
    return process


def _start(options: DemoOptions, market: str, group: ProcessGroup, stack: ExitStack) -> _Worker:
    """Start a market's own exchange (its clock is moved by its worker) and the worker."""
    ports = {"exchange_alpaca": choose_free_port(), "exchange_upbit": 0}
    ports["exchange_upbit"] = choose_free_port(frozenset(ports.values()))
    settings = demo_settings(options, ports)
    config = {
        "alpaca_port": ports["exchange_alpaca"],
        "upbit_port": ports["exchange_upbit"],
        "seed": options.seed,
        "clock": clock_start(options, settings.market(market)).isoformat(),
        "data_dir": None if options.data is None else str(settings.home / "recorded"),
        **_FAST,
    }
    argv = [sys.executable, "-m", "quant_pipeline.exchange", "--config", json.dumps(config)]
    log = settings.home / "logs"
    url = f"http://127.0.0.1:{ports['exchange_alpaca']}/admin/clock"
    group.start(f"exchange of {market}", argv, log_path=log / f"exchange-{market}.log", ready=url)
    group.wait_ready()
    return _start_worker(options, market, settings, ports, stack)


def _start_worker(
    options: DemoOptions, market: str, settings: Settings, ports: dict[str, int], stack: ExitStack
) -> _Worker:
    given = {
        "home": str(options.home.resolve()),
        "seed": options.seed,
        "sessions": options.sessions,
        "threads": options.threads,
        "symbols": options.symbols,
        "data": None if options.data is None else str(options.data.resolve()),
        "market": market,
        "ports": ports,
    }
    log = settings.home / "logs" / f"{market}.log"
    environment = {**os.environ, "DAGSTER_EVENT_BATCH_SIZE": "1000", "PYTHONWARNINGS": "ignore"}
    process = _kept_process(["-m", "quant_pipeline.demo.worker", json.dumps(given)], log, environment, stack)
    return _Worker(market, settings, process, log, settings.home / f"progress-{market}.jsonl")


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.stdin is not None:
        process.stdin.close()
    process.wait(timeout=3 * _GRACE_SECONDS)


def _watch(workers: list[_Worker], console: Console) -> None:
    """Show progress until every worker has ended well."""
    columns = (
        TextColumn("{task.fields[market]:<10}"),
        BarColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.description}"),
    )
    with Progress(*columns, console=console, transient=not console.is_terminal) as bars:
        tasks = {worker.market: bars.add_task("starting", total=1.0, market=worker.market) for worker in workers}
        while True:
            for worker in workers:
                for line in _new_lines(worker):
                    bars.update(tasks[worker.market], completed=line["part"], description=str(line["text"]))
                if worker.process.poll() not in (None, 0):
                    msg = f"the demo of {worker.market} failed; the end of {worker.log}:\n{_tail(worker.log)}"
                    raise DemoFailedError(msg)
            if all(worker.process.poll() == 0 for worker in workers):
                return
            time.sleep(_POLL_SECONDS)


def _new_lines(worker: _Worker) -> list[dict[str, Any]]:
    if not worker.progress.exists():
        return []
    lines = worker.progress.read_text(encoding="utf-8").splitlines()
    fresh, worker.seen = lines[worker.seen :], len(lines)
    return [json.loads(line) for line in fresh]


def _tail(log: Path) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:])


def _summary(options: DemoOptions, worker: _Worker) -> MarketSummary:
    desk = open_desk(worker.settings)
    admin = AdminClient(f"http://127.0.0.1:{worker.settings.ports.exchange_alpaca}")
    market = worker.settings.market(worker.market)
    try:
        return summarize(desk, market, live_sessions(options, market), admin)
    finally:
        admin.close()
        desk.close()
