"""Contract: no registered indicator, feature set or strategy looks ahead, and a planted leak is caught."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.features import FEATURE_SETS, FeatureSet, basic_features, compute_features
from quant_pipeline.core.indicators import INDICATORS, Indicator, compute_indicators
from quant_pipeline.core.strategies import STRATEGIES, Strategy, compute_signals
from quant_pipeline_tests.core.causality import Compute, LookAheadError, check_no_look_ahead
from quant_pipeline_tests.core.series import all_sessions, random_bars

type Leak = Callable[[np.ndarray], np.ndarray]

SYMBOLS = ("KRW-BTC", "KRW-ETH")


def indicators_of(*indicators: Indicator) -> Compute:
    return lambda bars: compute_indicators(bars, all_sessions(bars), indicators=indicators)


def features_of(feature_set: FeatureSet, bars_per_day: int) -> Compute:
    return lambda bars: compute_features(bars, all_sessions(bars), bars_per_day=bars_per_day, feature_set=feature_set)


def signals_of(strategy: Strategy) -> Compute:
    def compute(bars: pd.DataFrame) -> pd.DataFrame:
        rows = compute_indicators(bars, all_sessions(bars))
        return compute_signals(rows.assign(external_signal=0.25), {strategy.name: 1.0}, strategies=(strategy,))

    return compute


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda item: item.name)
def test_indicator_does_not_look_ahead(indicator: Indicator) -> None:
    check_no_look_ahead(indicators_of(indicator), random_bars(1, SYMBOLS, 200))


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda item: item.name)
def test_indicator_of_hourly_bars_with_gaps_does_not_look_ahead(indicator: Indicator) -> None:
    check_no_look_ahead(indicators_of(indicator), random_bars(2, SYMBOLS, 800, interval="1h", absent=0.1), cuts=4)


@pytest.mark.parametrize("feature_set", FEATURE_SETS, ids=lambda item: f"{item.name}-v{item.version}")
def test_daily_features_do_not_look_ahead(feature_set: FeatureSet) -> None:
    check_no_look_ahead(features_of(feature_set, 1), random_bars(3, SYMBOLS, 120))


@pytest.mark.parametrize("feature_set", FEATURE_SETS, ids=lambda item: f"{item.name}-v{item.version}")
def test_hourly_features_with_gaps_do_not_look_ahead(feature_set: FeatureSet) -> None:
    check_no_look_ahead(features_of(feature_set, 24), random_bars(4, SYMBOLS, 1200, interval="1h", absent=0.2))


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda item: item.name)
def test_strategy_does_not_look_ahead(strategy: Strategy) -> None:
    check_no_look_ahead(signals_of(strategy), random_bars(5, SYMBOLS, 150), cuts=6)


def _leaking_indicator(compute: Leak) -> Indicator:
    return Indicator("leak", ("leak",), 1, 0, lambda bars: {"leak": compute(bars["close"])})


LEAKS: dict[str, Leak] = {
    "next bar": lambda close: pd.Series(close).shift(-1).to_numpy(),
    "centred window": lambda close: pd.Series(close).rolling(5, center=True).mean().to_numpy(),
    "scaled by the whole series": lambda close: close / close.max(),
    "backward fill": lambda close: pd.Series(np.where(close > close[0], close, np.nan)).bfill().to_numpy(),
    "epsilon when any later bar is flat": lambda close: close + (np.diff(close, prepend=0.0) == 0.0).any() * 1e-12,
}


@pytest.mark.parametrize("leak", LEAKS.values(), ids=LEAKS.keys())
def test_planted_leak_in_an_indicator_is_caught(leak: Leak) -> None:
    with pytest.raises(LookAheadError, match="leak at KRW-"):
        check_no_look_ahead(indicators_of(_leaking_indicator(leak)), random_bars(6, SYMBOLS, 120, flat=0.0))


def test_library_bands_used_whole_would_leak() -> None:
    """Why `ta` does not use the library's percent column: a flat stretch later shifts all of it by an epsilon."""
    pandas_ta = pytest.importorskip("pandas_ta")

    def percent(close: np.ndarray) -> np.ndarray:
        bands = pandas_ta.bbands(pd.Series(close), length=5, talib=False)
        return np.full(close.size, np.nan) if bands is None else bands.iloc[:, 4].to_numpy()

    small = random_bars(6, SYMBOLS, 120, flat=0.0)
    for name in ("open", "high", "low", "close"):
        small[name] = small[name] / 1e12
    with pytest.raises(LookAheadError, match="flattened"):
        check_no_look_ahead(indicators_of(_leaking_indicator(percent)), small)


def test_planted_leak_in_a_feature_set_is_caught() -> None:
    def compute(close: np.ndarray, volume: np.ndarray, day: int) -> dict[str, np.ndarray]:
        honest = basic_features(close, volume, day)
        return {"returns_5d": np.concatenate((honest["returns_5d"][1:], [np.nan]))}

    leaky = FeatureSet("leaky", 1, ("returns_5d",), 20, compute)
    with pytest.raises(LookAheadError, match="returns_5d"):
        check_no_look_ahead(features_of(leaky, 1), random_bars(7, SYMBOLS, 120))


def test_planted_leak_in_a_strategy_is_caught() -> None:
    def vote(frame: pd.DataFrame) -> np.ndarray:
        return np.sign(frame.groupby("symbol")["return_1"].shift(-1)).to_numpy(dtype=np.float64)

    leaky = Strategy("leaky", 1, ("return_1",), vote)
    with pytest.raises(LookAheadError, match=r"score|vote"):
        check_no_look_ahead(signals_of(leaky), random_bars(8, SYMBOLS, 120))
