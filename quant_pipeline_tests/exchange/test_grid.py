"""Prices in arrays land on the same ticks as the rule for one price."""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.exchange.bars.grid import on_grid
from quant_pipeline.markets.market import MARKETS, Market
from quant_pipeline.markets.rules import tick_size

prices = st.floats(1e-7, 2e8, allow_nan=False, allow_infinity=False)


@given(st.sampled_from(MARKETS), st.lists(prices, min_size=1, max_size=20))
def test_every_price_is_a_whole_number_of_ticks_and_near_where_it_was(
    market: Market, given_prices: list[float]
) -> None:
    rounded = on_grid(market.name, np.array(given_prices))
    for before, after in zip(given_prices, rounded.tolist(), strict=True):
        tick = tick_size(market, Decimal(repr(before)))
        exact = Decimal(repr(after))
        assert exact % tick == 0
        assert abs(exact - Decimal(repr(before))) <= max(tick / 2 * Decimal("1.0000001"), tick - Decimal(repr(before)))


@given(st.sampled_from(MARKETS), prices, prices)
def test_rounding_keeps_the_order_of_two_prices(market: Market, one: float, other: float) -> None:
    low, high = on_grid(market.name, np.array([min(one, other), max(one, other)]))
    assert low <= high


@pytest.mark.parametrize(
    ("market", "price", "expected"),
    [
        ("us_equity", 123.456, "123.46"),
        ("us_equity", 0.12344, "0.1234"),
        ("krw_crypto", 89_438_499.0, "89438000.0"),
        ("krw_crypto", 820.4, "820.0"),
        ("krw_crypto", 12.34, "12.3"),
        ("krw_crypto", 0.01234, "0.0123"),
        ("krw_crypto", 999_800.0, "1000000.0"),
    ],
)
def test_known_prices(market: str, price: float, expected: str) -> None:
    assert repr(float(on_grid(market, np.array([price]))[0])) == expected


def test_no_prices_are_no_prices() -> None:
    assert len(on_grid("us_equity", np.empty(0))) == 0


def test_one_price_rounds_as_it_does_among_others_of_another_band() -> None:
    alone = on_grid("krw_crypto", np.array([101.7]))[0]
    among = on_grid("krw_crypto", np.array([101.7, 5_432_109.0, 0.5]))[0]
    assert alone == among == float(Decimal("101.7").quantize(Decimal(1), ROUND_HALF_EVEN))
