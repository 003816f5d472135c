from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.trading import kernel_money as money
from quant_pipeline.core.trading.kernel_types import MAX_LOTS
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline_tests.core.trading.building import PROPERTY

NO_FEES = np.zeros(4)
SHARES = TradingParams(fee_decimals=2).to_kernel()
COINS = TradingParams(qty_decimals=8, buys_by_notional=True, money_decimals=0).to_kernel()


def test_taf_is_rounded_up_to_the_cent_and_capped() -> None:
    taf = np.array([0.0, 0.0, 0.000166, 8.30])
    assert money.sell_fee(SHARES, taf, 100, 10_000.0) == 0.02  # 0.0166
    assert money.sell_fee(SHARES, taf, 60, 6_000.0) == 0.01  # 0.00996
    assert money.sell_fee(SHARES, taf, 49_999, 5e6) == 8.30  # 8.299834
    assert money.sell_fee(SHARES, taf, 1_000_000, 1e8) == 8.30  # the cap


def test_each_fee_is_rounded_up_on_its_own() -> None:
    both = np.array([0.0, 27.8e-6, 0.000166, 8.30])
    assert money.sell_fee(SHARES, both, 100, 10_000.0) == pytest.approx(0.28 + 0.02)


def test_a_whole_cent_is_not_rounded_to_the_next() -> None:
    assert money.round_up(0.07 * 3, 100.0) == 0.21  # 0.07 * 3 is 0.21000000000000002


def test_upbit_fees_keep_their_fraction() -> None:
    rates = np.array([0.0005, 0.0005, 0.0, 0.0])
    assert money.buy_fee(COINS, rates, 12_345.0) == 6.1725
    assert money.sell_fee(COINS, rates, 10**8, 12_345.0) == 6.1725


def test_a_fee_never_exceeds_what_the_sale_brings() -> None:
    assert money.sell_fee(SHARES, np.array([0.0, 0.0, 1.0, 0.0]), 10, 0.5) == 0.5


def test_lots_are_rounded_down_to_the_grid() -> None:
    assert money.lots_in(SHARES, 999.99, 100.0) == 9
    assert money.lots_in(SHARES, 99.99, 100.0) == 0
    assert money.lots_in(COINS, 5_000.0, 160_000_000.0) == 3125


@pytest.mark.parametrize("amount", [float("nan"), -1.0, 0.0])
def test_what_is_no_amount_buys_nothing(amount: float) -> None:
    assert money.lots_in(SHARES, amount, 100.0) == 0


def test_lots_stay_within_64_bits() -> None:
    assert money.lots_in(COINS, 1e15, 1e-6) == MAX_LOTS


def test_an_entry_by_quantity_keeps_cash_for_slippage_and_fee_and_one_by_amount_only_for_the_fee() -> None:
    rates = np.array([0.001, 0.0, 0.0, 0.0])
    by_qty = TradingParams(slippage=0.01).to_kernel()
    by_amount = TradingParams(slippage=0.01, buys_by_notional=True).to_kernel()
    assert money.cash_needed(by_qty, rates, 10_000.0) == pytest.approx(10_100.0 * 1.001)
    assert money.cash_needed(by_amount, rates, 10_000.0) == pytest.approx(10_010.0)


@PROPERTY
@given(
    cash=st.floats(0, 1e9),
    price=st.floats(1e-4, 1e8),
    wanted=st.integers(0, 10**13),
    rate=st.sampled_from([0.0, 0.0005, 0.25]),
    decimals=st.sampled_from([0, 8]),
    fee_decimals=st.sampled_from([None, 0, 2]),
)
def test_affordable_lots_are_the_most_that_cash_can_pay(
    cash: float, price: float, wanted: int, rate: float, decimals: int, fee_decimals: int | None
) -> None:
    params = TradingParams(qty_decimals=decimals, fee_decimals=fee_decimals).to_kernel()
    fees = np.array([rate, 0.0, 0.0, 0.0])

    def cost(lots: int) -> float:
        value = money.value_of(params, lots, price)
        return value + money.buy_fee(params, fees, value)

    lots = money.affordable_lots(params, fees, cash, price, wanted)
    assert 0 <= lots <= wanted
    assert lots == 0 or cost(lots) <= cash
    assert lots == wanted or cost(lots + 1) > cash
