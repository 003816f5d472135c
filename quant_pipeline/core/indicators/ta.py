"""The typed door to pandas-ta, with its traps closed; nothing else in the package imports it.

- It is imported on first use (0.3 s beside pandas).
- `talib=False` always: otherwise results would depend on whether TA-Lib happens to be installed.
- It returns None for a series that is too short and puts a default for a bad period; here that is NaN and an error.
- Its Wilder average starts with the first value; TA-Lib and Wilder start with the mean of the first n (`wilder`).
- Its `sma` is not used: a convolution over BLAS that adds in the opposite order when the series is exactly as long as
  the window, so the first value of a month would differ between a tick and a range; it also compiles for 4 s once per
  numba cache. `formulas.sma` adds each window on its own.
- Its `macd`, `bbands`, `stoch` and `kc` are not used whole: `non_zero_range` adds an epsilon to the *whole* series
  when any bar has a range of zero, so a value would change with bars that come later.
"""

from __future__ import annotations

import importlib
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

type FloatArray = npt.NDArray[np.float64]


@cache
def _pandas_ta() -> Any:  # noqa: ANN401 - the library is not usable under strict typing
    return importlib.import_module("pandas_ta")


def check_period(name: str, period: object) -> None:
    """Refuse a period that is not a positive whole number, naming it.

    Raises:
        ValueError: the period is zero, negative, or not an integer.
    """
    if isinstance(period, bool) or not isinstance(period, int | np.integer) or period <= 0:
        msg = f"{name} period must be a positive whole number of bars, got {period!r}"
        raise ValueError(msg)


def ema(values: FloatArray, period: int) -> FloatArray:
    """Exponential mean with alpha = 2 / (period + 1), started with the mean of the first `period` defined values.

    Leading NaN are skipped, so the EMA of another indicator starts where that one does.
    """
    check_period("EMA", period)
    seeded = _seeded(values, period)
    if seeded is None:
        return undefined(values.size)
    return _array(_pandas_ta().ema(_series(seeded), length=period, talib=False, presma=False))


def wilder(values: FloatArray, period: int) -> FloatArray:
    """Wilder's mean with alpha = 1 / period, started with the mean of the first `period` defined values."""
    check_period("Wilder", period)
    seeded = _seeded(values, period)
    return undefined(values.size) if seeded is None else _array(_pandas_ta().rma(_series(seeded), length=period))


def stdev(values: FloatArray, period: int) -> FloatArray:
    """Population standard deviation (ddof 0, as TA-Lib) of the last `period` values."""
    check_period("standard deviation", period)
    if values.size < period:
        return undefined(values.size)
    return _array(_pandas_ta().stdev(_series(values), length=period, ddof=0, talib=False))


def undefined(size: int) -> FloatArray:
    """An array of NaN: not enough bars."""
    return np.full(size, np.nan)


def _seeded(values: FloatArray, period: int) -> FloatArray | None:
    """`values` with the mean of the first `period` defined ones as their start; None when there are too few."""
    defined = np.flatnonzero(~np.isnan(values))
    if defined.size == 0 or values.size - defined[0] < period:
        return None
    start = int(defined[0])
    seeded = values.copy()
    seeded[: start + period - 1] = np.nan
    seeded[start + period - 1] = values[start : start + period].mean()
    return seeded


def _series(values: FloatArray) -> pd.Series:
    return pd.Series(values, dtype=np.float64)


def _array(result: pd.Series | None) -> FloatArray:
    if result is None:
        msg = "pandas-ta gave no result for an input that is long enough; its version does not fit this package"
        raise TypeError(msg)
    return result.to_numpy(dtype=np.float64)
