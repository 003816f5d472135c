"""The eight features and the target: hand-checked numbers, an independent daily reference, edges."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.bars import empty_bars, resample
from quant_pipeline.core.features import (
    FEATURE_SET,
    FEATURE_SETS,
    compute_features,
    get_feature_set,
    target,
    target_known_at,
)
from quant_pipeline_tests.core.series import all_sessions, one_symbol, random_bars


def last_row(bars: pd.DataFrame, bars_per_day: int = 1) -> dict[str, float]:
    rows = compute_features(bars, all_sessions(bars), bars_per_day=bars_per_day)
    return rows.iloc[-1][list(FEATURE_SET.columns)].to_dict()


def plain_daily(bars: pd.DataFrame) -> pd.DataFrame:
    """The same eight formulas in the most ordinary pandas, as a second opinion."""
    close, volume = bars["close"], bars["volume"]
    returns, change = close.pct_change(), close.diff()
    gain, loss = (part.rolling(14).mean() for part in (change.clip(lower=0), -change.clip(upper=0)))
    mean_20 = close.rolling(20).mean()
    return pd.DataFrame(
        {
            "returns_5d": close.pct_change(5),
            "returns_20d": close.pct_change(20),
            "rsi_sma_14": 100 - 100 / (1 + gain / loss),
            "bb_width": 4 * close.rolling(20).std() / mean_20,
            "volume_ratio": volume / volume.rolling(20).mean(),
            "volatility_20d": returns.rolling(20).std(),
            "momentum_score": close / close.rolling(10).mean() - 1,
            "trend_strength": (close.rolling(5).mean() - mean_20) / mean_20,
        }
    )


def test_straight_line_from_101_to_121_gives_numbers_one_can_check_by_hand() -> None:
    found = last_row(one_symbol(range(101, 122), volume=[1.0] * 20 + [39.0]))
    assert found["returns_5d"] == 121 / 116 - 1
    assert found["returns_20d"] == 121 / 101 - 1
    assert found["rsi_sma_14"] == 100.0
    # Twenty consecutive integers: mean 111.5, sample variance n(n+1)/12 = 35.
    assert found["bb_width"] == pytest.approx(4 * np.sqrt(35.0) / 111.5, rel=1e-15)
    assert found["volume_ratio"] == 39.0 / (58.0 / 20.0)
    assert found["momentum_score"] == 121 / 116.5 - 1
    assert found["trend_strength"] == (119.0 - 111.5) / 111.5
    assert found["volatility_20d"] == pytest.approx(np.std([1 / k for k in range(101, 121)], ddof=1), rel=1e-12)


def test_three_gains_of_two_against_eleven_losses_of_one() -> None:
    steps = [-1, -1, 2, -1, -1, -1, 2, -1, -1, -1, -1, 2, -1, -1]
    close = 100 + np.concatenate((np.zeros(8), np.cumsum(steps)))
    assert last_row(one_symbol(close))["rsi_sma_14"] == pytest.approx(100 * 6 / 17, rel=1e-15)


def test_daily_features_agree_with_ordinary_pandas() -> None:
    bars = random_bars(1, ("A",), 400, flat=0.0)
    found = compute_features(bars, all_sessions(bars))
    expected = plain_daily(bars)
    assert tuple(expected.columns) == FEATURE_SET.columns
    for name in FEATURE_SET.columns:
        np.testing.assert_allclose(found[name], expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_hourly_features_at_midnight_close_equal_daily_features() -> None:
    """At the last hour of a UTC day the hourly formula must see exactly the daily bars."""
    hours = random_bars(2, ("A", "B"), 24 * 40, interval="1h", absent=0.3, flat=0.0)
    days = resample(hours, "1h", "1d")
    daily = compute_features(days, all_sessions(days))
    hourly = compute_features(hours, all_sessions(hours), bars_per_day=24)
    midnight = hourly[hourly["ts"].dt.hour == 23]
    both = midnight.merge(daily, on=["symbol", "session"], suffixes=("", "_daily")).dropna()
    assert len(both) > 20
    for name in FEATURE_SET.columns:
        np.testing.assert_allclose(both[name], both[f"{name}_daily"], rtol=1e-9, atol=1e-12, err_msg=name)


@pytest.mark.parametrize(("bars_per_day", "interval"), [(1, "1d"), (24, "1h"), (6, "4h")])
def test_values_are_defined_after_exactly_the_declared_warmup(bars_per_day: int, interval: str) -> None:
    warmup = FEATURE_SET.warmup_bars(bars_per_day)
    bars = random_bars(3, ("A",), warmup + 3, interval=interval, flat=0.0)
    rows = compute_features(bars, all_sessions(bars), bars_per_day=bars_per_day)
    complete = rows[list(FEATURE_SET.columns)].notna().all(axis=1)
    assert complete.tolist() == [False] * warmup + [True] * 3


def test_flat_prices_and_no_volume_give_nan_never_infinity_or_a_stand_in() -> None:
    found = last_row(one_symbol([50.0] * 30, volume=[0.0] * 30))
    assert np.isnan(found["rsi_sma_14"])
    assert np.isnan(found["volume_ratio"])
    assert [found[name] for name in ("returns_5d", "bb_width", "volatility_20d", "trend_strength")] == [0.0] * 4


def test_a_missing_price_spoils_only_the_windows_that_hold_it() -> None:
    bars = random_bars(4, ("A",), 60, flat=0.0)
    whole = compute_features(bars, all_sessions(bars))
    bars.loc[25, "close"] = np.nan
    rows = compute_features(bars, all_sessions(bars))
    assert rows.loc[25:45, "returns_20d"].isna().sum() == 2
    assert rows.loc[26:45, "volatility_20d"].isna().all()
    pd.testing.assert_frame_equal(rows.iloc[46:], whole.iloc[46:])


def test_no_bars_and_unknown_sessions_give_no_rows() -> None:
    assert compute_features(empty_bars(), [date(2024, 1, 2)]).empty
    assert tuple(compute_features(empty_bars(), []).columns) == ("symbol", "ts", "session", *FEATURE_SET.columns)
    assert compute_features(random_bars(5, ("A",), 30), [date(1999, 1, 1)]).empty


def test_feature_sets_are_found_by_name_and_version() -> None:
    assert get_feature_set("basic8", 1) is FEATURE_SET
    with pytest.raises(ValueError, match="unknown feature set 'basic8' version 2; registered are basic8 v1"):
        get_feature_set("basic8", 2)


def test_target_is_the_return_over_the_horizon_and_unknown_at_the_end() -> None:
    bars = one_symbol([100.0, 110.0, 99.0, 120.0])
    np.testing.assert_array_equal(target(bars, 1), [110 / 100 - 1, 99 / 110 - 1, 120 / 99 - 1, np.nan])
    np.testing.assert_array_equal(target(bars, 2), [99 / 100 - 1, 120 / 110 - 1, np.nan, np.nan])
    known = target_known_at(bars, 2)
    assert known[:2].tolist() == bars["ts"][2:].tolist()
    assert known[2:].isna().all()
    assert str(known.dtype) == "datetime64[ns, UTC]"


def test_target_longer_than_the_series_is_unknown_everywhere() -> None:
    bars = random_bars(6, ("A", "B"), 5)
    assert target(bars, 5).isna().all()
    assert target_known_at(bars, 9).isna().all()


def test_target_never_reaches_into_the_next_symbol() -> None:
    bars = random_bars(7, ("A", "B"), 30)
    alone = [target(bars[bars["symbol"] == name].reset_index(drop=True), 3) for name in ("A", "B")]
    pd.testing.assert_series_equal(target(bars, 3), pd.concat(alone, ignore_index=True))


def test_hourly_target_counts_hours_even_where_nothing_traded() -> None:
    bars = random_bars(8, ("A",), 60, interval="1h").drop(index=[24, 30]).reset_index(drop=True)
    found, known = target(bars, 24, 24), target_known_at(bars, 24, 24)
    # The bar 24 hours after the first is absent: its close is the one carried from hour 23.
    assert found[0] == bars["close"][23] / bars["close"][0] - 1
    assert known[0] == bars["ts"][0] + pd.Timedelta(hours=24)
    has_target = known.notna()
    assert (known[has_target] - bars["ts"][has_target] == pd.Timedelta(hours=24)).all()
    assert has_target.equals(found.notna().rename("target_known_at"))


def test_target_is_settled_by_the_bar_it_is_known_at() -> None:
    """Bars after `target_known_at` must not matter, or purging by it would not be enough."""
    bars = random_bars(9, ("A",), 80)
    known = target_known_at(bars, 5)
    shaken = bars.assign(close=bars["close"].where(bars.index < 60, 1.0))
    settled = known < bars["ts"][60]
    assert settled.sum() == 55
    assert target(bars, 5)[settled].equals(target(shaken, 5)[settled])


def test_a_horizon_that_is_not_positive_is_refused() -> None:
    with pytest.raises(ValueError, match="horizon of 0 bars is not positive"):
        target(random_bars(10, ("A",), 5), 0)


def test_columns_that_look_across_symbols_must_be_columns_and_none_ships() -> None:
    assert all(not one.cross_sectional for one in FEATURE_SETS)
    with pytest.raises(ValueError, match="cross_sectional names 'rank', which is none of its columns"):
        replace(FEATURE_SET, cross_sectional=("rsi_sma_14", "rank"))
