"""Prices that a test writes down, as files of minute bars that the simulated exchange serves and fills on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import Market
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.bars import BarChange, upsert_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage

type Steps = Sequence[tuple[float, float]]
"""(minutes after the open, price from then on), ascending; NaN: no trades."""

type Script = Mapping[str, Mapping[date, Steps]]
"""What each symbol does in which session; a session that is not named keeps the last price."""

VOLUME = 1000.0
STORED = datetime(2026, 6, 30, 12, tzinfo=UTC)
"""When `store_bars` says that a venue gave the bars, unless told otherwise."""


def write_prices(folder: Path, market: Market, script: Script, sessions: Sequence[date]) -> None:
    """Write the minutes of `sessions` where an exchange with `data_dir=folder` looks for bars of `market`."""
    for symbol, days in script.items():
        path = folder / market.name / symbol / "1m.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        minute_bars(market, symbol, days, sessions).to_parquet(path, index=False)


def minute_bars(market: Market, symbol: str, days: Mapping[date, Steps], sessions: Sequence[date]) -> pd.DataFrame:
    """A bar frame of every minute of `sessions`, flat between steps. The first session must start with a price."""
    price: float | None = None
    frames: list[pd.DataFrame] = []
    for session in sessions:
        hours = calendar.session_hours(market.calendar, session)
        steps = list(days.get(session, ()))
        if price is not None and (not steps or steps[0][0] > 0):
            steps.insert(0, (0, price))
        starts = pd.date_range(hours.opens_at, hours.closes_at, freq="1min", inclusive="left", unit="ns")
        begins = np.array([minute for minute, _ in steps])
        at = np.searchsorted(begins, np.arange(len(starts)), side="right") - 1
        values = np.array([value for _, value in steps], np.float64)[at]
        traded = np.isfinite(values)
        price = float(values[traded][-1]) if traded.any() else price
        starts, values = starts[traded], values[traded]
        frames.append(pd.DataFrame({"symbol": symbol, "ts": starts, **dict.fromkeys(_PRICES, values)}))
    return pd.concat(frames, ignore_index=True).assign(volume=VOLUME)


def daily_walk(symbol: str, sessions: Sequence[date], *, seed: int, calendar_name: str = "nyse") -> pd.DataFrame:
    """Daily bars of a random walk."""
    return _walk(symbol, [calendar.daily_bar_start(calendar_name, session) for session in sessions], seed)


def hourly_walk(symbol: str, days: Sequence[date], *, seed: int) -> pd.DataFrame:
    """Hourly bars of a random walk, round the clock."""
    return _walk(symbol, [datetime(d.year, d.month, d.day, hour, tzinfo=UTC) for d in days for hour in range(24)], seed)


def _walk(symbol: str, starts: Sequence[datetime], seed: int) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.02, len(starts))))
    opened = close * np.exp(random.normal(0, 0.005, len(starts)))
    prices = {"open": opened, "high": np.maximum(opened, close) * 1.01, "low": np.minimum(opened, close) * 0.99}
    volume = random.integers(1000, 9000, len(starts)).astype(np.float64)
    ts = pd.DatetimeIndex(starts).as_unit("ns")
    return pd.DataFrame({"symbol": symbol, "ts": ts, **prices, "close": close, "volume": volume})


def store_bars(
    desk: Desk, market: str, interval: str, frame: pd.DataFrame, *, at: datetime = STORED, adjustment: str = "raw"
) -> BarChange:
    """Put bars into the ledger's database as an import of complete sessions would; known coverage is left as it is."""
    change = upsert_bars(desk.db, market, interval, frame, source="test", feed="test", adjustment=adjustment, at=at)
    days = frame["ts"].dt.date
    known = {
        (c.session, c.symbol) for c in read_coverage(desk.db, market, None, days.min(), days.max(), interval=interval)
    }
    rows = []
    for (symbol, session), ts in frame["ts"].groupby([frame["symbol"], days]):
        if (session, symbol) not in known:
            n, first, last = len(ts), ts.min().to_pydatetime(), ts.max().to_pydatetime()
            rows.append(
                Coverage(
                    market, symbol, interval, session, n, n, 0, first, last, "test", "test", adjustment, "complete", at
                )
            )
    record_coverage(desk.db, rows)
    return change


_PRICES = ("open", "high", "low", "close")
