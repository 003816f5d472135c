"""Volumes of two feeds: no value mixes them, and everything else stays as it was."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.core.features import FEATURE_SET, compute_features
from quant_pipeline.core.indicators.compute import compute_indicators
from quant_pipeline.core.segments import SEAM

DAYS = [date(2026, 1, 1) + timedelta(days=n) for n in range(120)]
_AT = 80


def _bars(per_day: int = 1) -> pd.DataFrame:
    random = np.random.default_rng(5)
    ts = [datetime(d.year, d.month, d.day, hour, tzinfo=UTC) for d in DAYS for hour in range(0, 24, 24 // per_day)]
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, len(ts))))
    prices = {"open": close, "high": close * 1.01, "low": close * 0.99, "close": close}
    volume = random.integers(900, 1100, len(ts)).astype(np.float64)
    return pd.DataFrame({"symbol": "A", "ts": pd.DatetimeIndex(ts).as_unit("ns"), **prices, "volume": volume})


def _with_seam(bars: pd.DataFrame, at: int) -> pd.DataFrame:
    later = np.arange(len(bars)) >= at
    return bars.assign(volume=bars["volume"] * np.where(later, 25.0, 1.0), **{SEAM: np.arange(len(bars)) == at})


@pytest.mark.parametrize("per_day", [1, 6])
def test_a_volume_feature_is_undefined_while_its_window_crosses_a_seam(per_day: int) -> None:
    plain, changed = _bars(per_day), _with_seam(_bars(per_day), _AT * per_day)
    before, after = (compute_features(frame, DAYS, bars_per_day=per_day) for frame in (plain, changed))
    others = [name for name in after.columns if name != "volume_ratio"]
    assert_frame_equal(after[others], before[others], check_exact=True)
    ratio, usual = after["volume_ratio"].to_numpy(), before["volume_ratio"].to_numpy()
    crossing = slice(_AT * per_day, (_AT + 20) * per_day - 1)
    assert np.isnan(ratio[crossing]).all()
    rest = np.ones(len(ratio), bool)
    rest[crossing] = False
    np.testing.assert_allclose(ratio[rest], usual[rest], rtol=1e-12)
    mixed = compute_features(changed.drop(columns=SEAM), DAYS, bars_per_day=per_day)["volume_ratio"].to_numpy()
    assert np.nanmax(mixed) > 5


def test_an_indicator_on_volume_is_undefined_while_its_window_crosses_a_seam() -> None:
    before, after = (compute_indicators(frame, DAYS) for frame in (_bars(), _with_seam(_bars(), _AT)))
    others = [name for name in after.columns if name != "vwap_20"]
    assert_frame_equal(after[others], before[others], check_exact=True)
    undefined = np.flatnonzero(after["vwap_20"].isna())
    assert undefined.tolist() == [*range(19), *range(_AT, _AT + 19)]


def test_a_session_alone_and_a_range_agree_around_a_seam() -> None:
    bars = _with_seam(_bars(), _AT)
    whole = compute_features(bars, DAYS)
    reach = FEATURE_SET.warmup_bars(1)
    for n in range(_AT - 2, _AT + 25):
        start = max(0, n - 31 - reach)
        alone = compute_features(bars.iloc[start : n + 1].reset_index(drop=True), [DAYS[n]])
        assert_frame_equal(alone, whole.iloc[[n]].reset_index(drop=True), check_exact=True)


def test_a_seam_at_the_first_bar_is_none() -> None:
    bars = _bars()
    assert_frame_equal(
        compute_features(_with_seam(bars, 0), DAYS), compute_features(bars.assign(volume=bars["volume"] * 25.0), DAYS)
    )
