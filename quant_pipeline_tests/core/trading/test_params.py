from __future__ import annotations

import math
from typing import Any

import pytest

from quant_pipeline.core.trading.params import TradingParams


def test_the_defaults_are_the_published_limits() -> None:
    params = TradingParams()
    assert (params.max_exposure, params.max_positions, params.max_position) == (0.80, 7, 0.10)
    assert (params.stop_loss, params.take_profit, params.take_profit_fraction) == (-0.05, 0.10, 1.0)
    assert (params.max_daily_loss, params.halt_hours) == (-0.02, 24.0)
    assert (params.buy_threshold, params.sell_threshold, params.min_confidence) == (0.005, -0.005, 0.7)
    assert (params.rebalance_factor, params.vol_reference, params.sell_fraction) == (1.5, 0.015, 1.0)


def test_the_kernel_gets_exact_types_and_powers_of_ten() -> None:
    made = TradingParams(max_position=1, halt_hours=1, qty_decimals=8, money_decimals=0, fee_decimals=2).to_kernel()
    assert isinstance(made.max_position, float)
    assert made.halt_ns == 3_600_000_000_000
    assert (made.qty_scale, made.money_scale, made.fee_scale) == (1e8, 1.0, 100.0)


def test_unrounded_fees_have_scale_zero() -> None:
    assert TradingParams(fee_decimals=None).to_kernel().fee_scale == 0.0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_exposure", 0.0),
        ("max_exposure", 1.01),
        ("max_positions", 0),
        ("max_position", 0.0),
        ("max_position", 1.5),
        ("stop_loss", 0.0),
        ("stop_loss", 0.05),
        ("stop_loss", -1.1),
        ("take_profit", 0.0),
        ("take_profit_fraction", 0.0),
        ("sell_fraction", 1.5),
        ("max_daily_loss", 0.02),
        ("halt_hours", 0.0),
        ("max_daily_trades", 0),
        ("buy_threshold", -0.001),
        ("sell_threshold", 0.001),
        ("min_confidence", -0.1),
        ("rebalance_factor", 0.9),
        ("vol_reference", 0.0),
        ("slippage", -0.001),
        ("min_notional", -1.0),
        ("qty_decimals", 10),
        ("fee_decimals", -1),
        ("buy_rate", -0.1),
        ("expiry_bars", 0),
    ],
)
def test_a_value_outside_its_range_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        TradingParams(**{name: value})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_exposure", math.nan),
        ("slippage", math.inf),
        ("max_positions", 7.0),
        ("max_positions", True),
        ("vote_abstains", 1),
        ("max_position", "0.1"),
        ("fee_decimals", 2.0),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name: str, value: Any) -> None:
    with pytest.raises(TypeError, match=name):
        TradingParams(**{name: value})
