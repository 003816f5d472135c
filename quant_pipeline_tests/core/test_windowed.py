"""Exact windows: right values, and nothing outside the window matters."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from quant_pipeline.core.windowed import divide, lag, window_max, window_mean, window_min, window_std, window_sum

VALUES = hnp.arrays(np.float64, st.integers(12, 60), elements=st.floats(-1e6, 1e6))


def test_window_functions_on_numbers_one_can_check_by_hand() -> None:
    values = np.array([2.0, 4.0, 9.0, 1.0])
    np.testing.assert_array_equal(lag(values, 2), [np.nan, np.nan, 2.0, 4.0])
    np.testing.assert_array_equal(lag(values, 9), [np.nan] * 4)
    np.testing.assert_array_equal(window_sum(values, 2), [np.nan, 6.0, 13.0, 10.0])
    np.testing.assert_array_equal(window_sum(values, 2, step=2), [np.nan, np.nan, 11.0, 5.0])
    np.testing.assert_array_equal(window_mean(values, 3)[2:], [5.0, 14.0 / 3.0])
    np.testing.assert_array_equal(window_std(values, 2, ddof=1)[1:], np.sqrt([2.0, 12.5, 32.0]))
    np.testing.assert_array_equal(window_std(values, 2, ddof=0)[1:], [1.0, 2.5, 4.0])
    np.testing.assert_array_equal(window_max(values, 3), [np.nan, np.nan, 9.0, 9.0])
    np.testing.assert_array_equal(window_min(values, 3), [np.nan, np.nan, 2.0, 1.0])


def test_division_gives_nan_instead_of_infinity() -> None:
    found = divide(np.array([1.0, 0.0, -1.0, 6.0]), np.array([0.0, 0.0, 0.0, 3.0]))
    np.testing.assert_array_equal(found, [np.nan, np.nan, np.nan, 2.0])


@given(values=VALUES, count=st.integers(1, 5), step=st.integers(1, 2))
def test_a_window_alone_gives_the_bytes_it_gives_inside_the_series(values: np.ndarray, count: int, step: int) -> None:
    reach = (count - 1) * step
    for function in (window_sum, window_mean, lambda v, c, s: window_std(v, c, s, ddof=0)):
        whole = function(values, count, step)
        for end in range(reach, values.size, 5):
            alone = function(values[end - reach : end + 1].copy(), count, step)
            assert alone[-1].tobytes() == whole[end].tobytes()


@given(values=VALUES, count=st.integers(2, 8))
def test_windows_agree_with_numpy(values: np.ndarray, count: int) -> None:
    views = np.lib.stride_tricks.sliding_window_view(values, count)
    scale = max(np.abs(values).max(), 1e-300)
    np.testing.assert_allclose(window_sum(values, count)[count - 1 :], views.sum(axis=1), atol=1e-12 * scale)
    np.testing.assert_allclose(
        window_std(values, count, ddof=1)[count - 1 :], views.std(axis=1, ddof=1), atol=1e-9 * scale
    )
    np.testing.assert_array_equal(window_max(values, count)[count - 1 :], views.max(axis=1))
    np.testing.assert_array_equal(window_min(values, count)[count - 1 :], views.min(axis=1))


def test_standard_deviation_of_equal_values_is_zero() -> None:
    assert window_std(np.full(30, 0.1), 20, ddof=1)[19:] == pytest.approx(0.0, abs=1e-16)
