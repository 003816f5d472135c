"""Jumps that look like a split nobody told of, and those that do not."""

from __future__ import annotations

from datetime import date

import pandas as pd
import pytest

from quant_pipeline.core.adjust import Adjustment, PriceAction
from quant_pipeline.core.anchor import utc_sessions
from quant_pipeline.core.jumps import Jump, unexplained_jump, unexplained_jumps
from quant_pipeline_tests.core.series import one_symbol

DAY = date(2024, 1, 3)


def jumps(bars: pd.DataFrame, *actions: PriceAction) -> tuple[Jump, ...]:
    return unexplained_jumps(bars, utc_sessions(bars["ts"]), Adjustment(actions))


@pytest.mark.parametrize(
    ("before", "after", "ratio"),
    [
        (400.0, 100.0, 4.0),
        (400.0, 103.9, 4.0),  # the night moved it as well
        (700.0, 100.0, 7.0),
        (150.0, 100.0, 1.5),
        (10.0, 100.0, 0.1),
        (10.0, 20.0, 0.5),
        (480.0, 100.0, 5.0),
        (1000.0, 15.3, 50.0),
    ],
)
def test_a_move_the_size_of_a_split_is_told_with_its_ratio(before: float, after: float, ratio: float) -> None:
    assert unexplained_jump(before, after) == pytest.approx(ratio)


@pytest.mark.parametrize(
    ("before", "after"),
    [(100.0, 100.0), (100.0, 74.0), (100.0, 130.0), (348.61, 245.2), (53.5, 28.19), (100.0, 40.0)],
)
def test_a_crash_or_a_leap_of_another_size_is_no_split(before: float, after: float) -> None:
    assert unexplained_jump(before, after) is None


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), float("inf")])
def test_prices_that_cannot_be_say_nothing(price: float) -> None:
    assert unexplained_jump(price, 100.0) is unexplained_jump(100.0, price) is None


def test_a_known_split_explains_the_move_and_a_wrong_one_is_told() -> None:
    assert unexplained_jump(400.0, 101.0, explained=0.25) is None
    assert unexplained_jump(400.0, 399.0, explained=0.25) == pytest.approx(0.25)


def test_jumps_of_a_series_are_found_between_sessions_and_name_what_mends_them() -> None:
    bars = one_symbol([400.0, 404.0, 101.0, 100.0])
    (found,) = jumps(bars)
    assert found == Jump("X", DAY, 404.0, 101.0, 4.0)
    assert "split of 4 for 1" in found.sentence()
    assert "import the action" in found.sentence()
    assert jumps(bars, PriceAction("X", DAY, "split", 4.0)) == ()
    assert jumps(one_symbol([100.0, 100.0, 100.0]), PriceAction("X", DAY, "split", 4.0))[0].ratio == pytest.approx(0.25)


def test_bars_years_apart_say_nothing_about_a_split() -> None:
    bars = pd.concat([one_symbol([400.0]), one_symbol([100.0], start="2024-01-16")], ignore_index=True)
    assert jumps(bars) == ()
    near = pd.concat([one_symbol([400.0]), one_symbol([100.0], start="2024-01-15")], ignore_index=True)
    assert len(jumps(near)) == 1


def test_a_fall_inside_a_session_is_no_split() -> None:
    minutes = one_symbol([400.0, 100.0]).assign(ts=pd.date_range("2024-01-02", periods=2, freq="min", tz="UTC"))
    assert jumps(minutes) == ()
