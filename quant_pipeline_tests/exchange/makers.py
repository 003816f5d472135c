"""Small markets with prices that a test states: bars by hand, feeds and engines over them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import rebucket
from quant_pipeline.exchange.engine import Engine
from quant_pipeline.exchange.exchange import engine_rules
from quant_pipeline.exchange.feed import Feed
from quant_pipeline.exchange.orders import Force, Kind, Ticket
from quant_pipeline.exchange.server import ExchangeConfig, ExchangeHandle, running_exchange
from quant_pipeline.markets.market import Market

Row = tuple[datetime, float, float, float, float, float]
"""Opening time, open, high, low, close, volume of a hand-made bar."""


def utc(text: str) -> datetime:
    """`2025-03-03 14:30` as UTC time."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def epoch(text: str) -> int:
    """`2025-03-03 14:30` (UTC) as epoch seconds."""
    return int(utc(text).timestamp())


def bars_of(rows: list[Row], seconds: int = 60) -> BarColumns:
    """Bars of `seconds` from rows; stamp and opening time are the same."""
    ts = np.array([int(row[0].timestamp()) for row in rows], np.int64)
    o, h, low, c, v = (np.array([row[n] for row in rows], np.float64) for n in range(1, 6))
    return BarColumns(ts, ts, ts + seconds, o, h, low, c, v, v * c)


class HandMadeBars:
    """A `BarSource` with the bars that a test gives; coarser ones are aggregates."""

    def __init__(self, market: Market, bars: dict[str, BarColumns]) -> None:
        self.market = market
        self._bars = bars

    def symbols(self) -> tuple[str, ...]:
        return tuple(sorted(self._bars))

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        return rebucket(self.market, self._bars[symbol], seconds).between(start, end)

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        bars = self._bars[symbol]
        first, last = np.searchsorted(bars.opens, (start, end))
        return bars.part(int(first), int(last))

    def begins(self, symbol: str) -> int:
        return int(self._bars[symbol].opens[0])


def engine_of(
    market: Market,
    rows: dict[str, list[Row]],
    *,
    cash: str = "100000",
    half_spread_bp: str = "0",
    max_participation: str | None = None,
    seconds: int = 60,
) -> Engine:
    """An engine over hand-made bars, without a spread unless a test wants one."""
    source = HandMadeBars(market, {symbol: bars_of(listed, seconds) for symbol, listed in rows.items()})
    share = None if max_participation is None else Decimal(max_participation)
    return Engine(Feed(source, Decimal(half_spread_bp)), engine_rules(market, share), Decimal(cash), seed=1)


def ticket(
    client_id: str,
    symbol: str,
    side: Side,
    *,
    qty: str | None = None,
    funds: str | None = None,
    limit: str | None = None,
    force: Force = Force.DAY,
) -> Ticket:
    """A market ticket, or with `limit` a limit ticket."""
    return Ticket(
        client_id,
        symbol,
        side,
        Kind.MARKET if limit is None else Kind.LIMIT,
        force,
        qty=None if qty is None else Decimal(qty),
        funds=None if funds is None else Decimal(funds),
        limit_price=None if limit is None else Decimal(limit),
        wire={"ord_type": "market", "named": "yes"},
    )


def flat_minutes(day: str, prices: list[float], volume: float = 1000.0) -> list[Row]:
    """Consecutive minutes from `day` (UTC `2025-03-03 14:30`): each opens at one price and closes at the next."""
    start = utc(day)
    following = [*prices[1:], prices[-1]]
    return [
        (
            datetime.fromtimestamp(start.timestamp() + 60 * n, UTC),
            price,
            max(price, following[n]),
            min(price, following[n]),
            following[n],
            volume,
        )
        for n, price in enumerate(prices)
    ]


@contextmanager
def exchange_at(clock: str, **settings: object) -> Iterator[ExchangeHandle]:
    """A generated exchange on free ports that stands at `clock`, with limits that no test reaches by accident."""
    values: dict[str, object] = {
        "alpaca_port": 0,
        "upbit_port": 0,
        "clock": clock,
        "alpaca_trading_per_minute": 100_000,
        "alpaca_data_per_minute": 100_000,
        "upbit_quotation_per_second": 10_000,
        "upbit_exchange_per_second": 10_000,
        "upbit_order_per_second": 10_000,
        **settings,
    }
    with running_exchange(ExchangeConfig(**values)) as handle:  # type: ignore[arg-type]
        yield handle


def child_environment() -> dict[str, str]:
    """The environment in which a child process finds the package under test."""
    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


@contextmanager
def exchange_process(*options: str) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """The exchange as a process of its own with both addresses, read from its log; ended afterwards in any case.

    Ports of 0 and the log, never guessed ports: on a guessed one, another exchange might be the one that answers.
    """
    command = [sys.executable, "-m", "quant_pipeline.exchange", *options]
    process = subprocess.Popen(command, env=child_environment(), stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"Alpaca on port (\d+), Upbit on port (\d+)", line)
        assert found, f"the exchange did not start: {line}"
        yield process, f"http://127.0.0.1:{found[1]}", f"http://127.0.0.1:{found[2]}"
    finally:
        process.kill()
        process.wait(10)
        process.stderr.close()
