"""The versioned set of model inputs, and the target they are trained on.

Here belongs what a model sees and what it learns to predict. Indicators for the rule vote live in `indicators`;
scaling and fitting belong to the models.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.anchor import History, month_windows, session_days, symbol_blocks
from quant_pipeline.core.daygrid import DayGrid, day_grid
from quant_pipeline.core.indicators.compute import keyed_frame
from quant_pipeline.core.segments import SEAM, BoolArray, within_segments
from quant_pipeline.core.windowed import FloatArray, divide, lag, window_mean, window_std, window_sum


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """A named, versioned list of model inputs; a new column or formula is a new version.

    `compute` takes close and volume on a regular grid and the bars of one day on it, and returns one array per
    column. `warmup_days` is how many days before a bar its values reach back. `cross_sectional` names the columns
    whose values depend on other symbols: while it is empty, another symbol changes no value of those that are there.
    """

    name: str
    version: int
    columns: tuple[str, ...]
    warmup_days: int
    compute: Callable[[FloatArray, FloatArray, int], dict[str, FloatArray]]
    cross_sectional: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Refuse names that are no columns."""
        unknown = [name for name in self.cross_sectional if name not in self.columns]
        if unknown:
            msg = f"{self.name} v{self.version}: cross_sectional names {unknown[0]!r}, which is none of its columns"
            raise ValueError(msg)

    def warmup_bars(self, bars_per_day: int) -> int:
        """Bars before the first wanted one that must be there for it to be defined."""
        return self.warmup_days * bars_per_day


def basic_features(close: FloatArray, volume: FloatArray, bars_per_day: int) -> dict[str, FloatArray]:
    """The eight daily formulas, evaluated at every bar over the bars that lie whole days apart.

    With one bar a day they are the plain daily formulas. With more, "n days ago" is `n * bars_per_day` bars ago and
    the volume of a day is the sum over the trailing day, so a threshold keeps its daily meaning.

    - returns_5d, returns_20d: relative change of the close over 5 and 20 days.
    - rsi_sma_14: RSI 0..100 with plain means of the last 14 daily gains and losses.
    - bb_width: 4 * sample standard deviation of 20 closes / their mean.
    - volume_ratio: volume of the day / mean of the last 20.
    - volatility_20d: sample standard deviation of the last 20 one-day returns.
    - momentum_score: close / mean of the last 10 closes - 1.
    - trend_strength: (mean of 5 closes - mean of 20 closes) / mean of 20 closes.
    """
    day = bars_per_day
    mean_20 = window_mean(close, 20, day)
    returns = divide(close, lag(close, day)) - 1.0
    daily_volume = window_sum(volume, day)
    return {
        "returns_5d": divide(close, lag(close, 5 * day)) - 1.0,
        "returns_20d": divide(close, lag(close, 20 * day)) - 1.0,
        "rsi_sma_14": _rsi_of_means(close - lag(close, day), day),
        "bb_width": divide(4.0 * window_std(close, 20, day, ddof=1), mean_20),
        "volume_ratio": divide(daily_volume, window_mean(daily_volume, 20, day)),
        "volatility_20d": window_std(returns, 20, day, ddof=1),
        "momentum_score": divide(close, window_mean(close, 10, day)) - 1.0,
        "trend_strength": divide(window_mean(close, 5, day) - mean_20, mean_20),
    }


def _rsi_of_means(change: FloatArray, day: int) -> FloatArray:
    gain = window_mean(np.maximum(change, 0.0), 14, day)
    loss = window_mean(np.maximum(-change, 0.0), 14, day)
    return 100.0 * divide(gain, gain + loss)


FEATURE_SET = FeatureSet(
    name="basic8",
    version=1,
    columns=(
        "returns_5d",
        "returns_20d",
        "rsi_sma_14",
        "bb_width",
        "volume_ratio",
        "volatility_20d",
        "momentum_score",
        "trend_strength",
    ),
    warmup_days=20,
    compute=basic_features,
)
"""The set that ships. Standard deviations are sample ones (ddof 1), as in the system the formulas come from."""

FEATURE_SETS: tuple[FeatureSet, ...] = (FEATURE_SET,)
"""Every feature set that a model may name."""


def get_feature_set(name: str, version: int) -> FeatureSet:
    """The registered feature set of that name and version.

    Raises:
        ValueError: there is none; the message lists what there is.
    """
    for item in FEATURE_SETS:
        if (item.name, item.version) == (name, version):
            return item
    known = ", ".join(f"{item.name} v{item.version}" for item in FEATURE_SETS)
    msg = f"unknown feature set {name!r} version {version}; registered are {known}"
    raise ValueError(msg)


