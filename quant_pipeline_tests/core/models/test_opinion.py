from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from quant_pipeline.core.models.opinion import RESIDUAL_LEVELS, combine, confidence, identical_groups, residual_table
from quant_pipeline.core.models.samples import FloatArray

RESIDUALS = residual_table(np.linspace(-0.03, 0.03, 101))
returns = st.floats(-0.2, 0.2)
maybe_returns = st.one_of(returns, st.sampled_from([np.nan, np.inf, -np.inf]))


@given(arrays(np.float64, st.tuples(st.integers(1, 6), st.just(4)), elements=maybe_returns))
def test_confidence_follows_the_formula_and_stays_in_its_range(predictions: FloatArray) -> None:
    opinions = combine(predictions, (0, 1, 2, 3), 0.01, RESIDUALS)

    for row, values in enumerate(predictions):
        finite = values[np.isfinite(values)]
        assert opinions.usable[row] == len(finite)
        if len(finite) < 2:
            assert opinions.too_few[row]
            assert opinions.confidence[row] == 0.0
        else:
            spread = float(np.std(finite))
            expected = (1 - min(spread / 0.01, 0.9)) * len(finite) / 4
            assert opinions.confidence[row] == pytest.approx(expected, abs=1e-9)
            assert opinions.expected_return[row] == pytest.approx(float(np.mean(finite)), abs=1e-12)
            assert 0.1 * 2 / 4 - 1e-12 <= opinions.confidence[row] <= 1.0


@given(arrays(np.float64, (5, 4), elements=maybe_returns), st.integers(0, 4))
def test_a_row_alone_gives_the_same_bytes_as_in_a_batch(predictions: FloatArray, row: int) -> None:
    batch = combine(predictions, (0, 1, 1, 2), 0.01, RESIDUALS)
    alone = combine(predictions[row : row + 1], (0, 1, 1, 2), 0.01, RESIDUALS)

    for name in batch.__slots__:
        assert getattr(batch, name)[row].tobytes() == getattr(alone, name)[0].tobytes()


@given(st.lists(returns, min_size=2, max_size=4), st.floats(1.0, 5.0))
def test_a_wider_spread_never_raises_confidence(values: list[float], stretch: float) -> None:
    near = np.array([values])
    far = near.mean() + (near - near.mean()) * stretch
    groups = range(len(values))

    assert combine(far, groups, 0.01, None).confidence[0] <= combine(near, groups, 0.01, None).confidence[0] + 1e-9


def test_identical_members_count_as_one() -> None:
    predictions = np.array([[0.01, 0.01, 0.01, 0.03]])

    opinions = combine(predictions, (0, 0, 0, 1), 0.01, None)

    assert opinions.usable[0] == 2
    assert opinions.expected_return[0] == pytest.approx(0.02)
    assert opinions.confidence[0] == pytest.approx((1 - 0.9) * 2 / 4)


def test_four_copies_of_one_member_are_too_few_for_an_opinion() -> None:
    opinions = combine(np.full((1, 4), 0.02), (0, 0, 0, 0), 0.01, RESIDUALS)

    assert opinions.too_few[0]
    assert opinions.confidence[0] == 0.0
    assert opinions.expected_return[0] == 0.02


def test_a_duplicate_stands_in_for_its_unusable_twin() -> None:
    opinions = combine(np.array([[np.nan, 0.01, 0.03]]), (0, 0, 1), 0.01, None)

    assert opinions.usable[0] == 2
    assert opinions.expected_return[0] == pytest.approx(0.02)


def test_without_a_usable_member_nothing_is_said() -> None:
    opinions = combine(np.array([[np.nan, np.inf]]), (0, 1), 0.01, RESIDUALS)

    assert opinions.too_few[0]
    assert opinions.confidence[0] == 0.0
    for value in (opinions.expected_return[0], opinions.p_up[0], opinions.p_down[0], *opinions.quantiles[0]):
        assert np.isnan(value)


@given(returns, returns)
def test_chances_sum_to_one_and_rise_with_the_expectation(first: float, second: float) -> None:
    low, high = sorted((first, second))
    opinions = combine(np.array([[low, low], [high, high]]), (0, 1), 0.01, RESIDUALS)

    assert opinions.p_up + opinions.p_down == pytest.approx(1.0)
    assert opinions.p_up[0] <= opinions.p_up[1]
    assert np.all((opinions.p_up > 0) & (opinions.p_up < 1))
    assert np.all(np.diff(opinions.quantiles, axis=1) > 0)


def test_the_chance_of_rising_is_the_share_of_residuals_that_leave_the_sum_above_zero() -> None:
    residuals = np.concatenate([np.full(30, -0.02), np.full(70, 0.01)])
    opinions = combine(np.array([[0.0, 0.0], [0.025, 0.025]]), (0, 1), 0.01, residual_table(residuals))

    assert opinions.p_up[0] == pytest.approx(0.70, abs=0.01)
    assert opinions.p_up[1] > 0.99
    assert opinions.quantiles[0] == pytest.approx([-0.02, 0.01, 0.01])


def test_residual_table_is_at_the_stated_levels() -> None:
    residuals = np.linspace(0, 1, 2001)

    assert residual_table(residuals) == pytest.approx(RESIDUAL_LEVELS)


def test_groups_are_numbered_by_equal_predictions() -> None:
    predictions = np.array([[1.0, 2.0, 1.0, 2.0], [3.0, 4.0, 3.0, 5.0]])

    assert identical_groups(predictions) == (0, 1, 0, 2)


def test_two_members_who_agree_exactly_are_certain_only_if_all_are_usable() -> None:
    assert confidence(np.zeros(1), np.array([4]), 4, 0.01)[0] == 1.0
    assert confidence(np.zeros(1), np.array([2]), 4, 0.01)[0] == 0.5
    assert confidence(np.zeros(1), np.array([1]), 4, 0.01)[0] == 0.0
