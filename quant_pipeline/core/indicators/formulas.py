"""The formulas of the indicators over plain arrays: what is computed, not from which bar on.

Every function takes float64 arrays of equal length in time order and returns arrays of that length, NaN where there
are not enough bars. None of them reads a later bar.
"""

from __future__ import annotations

import numpy as np

from quant_pipeline.core.indicators.ta import FloatArray, check_period, ema, stdev, undefined, wilder
from quant_pipeline.core.windowed import divide, lag, window_max, window_mean, window_min, window_sum


def sma(close: FloatArray, period: int) -> FloatArray:
    """Simple mean of the last `period` values."""
    check_period("SMA", period)
    return window_mean(close, period)


def rsi(close: FloatArray, period: int) -> FloatArray:
    """Relative strength index 0..100 in Wilder's form, started with the mean of the first `period` changes.

    NaN where nothing has moved yet (no gain and no loss).
    """
    check_period("RSI", period)
    change = close - lag(close, 1)
    gain = wilder(np.maximum(change, 0.0), period)
    loss = wilder(np.maximum(-change, 0.0), period)
    return 100.0 * divide(gain, gain + loss)


def macd(close: FloatArray, fast: int, slow: int, signal: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """MACD line (EMA fast - EMA slow, each started with its own mean), its signal EMA, and their difference.

    Raises:
        ValueError: a period is not positive, or `fast` is not shorter than `slow`.
    """
    if fast >= slow:
        msg = f"MACD fast period {fast} must be shorter than the slow period {slow}"
        raise ValueError(msg)
    line = ema(close, fast) - ema(close, slow)
    smoothed = ema(line, signal)
    return line, smoothed, line - smoothed


def bollinger(close: FloatArray, period: int, width: float) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lower band, middle (SMA) and upper band at `width` population standard deviations (ddof 0, as TA-Lib)."""
    middle = sma(close, period)
    deviation = stdev(close, period)
    return middle - width * deviation, middle, middle + width * deviation


def true_range(high: FloatArray, low: FloatArray, close: FloatArray) -> FloatArray:
    """Largest of high-low and the distances of high and low from the previous close; NaN on the first bar."""
    previous = lag(close, 1)
    reach: FloatArray = np.maximum(high - low, np.maximum(np.abs(high - previous), np.abs(low - previous)))
    return reach


def atr(high: FloatArray, low: FloatArray, close: FloatArray, period: int) -> FloatArray:
    """Average true range: Wilder's mean of the true range, in price units."""
    check_period("ATR", period)
    return wilder(true_range(high, low, close), period)


def vwap(high: FloatArray, low: FloatArray, close: FloatArray, volume: FloatArray, period: int) -> FloatArray:
    """Moving volume-weighted mean of the typical price over `period` bars; NaN where nothing traded."""
    check_period("VWAP", period)
    typical = (high + low + close) / 3.0
    return divide(window_sum(typical * volume, period), window_sum(volume, period))


def stochastic(high: FloatArray, low: FloatArray, close: FloatArray, k: int, d: int) -> tuple[FloatArray, FloatArray]:
    """Slow stochastic 0..100: %K (raw %K over `k` bars, smoothed over `d`) and %D (%K smoothed over `d`).

    NaN where the range of the window is zero.
    """
    check_period("stochastic %K", k)
    check_period("stochastic %D", d)
    lowest, highest = window_min(low, k), window_max(high, k)
    raw = 100.0 * divide(close - lowest, highest - lowest)
    slow_k = window_mean(raw, d)
    return slow_k, window_mean(slow_k, d)


def keltner(
    high: FloatArray, low: FloatArray, close: FloatArray, ema_period: int, atr_period: int, width: float
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Lower line, middle (EMA) and upper line at `width` average true ranges."""
    middle = ema(close, ema_period)
    reach = width * atr(high, low, close, atr_period)
    return middle - reach, middle, middle + reach


def ichimoku(
    high: FloatArray, low: FloatArray, conversion: int, base: int, span: int
) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
    """Conversion line, base line, and the two edges of the cloud that stands over each bar.

    The cloud over bar t was computed `base` bars earlier and drawn forward, so it uses nothing later than t. The
    lagging span (the close drawn `base` bars *back*) is left out: at bar t it would be a later close.
    """
    lines = [_midpoint(high, low, count) for count in (conversion, base, span)]
    leading_a = lag((lines[0] + lines[1]) / 2.0, base)
    return lines[0], lines[1], leading_a, lag(lines[2], base)


def _midpoint(high: FloatArray, low: FloatArray, period: int) -> FloatArray:
    check_period("Ichimoku", period)
    return (window_max(high, period) + window_min(low, period)) / 2.0


def rate_of_change(values: FloatArray, period: int) -> FloatArray:
    """Relative change over `period` bars: value / value `period` bars ago - 1."""
    check_period("rate of change", period)
    return divide(values, lag(values, period)) - 1.0 if values.size else undefined(0)