def compute_features(
    bars: pd.DataFrame,
    sessions: Sequence[date],
    session_of: Sequence[date] | npt.NDArray[Any] | pd.Series | None = None,
    *,
    bars_per_day: int = 1,
    feature_set: FeatureSet = FEATURE_SET,
    history: History | None = None,
) -> pd.DataFrame:
    """Feature values of every bar of the requested sessions.

    The month anchor of `anchor` applies, so the bytes do not depend on the range asked for: `bars` must reach back to
    `history.since` for `feature_set.warmup_bars(bars_per_day)`, or hold so many bars before the month. With more than
    one bar a day, absent bars count as bars without trade (close carried forward, volume 0) on a grid round the clock.
    With a column `seam` (see `segments`) a value that would mix the volumes of two feeds is NaN.

    Returns:
        Frame (symbol, ts, session, <columns>), sorted by (symbol, ts), one row per existing bar; NaN where a value
        is not defined or not finite: nothing is filled in, the consumer drops or flags the row.

    Raises:
        ValueError: `bars_per_day` does not divide a day, or a bar is off that grid.
    """
    days = session_days(bars, session_of)
    values = {column: np.full(len(bars), np.nan) for column in feature_set.columns}
    wanted = np.zeros(len(bars), dtype=bool)
    for window in month_windows(bars, days, sessions, feature_set.warmup_bars(bars_per_day), history):
        grid = day_grid(bars.iloc[window.start : window.stop], bars_per_day)
        computed = _computed(feature_set, grid, bars_per_day, _on_grid(bars, window.start, window.stop, grid))
        for column in feature_set.columns:
            on_bars = computed[column][grid.bar_at]
            values[column][window.keep] = np.where(np.isfinite(on_bars), on_bars, np.nan)[window.keep - window.start]
        wanted[window.keep] = True
    rows = np.flatnonzero(wanted)
    return keyed_frame(bars, days, rows, {column: array[rows] for column, array in values.items()})


def _computed(
    feature_set: FeatureSet, grid: DayGrid, bars_per_day: int, seams: BoolArray | None
) -> dict[str, FloatArray]:
    def compute(volume: FloatArray) -> dict[str, FloatArray]:
        return feature_set.compute(grid.close, volume, bars_per_day)

    return within_segments(grid.volume, seams, compute)


def _on_grid(bars: pd.DataFrame, start: int, stop: int, grid: DayGrid) -> BoolArray | None:
    """The seams of some bars, at their places on the grid."""
    if SEAM not in bars.columns:
        return None
    seams = np.zeros(grid.volume.shape, dtype=bool)
    seams[grid.bar_at] = bars[SEAM].to_numpy(dtype=bool)[start:stop]
    return seams


def target(bars: pd.DataFrame, horizon_bars: int, bars_per_day: int = 1) -> pd.Series:
    """What a model learns to predict: close `horizon_bars` later / close - 1, aligned at the bar itself.

    NaN where the horizon reaches past the symbol's last bar. With `bars_per_day` above 1 the horizon counts grid bars
    (24 hourly bars are 24 hours, whatever traded).

    Raises:
        ValueError: the horizon is not positive, or the bars do not fit the grid.
    """
    values = np.full(len(bars), np.nan)
    for begin, end, grid in _grids(bars, horizon_bars, bars_per_day):
        later = np.full(grid.close.shape, np.nan)
        later[:-horizon_bars] = grid.close[horizon_bars:]
        values[begin:end] = (divide(later, grid.close) - 1.0)[grid.bar_at]
    return pd.Series(values, index=bars.index, name="target")


def target_known_at(bars: pd.DataFrame, horizon_bars: int, bars_per_day: int = 1) -> pd.Series:
    """Start (UTC) of the bar whose close completes each row's `target`; NaT where the target is not defined.

    A row may be trained on only from the close of that bar on; purging compares this column with a time.
    """
    values = np.full(len(bars), np.datetime64("NaT"), dtype="datetime64[ns]")
    for begin, end, grid in _grids(bars, horizon_bars, bars_per_day):
        later = np.full(grid.ts.shape, np.datetime64("NaT"), dtype="datetime64[ns]")
        later[:-horizon_bars] = grid.ts[horizon_bars:]
        values[begin:end] = later[grid.bar_at]
    return pd.Series(values, index=bars.index, name="target_known_at").dt.tz_localize("UTC")


def _grids(bars: pd.DataFrame, horizon_bars: int, bars_per_day: int) -> list[tuple[int, int, DayGrid]]:
    if horizon_bars <= 0:
        msg = f"horizon of {horizon_bars} bars is not positive"
        raise ValueError(msg)
    return [(begin, end, day_grid(bars.iloc[begin:end], bars_per_day)) for _, begin, end in symbol_blocks(bars)]
