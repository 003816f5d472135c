"""Indicator formulas against small numbers worked out by hand, and against the library where it may be trusted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.indicators import formulas, ta
from quant_pipeline_tests.core.series import random_bars

NAN = np.nan
BARS = random_bars(1, ("A",), 300, flat=0.0)
CLOSE, HIGH, LOW, VOLUME = (BARS[name].to_numpy() for name in ("close", "high", "low", "volume"))


def array(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float64)


def test_sma_of_three() -> None:
    np.testing.assert_array_equal(formulas.sma(array(3, 6, 9, 0), 3), [NAN, NAN, 6.0, 5.0])


def test_ema_starts_with_the_mean_and_then_moves_half_way() -> None:
    # alpha = 2 / (3 + 1): mean of 2, 4, 6 is 4; then (4 + 10) / 2 = 7; (7 + 1) / 2 = 4.
    np.testing.assert_array_equal(ta.ema(array(2, 4, 6, 10, 1), 3), [NAN, NAN, 4.0, 7.0, 4.0])


def test_wilder_starts_with_the_mean_and_then_moves_by_a_quarter() -> None:
    # Mean of 4, 8, 4, 8 is 6; then 6 + (14 - 6) / 4 = 8; 8 + (0 - 8) / 4 = 6.
    np.testing.assert_array_equal(ta.wilder(array(4, 8, 4, 8, 14, 0), 4), [NAN, NAN, NAN, 6.0, 8.0, 6.0])


def test_smoothing_skips_leading_gaps_of_its_input() -> None:
    np.testing.assert_array_equal(ta.ema(array(NAN, NAN, 2, 4, 6, 10), 3), [NAN, NAN, NAN, NAN, 4.0, 7.0])


def test_rsi_of_two_bars_by_hand() -> None:
    # Changes +2, -1, +3: first means 1 and 0.5 give 100 * 1 / 1.5; then (1 + 3) / 2 = 2 and 0.25 give 100 * 2 / 2.25.
    found = formulas.rsi(array(10, 12, 11, 14), 2)
    np.testing.assert_allclose(found, [NAN, NAN, 100 / 1.5, 200 / 2.25], rtol=1e-15)


def test_rsi_is_100_when_nothing_falls_0_when_nothing_rises_and_nan_when_nothing_moves() -> None:
    assert formulas.rsi(array(1, 2, 3, 4), 2)[-1] == 100.0
    assert formulas.rsi(array(4, 3, 2, 1), 2)[-1] == 0.0
    assert np.isnan(formulas.rsi(array(5, 5, 5, 5), 2)).all()


def test_macd_by_hand() -> None:
    # EMA 1 is the price; EMA 3 of 2, 4, 6, 10, 1 is 4, 7, 4; the line 2, 3, -3; its EMA 2 starts at 2.5, then -7/6.
    line, signal, histogram = formulas.macd(array(2, 4, 6, 10, 1), 1, 3, 2)
    np.testing.assert_array_equal(line, [NAN, NAN, 2.0, 3.0, -3.0])
    np.testing.assert_allclose(signal, [NAN, NAN, NAN, 2.5, 2.5 / 3 - 2], rtol=1e-15)
    np.testing.assert_array_equal(histogram, line - signal)


def test_macd_with_fast_not_shorter_than_slow_is_refused() -> None:
    with pytest.raises(ValueError, match="fast period 26 must be shorter than the slow period 12"):
        formulas.macd(CLOSE, 26, 12, 9)


def test_bollinger_uses_the_population_deviation() -> None:
    # 2, 4, 4, 6: mean 4, population variance 2.
    lower, middle, upper = formulas.bollinger(array(2, 4, 4, 6), 4, 2.0)
    assert middle[-1] == 4.0
    np.testing.assert_allclose([lower[-1], upper[-1]], [4 - 2 * 2**0.5, 4 + 2 * 2**0.5], rtol=1e-15)


def test_true_range_and_atr_see_gaps() -> None:
    high, low, close = array(11, 12, 20, 9), array(9, 10, 18, 7), array(10, 11, 19, 8)
    np.testing.assert_array_equal(formulas.true_range(high, low, close), [NAN, 2.0, 9.0, 12.0])
    np.testing.assert_array_equal(formulas.atr(high, low, close, 2), [NAN, NAN, 5.5, 8.75])


def test_vwap_weighs_typical_prices_and_is_nan_without_volume() -> None:
    high, low, close = array(12, 24, 6, 6), array(6, 18, 6, 6), array(9, 18, 6, 6)
    found = formulas.vwap(high, low, close, array(1, 3, 0, 0), 2)
    np.testing.assert_array_equal(found, [NAN, (9 * 1 + 20 * 3) / 4, 20.0, NAN])


def test_stochastic_by_hand() -> None:
    high, low, close = array(10, 12, 14, 13), array(8, 9, 11, 7), array(9, 11, 14, 10)
    # Raw %K over 2: (11-8)/4, (14-9)/5, (10-7)/7.
    slow_k, slow_d = formulas.stochastic(high, low, close, 2, 2)
    raw = 100 * array(3 / 4, 1, 3 / 7)
    np.testing.assert_allclose(slow_k, [NAN, NAN, (raw[0] + raw[1]) / 2, (raw[1] + raw[2]) / 2], rtol=1e-15)
    np.testing.assert_allclose(slow_d[3], (raw[0] + 2 * raw[1] + raw[2]) / 4, rtol=1e-15)


def test_keltner_is_the_ema_with_two_average_ranges_on_each_side() -> None:
    lower, middle, upper = formulas.keltner(HIGH, LOW, CLOSE, 20, 10, 2.0)
    np.testing.assert_array_equal(middle, ta.ema(CLOSE, 20))
    np.testing.assert_allclose(upper - lower, np.where(np.isnan(middle), NAN, 4 * formulas.atr(HIGH, LOW, CLOSE, 10)))


def test_ichimoku_cloud_over_a_bar_was_known_base_bars_before() -> None:
    high, low = array(2, 4, 6, 8, 10, 12), array(0, 2, 2, 4, 8, 6)
    conversion, base, span_a, span_b = formulas.ichimoku(high, low, 1, 2, 3)
    np.testing.assert_array_equal(conversion, (high + low) / 2)
    np.testing.assert_array_equal(base, [NAN, 2.0, 4.0, 5.0, 7.0, 9.0])
    np.testing.assert_array_equal(span_a, [NAN, NAN, NAN, (3 + 2) / 2, (4 + 4) / 2, (6 + 5) / 2])
    np.testing.assert_array_equal(span_b, [NAN, NAN, NAN, NAN, 3.0, 5.0])


def test_rate_of_change_over_two_bars() -> None:
    np.testing.assert_array_equal(formulas.rate_of_change(array(4, 5, 6, 10), 2), [NAN, NAN, 0.5, 1.0])


PERIODS: dict[str, Callable[[int], object]] = {
    "SMA": lambda n: formulas.sma(CLOSE, n),
    "EMA": lambda n: ta.ema(CLOSE, n),
    "Wilder": lambda n: ta.wilder(CLOSE, n),
    "standard deviation": lambda n: ta.stdev(CLOSE, n),
    "RSI": lambda n: formulas.rsi(CLOSE, n),
    "ATR": lambda n: formulas.atr(HIGH, LOW, CLOSE, n),
    "VWAP": lambda n: formulas.vwap(HIGH, LOW, CLOSE, VOLUME, n),
    "stochastic %K": lambda n: formulas.stochastic(HIGH, LOW, CLOSE, n, 3),
    "stochastic %D": lambda n: formulas.stochastic(HIGH, LOW, CLOSE, 14, n),
    "Ichimoku": lambda n: formulas.ichimoku(HIGH, LOW, n, 26, 52),
    "rate of change": lambda n: formulas.rate_of_change(CLOSE, n),
}


@pytest.mark.parametrize("name", PERIODS)
@pytest.mark.parametrize("period", [0, -1, 2.5, True])
def test_bad_period_is_refused_by_name(name: str, period: int) -> None:
    with pytest.raises(ValueError, match=f"{name} period must be a positive whole number of bars, got {period!r}"):
        PERIODS[name](period)


@pytest.mark.parametrize("name", PERIODS)
@pytest.mark.parametrize("size", [0, 1, 3])
def test_too_few_bars_give_nan_of_the_same_length(name: str, size: int) -> None:
    high, low, close, volume = (values[:size] for values in (HIGH, LOW, CLOSE, VOLUME))
    results = {
        "SMA": formulas.sma(close, 5),
        "EMA": ta.ema(close, 5),
        "Wilder": ta.wilder(close, 5),
        "standard deviation": ta.stdev(close, 5),
        "RSI": formulas.rsi(close, 5),
        "ATR": formulas.atr(high, low, close, 5),
        "VWAP": formulas.vwap(high, low, close, volume, 5),
        "stochastic %K": formulas.stochastic(high, low, close, 5, 3)[0],
        "stochastic %D": formulas.stochastic(high, low, close, 5, 3)[1],
        "Ichimoku": formulas.ichimoku(high, low, 5, 7, 9)[3],
        "rate of change": formulas.rate_of_change(close, 5),
    }
    assert results[name].shape == (size,)
    assert np.isnan(results[name]).all()


def test_formulas_agree_with_the_library_where_it_may_be_trusted() -> None:
    pandas_ta = pytest.importorskip("pandas_ta")
    close, high, low = pd.Series(CLOSE), pd.Series(HIGH), pd.Series(LOW)
    macd = pandas_ta.macd(close, talib=False)
    bands = pandas_ta.bbands(close, length=20, lower_std=2.0, upper_std=2.0, ddof=0, talib=False)
    pairs = {
        "sma": (formulas.sma(CLOSE, 20), pandas_ta.sma(close, length=20, talib=False)),
        "ema": (ta.ema(CLOSE, 20), pandas_ta.ema(close, length=20, talib=False)),
        "macd line": (formulas.macd(CLOSE, 12, 26, 9)[0], macd.iloc[:, 0]),
        "macd histogram": (formulas.macd(CLOSE, 12, 26, 9)[2], macd.iloc[:, 1]),
        "macd signal": (formulas.macd(CLOSE, 12, 26, 9)[1], macd.iloc[:, 2]),
        "lower band": (formulas.bollinger(CLOSE, 20, 2.0)[0], bands.iloc[:, 0]),
        "upper band": (formulas.bollinger(CLOSE, 20, 2.0)[2], bands.iloc[:, 2]),
        "true range": (
            formulas.true_range(HIGH, LOW, CLOSE)[1:],
            pandas_ta.true_range(high, low, close, talib=False)[1:],
        ),
    }
    for name, (ours, theirs) in pairs.items():
        np.testing.assert_allclose(ours, theirs, rtol=1e-10, atol=1e-10, err_msg=name)
    # The library starts Wilder's mean with the first value; after 280 bars the start no longer shows.
    np.testing.assert_allclose(
        formulas.rsi(CLOSE, 14)[-20:], pandas_ta.rsi(close, length=14, talib=False)[-20:], atol=1e-6
    )
