"""How much of a venue's budget several collecting processes reach together, and how often the venue refuses.

    python -m quant_pipeline_tests.benchmarks.rate_limit --market krw_crypto --seconds 30 --processes 2

The simulated exchange applies the venue's real limits; every process collects minutes of its own symbols into one
PostgreSQL. Whole windows of the venue are counted, without the first and the last one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from quant_pipeline.exchange.server import ExchangeConfig, ExchangeHandle, running_exchange
from quant_pipeline.markets import calendar
from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.settings import Settings
from quant_pipeline.steps.collect import collect_sessions
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import upgrade
from quant_pipeline_tests.steps.world import opened_desk, settings_for, url_of


@dataclass(frozen=True, slots=True)
class Case:
    """A market's budget of candles, and the settings under which it is collected in small pieces."""

    limit: int
    window: float
    path: str
    settings: dict[str, Any]


CASES = {
    "krw_crypto": Case(10, 1.0, "/v1/candles", {"recent_base_sessions": 5000, "history_start": date(2024, 1, 1)}),
    "us_equity": Case(
        200,
        60.0,
        "/v2/stocks/bars",
        # A session of a symbol at a time, because whole pages of 10,000 bars would measure the machine.
        {
            "base_interval": "1m",
            "recent_base_sessions": 5000,
            "history_start": date(2024, 1, 2),
            "collect_chunk_rows": 390,
        },
    ),
}


def measure(market: str, seconds: float, processes: int, folder: Path) -> dict[str, object]:
    """Let `processes` collect for `seconds`; what part of the budget they reached, and how often they were refused."""
    case = CASES[market]
    with ExitStack() as stack:
        dsn = stack.enter_context(EmbeddedPostgres(folder / "postgres", fast=True).session())
        upgrade(dsn)
        exchange = stack.enter_context(running_exchange(ExchangeConfig(alpaca_port=0, upbit_port=0)))
        for number in range(processes):
            stack.enter_context(_collector(market, number, processes, folder, dsn, exchange))
        _wait_for_requests(exchange, case)
        time.sleep(seconds)
        log = [row for row in exchange.admin.requests() if row["path"].startswith(case.path)]
    windows = Counter(_window(row["at"], case.window) for row in log if row["status"] == 200)
    whole = sorted(windows)[1:-1]
    served = sum(windows[number] for number in whole)
    length = whole[-1] - whole[0] + 1 if whole else 0
    return {
        "market": market,
        "processes": processes,
        "windows": length,
        "served": served,
        "reached_percent": round(100 * served / (length * case.limit), 1) if length else None,
        "refused": sum(1 for row in log if row["status"] in (418, 429)),
    }


def _window(at: str, seconds: float) -> int:
    return int(datetime.fromisoformat(at).timestamp() // seconds)


def _wait_for_requests(exchange: ExchangeHandle, case: Case) -> None:
    """The measured time begins with the first request, not with the start of the processes."""
    while not any(row["path"].startswith(case.path) for row in exchange.admin.requests()):
        time.sleep(0.1)


@contextmanager
def _collector(
    market: str, number: int, processes: int, folder: Path, dsn: Dsn, exchange: ExchangeHandle
) -> Iterator[None]:
    told = {
        "market": market,
        "number": number,
        "processes": processes,
        "folder": str(folder),
        "dsn": f"postgresql://{dsn.user}:{dsn.password}@{dsn.host}:{dsn.port}/{dsn.database}",
        "url": url_of(exchange, market),
    }
    argv = [sys.executable, "-W", "ignore", "-m", __spec__.name, "--collect", json.dumps(told)]
    process = subprocess.Popen(argv)
    try:
        yield
    finally:
        process.kill()
        process.wait()


def _settings(told: dict[str, Any]) -> Settings:
    given = {**CASES[told["market"]].settings, "trading_url": told["url"], "data_url": told["url"]}
    return settings_for(Path(told["folder"]) / "home", told["market"], **given)


def collect(told: dict[str, Any]) -> None:
    """Collect every n-th symbol from the first session on, until killed."""
    settings = _settings(told)
    market = settings.market(told["market"])
    now = datetime.now(UTC)
    last = calendar.last_closed_session(market.market.calendar, now - timedelta(days=1))
    sessions = calendar.sessions(market.market.calendar, market.history_start, last)
    context = RunContext(now, "benchmark", symbols=market.symbols[told["number"] :: told["processes"]])
    with closing(Database(Dsn.parse(told["dsn"]))) as database, opened_desk(settings, database) as desk:
        collect_sessions(desk, market, sessions, context)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print one line of JSON for each market."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--market", choices=sorted(CASES), action="append")
    parser.add_argument("--seconds", type=float, help="default: 30 windows of the venue, at most 200 seconds")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--collect", help=argparse.SUPPRESS)
    given = parser.parse_args(arguments)
    if given.collect is not None:
        collect(json.loads(given.collect))
        return 0
    for market in given.market or sorted(CASES):
        seconds = given.seconds or min(30 * CASES[market].window, 200.0)
        with tempfile.TemporaryDirectory(prefix="quant-benchmark-") as folder:
            Path(folder).chmod(0o711)
            print(json.dumps(measure(market, seconds, given.processes, Path(folder))))  # noqa: T201 - the answer
    return 0


if __name__ == "__main__":
    sys.exit(main())
