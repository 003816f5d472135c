from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.trading.exits import due_exits
from quant_pipeline.core.trading.kernel_exits import exit_check, exit_in_bar
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Reason
from quant_pipeline_tests.core.trading.building import PROPERTY

DEFAULT = TradingParams()


@pytest.mark.parametrize(
    ("price", "reason"),
    [
        (95.01, 0),
        (95.0, Reason.STOP_LOSS),
        (94.0, Reason.STOP_LOSS),
        (109.99, 0),
        (110.0, Reason.TAKE_PROFIT),
        (130.0, Reason.TAKE_PROFIT),
        (float("nan"), 0),
        (0.0, 0),
    ],
)
def test_levels_of_five_and_ten_percent(price: float, reason: int) -> None:
    assert exit_check(DEFAULT.to_kernel(), price, 100.0, 0) == reason


@PROPERTY
@given(st.integers(1, 10**7))
def test_exactly_the_level_is_met_whatever_its_binary_rounding(cents: int) -> None:
    average = cents / 5  # so that 95 % and 110 % of it have few decimals
    assert exit_check(DEFAULT.to_kernel(), cents * 19 / 100, average, 0) == Reason.STOP_LOSS
    assert exit_check(DEFAULT.to_kernel(), cents * 22 / 100, average, 0) == Reason.TAKE_PROFIT


def test_profit_is_taken_once_but_the_stop_stays() -> None:
    assert exit_check(DEFAULT.to_kernel(), 120.0, 100.0, 1) == 0
    assert exit_check(DEFAULT.to_kernel(), 90.0, 100.0, 1) == Reason.STOP_LOSS


@pytest.mark.parametrize(
    ("bar", "expected"),
    [
        ((100.0, 101.0, 96.0), (0, 0.0)),
        ((100.0, 101.0, 94.0), (Reason.STOP_LOSS, 95.0)),
        ((93.0, 101.0, 92.0), (Reason.STOP_LOSS, 93.0)),
        ((100.0, 112.0, 99.0), (Reason.TAKE_PROFIT, 110.0)),
        ((112.0, 115.0, 99.0), (Reason.TAKE_PROFIT, 112.0)),
        ((100.0, 112.0, 94.0), (Reason.STOP_LOSS, 95.0)),  # both inside the bar: the worse one is assumed
        ((112.0, 115.0, 94.0), (Reason.TAKE_PROFIT, 112.0)),  # but the open came first
    ],
)
def test_first_exit_inside_a_bar(bar: tuple[float, float, float], expected: tuple[int, float]) -> None:
    opened, high, low = bar
    reason, price = exit_in_bar(DEFAULT.to_kernel(), opened, high, low, 100.0, 0)
    assert reason == expected[0]
    assert price == pytest.approx(expected[1], rel=1e-12)


@PROPERTY
@given(
    opened=st.floats(1, 1000),
    up=st.floats(0, 0.5),
    down=st.floats(0, 0.5),
    average=st.floats(1, 1000),
)
def test_an_exit_price_lies_inside_its_bar(opened: float, up: float, down: float, average: float) -> None:
    low, high = opened * (1 - down), opened * (1 + up)
    reason, price = exit_in_bar(DEFAULT.to_kernel(), opened, high, low, average, 0)
    assert reason == 0 or low <= price <= high


def test_live_exits_name_what_to_sell_of_free_lots() -> None:
    due = due_exits(
        ("A", "B", "C", "D", "E"),
        price=np.array([94.0, 115.0, 100.0, 94.0, float("nan")]),
        avg_price=np.full(5, 100.0),
        free_lots=np.array([10, 10, 10, 0, 10]),
        profit_taken=np.zeros(5, bool),
        params=TradingParams(take_profit_fraction=0.5),
    )
    assert due.reason.tolist() == [Reason.STOP_LOSS, Reason.TAKE_PROFIT, 0, 0, 0]
    assert due.lots.tolist() == [10, 5, 0, 0, 0]


def test_a_single_share_is_not_stuck_at_a_partial_take_profit() -> None:
    params = TradingParams(take_profit_fraction=0.5)
    due = due_exits(("A",), np.array([115.0]), np.array([100.0]), np.array([1]), np.array([False]), params)
    assert due.lots.tolist() == [1]


def test_dust_is_no_exit() -> None:
    params = TradingParams(qty_decimals=8, min_notional=5000.0)
    due = due_exits(("A",), np.array([90.0]), np.array([100.0]), np.array([10**8]), np.array([False]), params)
    assert (due.reason[0], due.lots[0]) == (0, 0)
