"""The regular grid on which "one day ago" is a fixed number of bars ago.

Here belongs how absent bars are put on the grid. What is computed on it belongs to the features.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

type FloatArray = npt.NDArray[np.float64]

_DAY_NS = 86_400_000_000_000


@dataclass(frozen=True, slots=True)
class DayGrid:
    """One symbol's series on the grid: bar starts (UTC), close and volume, and where each existing bar stands."""

    ts: npt.NDArray[np.datetime64]
    close: FloatArray
    volume: FloatArray
    bar_at: npt.NDArray[np.intp]


def day_grid(bars: pd.DataFrame, bars_per_day: int) -> DayGrid:
    """Put the bars of one symbol on the grid of `bars_per_day` bars.

    One bar a day: the existing bars are the grid, because only the calendar knows which days trade. More: a grid
    round the clock from the first bar to the last, where an absent bar had no trade: the close is carried forward
    and the volume is 0.

    Raises:
        ValueError: `bars_per_day` does not divide a day, bars are off the grid, repeated or unsorted.
    """
    if bars_per_day <= 0 or _DAY_NS % bars_per_day:
        msg = (
            f"bars_per_day={bars_per_day} does not divide a day of 24 hours; "
            "use 1 for daily bars, 24 for hourly bars of a market that never closes"
        )
        raise ValueError(msg)
    ts = bars["ts"].to_numpy(dtype="datetime64[ns]")
    close = bars["close"].to_numpy(dtype=np.float64)
    volume = bars["volume"].to_numpy(dtype=np.float64)
    if bars_per_day == 1 or ts.size == 0:
        return DayGrid(ts, close, volume, np.arange(ts.size))
    return _round_the_clock(ts, close, volume, _DAY_NS // bars_per_day)


def _round_the_clock(ts: npt.NDArray[np.datetime64], close: FloatArray, volume: FloatArray, step_ns: int) -> DayGrid:
    stamps = ts.astype(np.int64)
    bar_at, off = np.divmod(stamps - stamps[0], step_ns)
    if off.any() or (np.diff(bar_at) <= 0).any():
        wrong = ts[int(np.flatnonzero(off)[0])] if off.any() else ts[int(np.flatnonzero(np.diff(bar_at) <= 0)[0]) + 1]
        msg = f"bar at {wrong} does not fit a grid of {step_ns // 1_000_000_000} s: off the grid, repeated or unsorted"
        raise ValueError(msg)
    size = int(bar_at[-1]) + 1
    source = np.zeros(size, dtype=np.intp)
    source[bar_at] = np.arange(stamps.size)
    grid_volume = np.zeros(size)
    grid_volume[bar_at] = volume
    grid_ts = (stamps[0] + np.arange(size, dtype=np.int64) * step_ns).astype("datetime64[ns]")
    return DayGrid(grid_ts, close[np.maximum.accumulate(source)], grid_volume, bar_at)
