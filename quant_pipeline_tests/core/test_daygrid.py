"""The grid on which whole days are a fixed number of bars apart."""

from __future__ import annotations

import numpy as np
import pytest

from quant_pipeline.core.daygrid import day_grid
from quant_pipeline_tests.core.series import random_bars


def test_daily_bars_are_their_own_grid_whatever_days_are_absent() -> None:
    bars = random_bars(1, ("A",), 30, absent=0.4)
    grid = day_grid(bars, 1)
    np.testing.assert_array_equal(grid.close, bars["close"])
    np.testing.assert_array_equal(grid.bar_at, np.arange(len(bars)))


def test_absent_hours_carry_the_close_and_have_no_volume() -> None:
    bars = random_bars(2, ("A",), 6, interval="1h").iloc[[0, 1, 4, 5]]
    grid = day_grid(bars, 24)
    close, volume = bars["close"].tolist(), bars["volume"].tolist()
    assert grid.close.tolist() == [close[0], close[1], close[1], close[1], close[2], close[3]]
    assert grid.volume.tolist() == [volume[0], volume[1], 0.0, 0.0, volume[2], volume[3]]
    assert grid.bar_at.tolist() == [0, 1, 4, 5]
    assert (np.diff(grid.ts) == np.timedelta64(3600, "s")).all()


def test_empty_series_give_an_empty_grid() -> None:
    assert day_grid(random_bars(3, ("A",), 5).iloc[:0], 24).close.size == 0


@pytest.mark.parametrize("bars_per_day", [0, -1, 7 * 11 * 13])
def test_a_day_that_cannot_be_divided_is_refused(bars_per_day: int) -> None:
    with pytest.raises(ValueError, match=f"bars_per_day={bars_per_day} does not divide a day"):
        day_grid(random_bars(4, ("A",), 5), bars_per_day)


@pytest.mark.parametrize(("rows", "interval"), [([0, 1, 1], "1h"), ([2, 1], "1h"), ([0, 1], "15m")])
def test_bars_off_the_grid_repeated_or_unsorted_are_refused(rows: list[int], interval: str) -> None:
    bars = random_bars(5, ("A",), 5, interval=interval).iloc[rows]
    with pytest.raises(ValueError, match="does not fit a grid of 3600 s"):
        day_grid(bars, 24)
