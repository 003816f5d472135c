"""The registry of indicators: an explicit tuple, nothing is discovered.

Here belongs which indicators exist, their columns and their warm-up. Formulas live in `formulas`, windows in `anchor`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from quant_pipeline.core.indicators import formulas, ta
from quant_pipeline.core.indicators.ta import FloatArray
from quant_pipeline.core.windowed import lag

type Bars = Mapping[str, FloatArray]
"""The bars of one symbol in time order: open, high, low, close, volume as float64 arrays of equal length."""

type Computed = Mapping[str, FloatArray]
"""One array per column, as long as the bars."""

_EMA_FACTOR = 6
"""An EMA's start has lost all but exp(-10) of its weight after 5 periods; one more for the mean it starts with."""
_WILDER_FACTOR = 12
"""The same for Wilder's mean, which forgets half as fast."""


@dataclass(frozen=True, slots=True)
class Indicator:
    """A named set of columns computed from the bars of one symbol.

    A value is defined from the `bars_needed`-th bar on and NaN before. `warmup` bars before the month take part, so
    that recursive means have forgotten their start (see `anchor`). `compute` reads nothing later than each bar.
    """

    name: str
    columns: tuple[str, ...]
    bars_needed: int
    warmup: int
    compute: Callable[[Bars], Computed]


def simple_average(period: int) -> Indicator:
    """SMA of the close."""
    name = f"sma_{period}"
    ta.check_period("SMA", period)
    return Indicator(name, (name,), period, period - 1, lambda bars: {name: formulas.sma(bars["close"], period)})


def exponential_average(period: int) -> Indicator:
    """EMA of the close."""
    name = f"ema_{period}"
    ta.check_period("EMA", period)
    warmup = _EMA_FACTOR * period
    return Indicator(name, (name,), period, warmup, lambda bars: {name: ta.ema(bars["close"], period)})


def ema_slope(period: int, over: int) -> Indicator:
    """Relative change of the close's EMA over `over` bars."""
    name = f"ema_{period}_slope_{over}"

    def compute(bars: Bars) -> Computed:
        return {name: formulas.rate_of_change(ta.ema(bars["close"], period), over)}

    return Indicator(name, (name,), period + over, _EMA_FACTOR * period + over, compute)


def relative_strength(period: int) -> Indicator:
    """RSI in Wilder's form (the SMA form is the feature `rsi_sma_14`)."""
    name = f"rsi_{period}"
    ta.check_period("RSI", period)
    warmup = _WILDER_FACTOR * period
    return Indicator(name, (name,), period + 1, warmup, lambda bars: {name: formulas.rsi(bars["close"], period)})


def moving_average_convergence(fast: int, slow: int, signal: int) -> Indicator:
    """MACD line, signal and histogram, and the histogram of the bar before (for crossings)."""
    columns = ("macd_line", "macd_signal", "macd_hist", "macd_hist_prev")

    def compute(bars: Bars) -> Computed:
        line, smoothed, histogram = formulas.macd(bars["close"], fast, slow, signal)
        return dict(zip(columns, (line, smoothed, histogram, lag(histogram, 1)), strict=True))

    return Indicator("macd", columns, slow + signal, _EMA_FACTOR * (slow + signal), compute)


def bollinger_bands(period: int, width: float) -> Indicator:
    """Bollinger bands with the population standard deviation."""
    columns = ("bb_lower", "bb_mid", "bb_upper")

    def compute(bars: Bars) -> Computed:
        return dict(zip(columns, formulas.bollinger(bars["close"], period, width), strict=True))

    return Indicator("bollinger", columns, period, period - 1, compute)


def average_true_range(period: int) -> Indicator:
    """ATR in Wilder's form."""
    name = f"atr_{period}"

    def compute(bars: Bars) -> Computed:
        return {name: formulas.atr(bars["high"], bars["low"], bars["close"], period)}

    return Indicator(name, (name,), period + 1, _WILDER_FACTOR * period, compute)


def moving_vwap(period: int) -> Indicator:
    """Volume-weighted mean of the typical price over the last bars (not anchored to a session)."""
    name = f"vwap_{period}"

    def compute(bars: Bars) -> Computed:
        h, lo, c, v = (bars[column] for column in ("high", "low", "close", "volume"))
        return {name: formulas.vwap(h, lo, c, v, period)}

    return Indicator(name, (name,), period, period - 1, compute)


def slow_stochastic(k: int, d: int) -> Indicator:
    """Slow stochastic %K and %D."""
    columns = ("stoch_k", "stoch_d")
    needed = k + 2 * (d - 1)

    def compute(bars: Bars) -> Computed:
        values = formulas.stochastic(bars["high"], bars["low"], bars["close"], k, d)
        return dict(zip(columns, values, strict=True))

    return Indicator("stochastic", columns, needed, needed - 1, compute)


def keltner_channel(ema_period: int, atr_period: int, width: float) -> Indicator:
    """Keltner channel round an EMA."""
    columns = ("keltner_lower", "keltner_mid", "keltner_upper")
    warmup = max(_EMA_FACTOR * ema_period, _WILDER_FACTOR * atr_period)

    def compute(bars: Bars) -> Computed:
        h, lo, c = (bars[column] for column in ("high", "low", "close"))
        return dict(zip(columns, formulas.keltner(h, lo, c, ema_period, atr_period, width), strict=True))

    return Indicator("keltner", columns, max(ema_period, atr_period + 1), warmup, compute)


def ichimoku_cloud(conversion: int, base: int, span: int) -> Indicator:
    """Ichimoku lines without anything drawn back from the future."""
    columns = ("ichimoku_conversion", "ichimoku_base", "ichimoku_span_a", "ichimoku_span_b")
    needed = span + base

    def compute(bars: Bars) -> Computed:
        lines = formulas.ichimoku(bars["high"], bars["low"], conversion, base, span)
        return dict(zip(columns, lines, strict=True))

    return Indicator("ichimoku", columns, needed, needed - 1, compute)


def closing_price() -> Indicator:
    """The bar's own close and its one-bar return, so that a vote needs nothing but the indicator frame."""

    def compute(bars: Bars) -> Computed:
        close = bars["close"]
        return {"close": close, "return_1": formulas.rate_of_change(close, 1)}

    return Indicator("close", ("close", "return_1"), 2, 1, compute)


INDICATORS: tuple[Indicator, ...] = (
    closing_price(),
    simple_average(20),
    simple_average(50),
    exponential_average(9),
    exponential_average(20),
    exponential_average(50),
    ema_slope(50, 5),
    relative_strength(14),
    moving_average_convergence(12, 26, 9),
    bollinger_bands(20, 2.0),
    average_true_range(14),
    moving_vwap(20),
    slow_stochastic(14, 3),
    keltner_channel(20, 10, 2.0),
    ichimoku_cloud(9, 26, 52),
)
"""Every indicator of the desk. Periods are in bars of the decision interval."""


def get_indicator(name: str) -> Indicator:
    """The registered indicator of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    for indicator in INDICATORS:
        if indicator.name == name:
            return indicator
    msg = f"unknown indicator {name!r}; registered are {', '.join(item.name for item in INDICATORS)}"
    raise ValueError(msg)
