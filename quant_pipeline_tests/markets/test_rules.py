"""Ticks, lots and fees of the venues."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.values import Side
from quant_pipeline.markets import rules
from quant_pipeline.markets.market import KRW_CRYPTO, MARKETS, US_EQUITY, Market, get_market

PRICES = st.decimals(min_value="0.0001", max_value="200000000", places=4)


@pytest.mark.parametrize(
    ("price", "tick"),
    [("90000000", "1000"), ("1000000", "1000"), ("999999", "500"), ("100000", "100"), ("50000", "50"), ("10000", "10")]
    + [
        ("5000", "5"),
        ("4999", "1"),
        ("100", "1"),
        ("99", "0.1"),
        ("9", "0.01"),
        ("0.5", "0.001"),
        ("0.000001", "0.00000001"),
    ],
)
def test_krw_ticks_follow_the_table_of_2025(price: str, tick: str) -> None:
    assert rules.tick_size(KRW_CRYPTO, Decimal(price)) == Decimal(tick)


def test_stocks_below_a_dollar_have_four_decimals() -> None:
    assert rules.tick_size(US_EQUITY, Decimal("0.99")) == Decimal("0.0001")
    assert rules.tick_size(US_EQUITY, Decimal("1.00")) == Decimal("0.01")


@given(price=PRICES, market=st.sampled_from(MARKETS))
def test_rounded_prices_lie_on_the_grid_and_never_favour_the_taker(price: Decimal, market: Market) -> None:
    tick = rules.tick_size(market, price)
    bought = rules.round_price(market, price, side=Side.BUY)
    sold = rules.round_price(market, price, side=Side.SELL)
    assert sold <= price <= bought
    assert bought - sold in (0, tick)
    assert bought % tick == 0


@given(qty=st.decimals(min_value=0, max_value=10**6, places=10), market=st.sampled_from(MARKETS))
def test_quantities_are_only_ever_rounded_down(qty: Decimal, market: Market) -> None:
    rounded = rules.round_qty(market, qty)
    assert 0 <= qty - rounded < Decimal(1).scaleb(-market.qty_decimals)


@pytest.mark.parametrize(
    ("session", "rate"),
    [(date(2025, 5, 13), 27.80e-6), (date(2025, 5, 14), 0.0), (date(2026, 4, 3), 0.0), (date(2026, 4, 4), 20.60e-6)],
)
def test_the_sec_fee_changes_on_its_dates(session: date, rate: float) -> None:
    assert rules.fee_rates(US_EQUITY, session).sell_rate == rate
    assert rules.fee_rates(US_EQUITY, session).buy_rate == 0.0


def test_the_taf_changes_with_the_year() -> None:
    assert rules.fee_rates(US_EQUITY, date(2025, 12, 31)).sell_per_share == 0.000166
    assert rules.fee_rates(US_EQUITY, date(2026, 1, 2)).sell_per_share_cap == 9.79


def test_a_price_that_is_not_positive_and_an_unknown_market_are_refused() -> None:
    with pytest.raises(ValueError, match="price 0 must be positive"):
        rules.tick_size(US_EQUITY, Decimal(0))
    with pytest.raises(ValueError, match="unknown market 'eu_bonds'"):
        get_market("eu_bonds")
