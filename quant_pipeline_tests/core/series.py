"""Seeded bar frames for tests of core: random walks with gaps, flat stretches and halts of trading."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.core.values import BAR_COLUMNS


def random_bars(
    seed: int,
    symbols: Sequence[str],
    periods: int,
    *,
    interval: str = "1d",
    start: str = "2023-01-01",
    absent: float = 0.0,
    flat: float = 0.02,
) -> pd.DataFrame:
    """Random walks on a round-the-clock grid; `absent` of the bars are missing, `flat` of them have no range."""
    step = pd.Timedelta(seconds=interval_seconds(interval))
    frames = []
    for number, symbol in enumerate(symbols):
        rng = np.random.default_rng([seed, number])
        frame = _walk(rng, periods, flat)
        frame.insert(0, "ts", pd.date_range(start, periods=periods, freq=step, tz="UTC").astype("datetime64[ns, UTC]"))
        frame.insert(0, "symbol", symbol)
        frames.append(frame[rng.random(periods) >= absent])
    return pd.concat(frames)[list(BAR_COLUMNS)].sort_values(["symbol", "ts"]).reset_index(drop=True)


def _walk(rng: np.random.Generator, periods: int, flat: float) -> pd.DataFrame:
    close = 100.0 * np.cumprod(1.0 + rng.normal(0.0003, 0.015, periods))
    opens = np.concatenate(([100.0], close[:-1])) * (1.0 + rng.normal(0.0, 0.002, periods))
    high = np.maximum(opens, close) * (1.0 + rng.exponential(0.004, periods))
    low = np.minimum(opens, close) * (1.0 - rng.exponential(0.004, periods))
    volume = np.round(rng.lognormal(10.0, 0.6, periods))
    still = rng.random(periods) < flat
    opens, high, low = (np.where(still, close, values) for values in (opens, high, low))
    return pd.DataFrame(
        {"open": opens, "high": high, "low": low, "close": close, "volume": np.where(still, 0.0, volume)}
    )


def all_sessions(bars: pd.DataFrame) -> list[date]:
    """Every UTC date on which the frame has a bar."""
    return sorted(set(bars["ts"].dt.date))


def one_symbol(
    close: Sequence[float], volume: Sequence[float] | None = None, start: str = "2024-01-01"
) -> pd.DataFrame:
    """Daily bars of symbol "X" that close at the given prices and have no range of their own."""
    prices = np.asarray(close, dtype=np.float64)
    ts = pd.date_range(start, periods=prices.size, freq="D", tz="UTC").astype("datetime64[ns, UTC]")
    amounts = np.ones(prices.size) if volume is None else np.asarray(volume, dtype=np.float64)
    columns = {
        "symbol": "X",
        "ts": ts,
        "open": prices,
        "high": prices,
        "low": prices,
        "close": prices,
        "volume": amounts,
    }
    return pd.DataFrame(columns)
