"""Splits and dividends on bars: each session sees the past in its own units, and never an action to come."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.adjust import Adjustment, PriceAction, Ready, adjusted, views
from quant_pipeline.core.anchor import History, utc_sessions
from quant_pipeline.core.features import FEATURE_SET, compute_features
from quant_pipeline.core.indicators.compute import compute_indicators
from quant_pipeline_tests.core.series import all_sessions, one_symbol, random_bars

BARS = random_bars(5, ["AAA", "BBB"], 150, start="2024-01-01")
SESSIONS = all_sessions(BARS)
HISTORY = History("1d", 365)
PRICES = ["open", "high", "low", "close"]


def split(day: date, ratio: float, symbol: str = "X") -> PriceAction:
    return PriceAction(symbol, day, "split", ratio)


def dividend(day: date, amount: float, symbol: str = "X") -> PriceAction:
    return PriceAction(symbol, day, "dividend", amount)


def seen(bars: pd.DataFrame, basis: date, *actions: PriceAction, **ready: Ready) -> pd.DataFrame:
    return adjusted(bars, utc_sessions(bars["ts"]), Adjustment(actions, ready), basis)


def through(days: Sequence[date], splits: date | None = None, dividends: date | None = None) -> Ready:
    def each(value: date | None) -> np.ndarray:
        return np.array([value or "NaT"] * len(days), "datetime64[D]")

    return Ready(np.array(days, "datetime64[D]"), each(splits), each(dividends))


def test_bars_before_a_split_are_in_new_shares_from_its_day_on_and_not_before() -> None:
    bars = one_symbol([400.0, 404.0, 101.0], [10.0, 20.0, 80.0])
    action = split(date(2024, 1, 3), 4.0)
    after = seen(bars, date(2024, 1, 3), action)
    assert after["close"].tolist() == [100.0, 101.0, 101.0]
    assert after["volume"].tolist() == [40.0, 80.0, 80.0]
    assert seen(bars, date(2024, 1, 2), action) is bars


def test_a_dividend_takes_its_share_of_the_close_before_it_from_earlier_prices_and_leaves_volume() -> None:
    bars = one_symbol([50.0, 100.0, 98.0], [10.0, 20.0, 30.0])
    after = seen(bars, date(2024, 1, 3), dividend(date(2024, 1, 3), 2.0))
    assert after["close"].tolist() == [49.0, 98.0, 98.0]
    assert after["volume"].tolist() == bars["volume"].tolist()


def test_actions_multiply_and_each_dividend_is_in_the_units_of_its_day() -> None:
    bars = one_symbol([100.0, 100.0, 50.0, 50.0])
    after = seen(bars, date(2024, 1, 4), split(date(2024, 1, 3), 2.0), dividend(date(2024, 1, 4), 1.0))
    assert after["close"].tolist() == pytest.approx([49.0, 49.0, 49.0, 50.0], rel=1e-15)


def test_a_reverse_split_raises_earlier_prices() -> None:
    after = seen(one_symbol([1.0, 10.0], [100.0, 10.0]), date(2024, 1, 2), split(date(2024, 1, 2), 0.1))
    assert after["close"].tolist() == pytest.approx([10.0, 10.0])
    assert after["volume"].tolist() == pytest.approx([10.0, 10.0])


def test_bars_that_came_adjusted_are_not_adjusted_twice_and_later_splits_still_are() -> None:
    bars = one_symbol([100.0, 101.0, 102.0, 51.0])
    days = [date(2024, 1, day) for day in (1, 2)]
    old, new = split(date(2024, 1, 2), 4.0), split(date(2024, 1, 4), 2.0)
    after = seen(bars, date(2024, 1, 4), old, new, X=through(days, splits=date(2024, 1, 3)))
    assert after["close"].tolist() == [50.0, 50.5, 51.0, 51.0]


def test_a_dividend_before_bars_adjusted_for_a_later_split_is_scaled_with_them() -> None:
    # Bars in units after the 4:1 split of January 4, as a vendor wrote them on the 5th: 2 dollars were 0.5 of these.
    bars = one_symbol([25.0, 24.5, 24.5, 24.5])
    days = [date(2024, 1, day) for day in (1, 2, 3)]
    ready = through(days, splits=date(2024, 1, 5))
    after = seen(bars, date(2024, 1, 4), dividend(date(2024, 1, 2), 2.0), split(date(2024, 1, 4), 4.0), X=ready)
    assert after["close"].tolist() == pytest.approx([24.5, 24.5, 24.5, 24.5])


def test_a_dividend_that_exceeds_the_price_changes_nothing() -> None:
    bars = one_symbol([1.0, 1.0])
    assert seen(bars, date(2024, 1, 2), dividend(date(2024, 1, 2), 1.0)) is bars


@pytest.mark.parametrize("value", [0.0, -2.0, float("nan"), float("inf")])
def test_a_ratio_that_no_price_can_follow_is_refused_by_name(value: float) -> None:
    with pytest.raises(ValueError, match="split of X on 2024-01-02 has the value"):
        split(date(2024, 1, 2), value)


def _features(sessions: Sequence[date], adjustment: Adjustment, bars: pd.DataFrame = BARS) -> pd.DataFrame:
    """Features and indicators of `sessions`, each session through its own view."""
    found = []
    for view in views(bars, utc_sessions(bars["ts"]), sessions, adjustment):
        left = compute_features(view.bars, view.sessions, history=HISTORY)
        right = compute_indicators(view.bars, view.sessions, history=HISTORY)
        found.append(left.merge(right.drop(columns="session"), on=["symbol", "ts"]))
    return pd.concat(found, ignore_index=True).sort_values(["symbol", "ts"], ignore_index=True)


_ACTIONS = st.lists(
    st.tuples(
        st.sampled_from(["AAA", "BBB"]),
        st.integers(0, len(SESSIONS) + 20),
        st.one_of(
            st.tuples(st.just("split"), st.sampled_from([4.0, 1.5, 1 / 3, 7.0])),
            st.tuples(st.just("dividend"), st.floats(0.01, 3.0)),
        ),
    ),
    max_size=6,
    unique_by=lambda item: (item[0], item[1], item[2][0]),
)


def _adjustment(drawn: list) -> Adjustment:
    return Adjustment(tuple(PriceAction(s, SESSIONS[0] + timedelta(days=n), *kind) for s, n, kind in drawn))


@settings(max_examples=25, deadline=None)
@given(_ACTIONS, st.integers(60, 140), st.integers(1, 40))
def test_one_session_alone_a_range_and_everything_give_the_same_bytes(drawn: list, at: int, length: int) -> None:
    adjustment = _adjustment(drawn)
    whole = _features(SESSIONS[60:], adjustment)
    for part in ([SESSIONS[at]], SESSIONS[at : at + length]):
        alone = _features(part, adjustment)
        kept = whole[whole["session"].isin(part)].reset_index(drop=True)
        pd.testing.assert_frame_equal(alone, kept, check_exact=True)


@settings(max_examples=25, deadline=None)
@given(_ACTIONS, st.integers(60, 140))
def test_no_session_sees_an_action_to_come(drawn: list, at: int) -> None:
    day = SESSIONS[at]
    adjustment = _adjustment(drawn)
    known = Adjustment(tuple(action for action in adjustment.actions if action.ex_date <= day))
    pd.testing.assert_frame_equal(_features([day], adjustment), _features([day], known), check_exact=True)
    cut = BARS[BARS["ts"].dt.date <= day].reset_index(drop=True)
    pd.testing.assert_frame_equal(_features([day], adjustment), _features([day], known, cut), check_exact=True)


def test_features_through_a_split_inside_a_month_are_those_of_a_share_that_never_split() -> None:
    day = SESSIONS[100]
    after = ((BARS["symbol"] == "AAA") & (BARS["ts"].dt.date >= day)).to_numpy()
    raw = BARS.copy()
    # A quarter and four times are exact in binary, so nothing may differ, not even in the last bit.
    raw.loc[after, PRICES] /= 4.0
    raw.loc[after, "volume"] *= 4.0
    columns = list(FEATURE_SET.columns)
    split_away = _features(SESSIONS[60:], Adjustment((split(day, 4.0, "AAA"),)), raw)[columns]
    pd.testing.assert_frame_equal(split_away, _features(SESSIONS[60:], Adjustment())[columns], check_exact=True)
    crash = _features(SESSIONS[60:], Adjustment(), raw)[columns]
    assert crash["returns_5d"].min() < -0.7 < split_away["returns_5d"].min()


def test_symbols_without_an_action_are_in_one_view_of_all_sessions() -> None:
    days = utc_sessions(BARS["ts"])
    (only,) = views(BARS, days, SESSIONS[60:70], Adjustment((split(SESSIONS[60], 2.0, "AAA"),)))
    assert only.sessions == tuple(SESSIONS[60:70])
    parts = views(BARS, days, SESSIONS[60:70], Adjustment((split(SESSIONS[65], 2.0, "AAA"),)))
    found = {(symbol, view.sessions) for view in parts for symbol in view.bars["symbol"].unique()}
    first, second = tuple(SESSIONS[60:65]), tuple(SESSIONS[65:70])
    assert found == {("AAA", first), ("AAA", second), ("BBB", tuple(SESSIONS[60:70]))}
