from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.trading.kernel_sizing import entry_size, lots_to_sell, position_fraction
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline_tests.core.trading.building import PROPERTY

DEFAULT = TradingParams().to_kernel()
CONFIDENCE = st.floats(0.0, 1.5)
VOL = st.floats(0.0, 5.0)


@pytest.mark.parametrize(
    ("confidence", "vol", "fraction"),
    [
        (1.0, 0.015, 0.10),
        (0.8, 0.015, 0.08),
        (0.8, 0.001, 0.08),
        (0.8, 0.030, 0.04),
        (0.75, 0.060, 0.01875),
        (1.3, 0.015, 0.10),
    ],
)
def test_size_is_the_published_formula(confidence: float, vol: float, fraction: float) -> None:
    assert position_fraction(DEFAULT, confidence, vol) == pytest.approx(fraction, rel=1e-12)


@PROPERTY
@given(CONFIDENCE, VOL)
def test_size_never_exceeds_the_cap(confidence: float, vol: float) -> None:
    assert 0.0 <= position_fraction(DEFAULT, confidence, vol) <= DEFAULT.max_position


@PROPERTY
@given(CONFIDENCE, VOL, VOL)
def test_more_volatility_never_means_a_larger_size(confidence: float, one: float, other: float) -> None:
    calm, wild = sorted((one, other))
    assert position_fraction(DEFAULT, confidence, wild) <= position_fraction(DEFAULT, confidence, calm)


@PROPERTY
@given(CONFIDENCE, CONFIDENCE, VOL)
def test_more_confidence_never_means_a_smaller_size(one: float, other: float, vol: float) -> None:
    unsure, sure = sorted((one, other))
    assert position_fraction(DEFAULT, unsure, vol) <= position_fraction(DEFAULT, sure, vol)


def test_a_won_amount_is_rounded_down_to_whole_won() -> None:
    won = TradingParams(qty_decimals=8, buys_by_notional=True, money_decimals=0).to_kernel()
    assert entry_size(won, 12_345.9, 1_000.0) == (0, 12_345.0)


def test_shares_are_whole() -> None:
    assert entry_size(DEFAULT, 1_050.0, 100.0) == (10, 1_000.0)


@pytest.mark.parametrize(
    ("held", "fraction", "price", "minimum", "sold"),
    [
        (10, 1.0, 100.0, 0.0, 10),
        (10, 0.5, 100.0, 0.0, 5),
        (3, 0.5, 100.0, 0.0, 1),
        (1, 0.5, 100.0, 0.0, 1),  # half a share is nothing, so the whole one goes
        (10, 0.95, 100.0, 150.0, 10),  # floor gives 9, and the one left is below the minimum
        (3, 0.4, 100.0, 150.0, 3),  # the one to sell is below the minimum
        (4, 0.5, 100.0, 150.0, 2),
        (1, 1.0, 150.0, 150.0, 1),
        (1, 1.0, 149.0, 150.0, 0),  # dust: the venue takes no such order
        (0, 1.0, 100.0, 0.0, 0),
    ],
)
def test_a_part_or_a_rest_below_the_minimum_means_everything(
    held: int, fraction: float, price: float, minimum: float, sold: int
) -> None:
    params = TradingParams(min_notional=minimum).to_kernel()
    assert lots_to_sell(params, held, fraction, price) == sold


@PROPERTY
@given(
    held=st.integers(1, 10**12),
    fraction=st.floats(0.01, 1.0),
    price=st.floats(0.01, 1e6),
    minimum=st.sampled_from([0.0, 1.0, 5000.0]),
)
def test_what_is_left_can_always_be_sold_later(held: int, fraction: float, price: float, minimum: float) -> None:
    params = TradingParams(min_notional=minimum, qty_decimals=4).to_kernel()
    sold = lots_to_sell(params, held, fraction, price)
    rest = held - sold
    assert 0 <= sold <= held
    if held / 1e4 * price >= minimum:
        assert sold > 0
        assert sold / 1e4 * price >= minimum
        assert rest == 0 or rest / 1e4 * price >= minimum
    else:
        assert sold == 0
