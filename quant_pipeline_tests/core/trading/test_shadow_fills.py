"""The fill model by hand: when an order fills, at what price, at what cost, and what happens when it cannot."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quant_pipeline.core.trading import shadow
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowBars, ShadowResult, roll_shadow
from quant_pipeline.core.trading.state import BookState, Holding
from quant_pipeline.core.values import Reason
from quant_pipeline_tests.core.trading.building import (
    BUY,
    HOLD,
    HOUR_NS,
    KRW,
    NOW_NS,
    PLAIN,
    SELL,
    drop_rows,
    fill_rows,
    tape,
)

R = Reason
RICH = BookState(cash=100_000.0)


def votes(*rows: int) -> np.ndarray:
    """The votes of a single symbol, one for each bar."""
    return np.array(rows, np.int8).reshape(-1, 1)


def holding(lots: int = 100, avg: float = 100.0, cash: float = 90_000.0, **more: bool) -> BookState:
    """A book that holds A."""
    return BookState(cash=cash, holdings=(Holding("A", lots, avg, avg, **more),))


def roll(bars: ShadowBars, state: BookState = RICH, params: TradingParams = PLAIN) -> ShadowResult:
    return roll_shadow(bars, state, params)


def test_a_decision_at_the_close_fills_at_the_next_open_and_not_before() -> None:
    bars = tape([[100.0], [102.0], [103.0]], open=[[99.0], [101.0], [103.0]], vote=votes(BUY, HOLD, HOLD))
    result = roll(bars)
    assert fill_rows(result) == [(1, "A", 1, 90, 101.0, R.BUY_SIGNAL)]
    assert result.fills.decided_ns.tolist() == [NOW_NS + HOUR_NS]
    assert result.cash.tolist() == [100_000.0, 90_910.0, 90_910.0]
    assert result.equity.tolist() == [100_000.0, 100_090.0, 100_180.0]
    assert result.holdings[:, 0].tolist() == [0, 90, 90]
    assert result.exposure.tolist() == [9_000.0, 9_180.0, 9_270.0]


def test_slippage_makes_both_sides_worse() -> None:
    params = replace(PLAIN, slippage=0.01)
    bars = tape([[100.0]] * 3, vote=votes(BUY, SELL, HOLD), expected_return=[[0.02], [-0.02], [0.0]])
    result = roll(bars, params=params)
    assert fill_rows(result) == [(1, "A", 1, 90, 101.0, R.BUY_SIGNAL), (2, "A", -1, 90, 99.0, R.SELL_SIGNAL)]
    assert result.state.realised == pytest.approx(-180.0)
    assert result.state.cash == pytest.approx(99_820.0)


def test_fees_of_shares_are_rounded_up_to_the_cent_for_each_order() -> None:
    params = replace(PLAIN, fee_decimals=2, sell_rate=27.8e-6, sell_per_share=0.000166, sell_per_share_cap=8.3)
    bars = tape([[100.0]] * 3, vote=votes(BUY, SELL, HOLD), expected_return=[[0.02], [-0.02], [0.0]])
    result = roll(bars, params=params)
    assert result.fills.fee.tolist() == [0.0, pytest.approx(0.26 + 0.02)]  # 0.2502 and 0.01494
    assert result.state.fees == pytest.approx(0.28)
    assert result.state.realised == pytest.approx(-0.28)


def test_the_fees_of_the_day_of_the_fill_apply() -> None:
    dated = np.array([[0.0] * 4, [0.001, 0.0, 0.0, 0.0], [0.0] * 4])
    result = roll(tape([[100.0]] * 3, vote=votes(BUY, HOLD, HOLD), fees=dated))
    assert result.fills.fee.tolist() == [pytest.approx(9.0)]


def test_an_entry_by_amount_spends_whole_won_and_gets_eight_decimals() -> None:
    bars = tape([[1000.0], [1000.0]], open=[[1000.0], [999.0]], vote=votes(BUY, HOLD))
    result = roll(bars, BookState(cash=1_000_001.0), KRW)
    assert result.notional[0, 0] == 90_000.0  # 9 % is 90,000.09
    assert result.lots[0, 0] == 0
    assert fill_rows(result) == [(1, "A", 1, 9_009_009_009, 999.0, R.BUY_SIGNAL)]
    assert result.fills.fee[0] == pytest.approx(90_000 * 0.0005, rel=1e-9)


def test_a_gap_that_cash_cannot_pay_cuts_the_entry() -> None:
    params = replace(PLAIN, max_position=1.0, max_exposure=1.0)
    bars = tape([[100.0], [150.0]], vote=votes(BUY, HOLD), confidence=1.0)
    result = roll(bars, params=params)
    assert result.lots[0, 0] == 1000
    assert fill_rows(result) == [(1, "A", 1, 666, 150.0, R.BUY_SIGNAL)]
    assert result.state.cash == 100.0


def test_a_gap_that_leaves_no_share_drops_the_entry() -> None:
    params = replace(PLAIN, max_position=1.0, max_exposure=1.0)
    bars = tape([[100.0], [100_001.0]], vote=votes(BUY, HOLD), confidence=1.0)
    assert drop_rows(roll(bars, params=params)) == [(1, "A", 1, R.INSUFFICIENT_CASH)]


def test_an_amount_that_buys_no_lot_is_dropped() -> None:
    params = replace(KRW, qty_decimals=0, min_notional=0.0)
    bars = tape([[1000.0], [100_000.0]], vote=votes(BUY, HOLD))
    assert drop_rows(roll(bars, BookState(cash=1_000_000.0), params)) == [(1, "A", 1, R.BELOW_MINIMUM)]


def test_an_order_waits_for_a_trade_and_expires() -> None:
    bars = tape([[100.0]] * 4, vote=votes(BUY, HOLD, HOLD, HOLD), traded=[[True], [False], [False], [True]])
    assert drop_rows(roll(bars)) == [(1, "A", 1, R.EXPIRED)]
    assert drop_rows(roll(bars, params=replace(PLAIN, expiry_bars=2))) == [(2, "A", 1, R.EXPIRED)]
    late = roll(bars, params=replace(PLAIN, expiry_bars=3))
    assert [row[0] for row in fill_rows(late)] == [3]
    assert drop_rows(late) == []


def test_an_order_under_way_blocks_the_next_decision_on_its_symbol() -> None:
    bars = tape([[100.0]] * 3, vote=votes(BUY, BUY, HOLD), traded=[[True], [False], [True]])
    result = roll(bars, params=replace(PLAIN, expiry_bars=2))
    assert result.reason[:, 0].tolist() == [R.BUY_SIGNAL, R.PENDING_ORDER, R.HOLD_VOTE]
    assert len(result.fills.bar) == 1


def test_a_pause_ends_entries_that_still_wait() -> None:
    bars = tape([[100.0]] * 3, vote=votes(BUY, HOLD, HOLD), traded=[[True], [False], [True]])
    result = roll(replace(bars, paused=np.array([False, True, False])), params=replace(PLAIN, expiry_bars=3))
    assert drop_rows(result) == [(1, "A", 1, R.PAUSED)]
    assert fill_rows(result) == []


def test_a_loss_while_an_entry_waits_drops_it_as_halted() -> None:
    close = np.array([[100.0, 100.0], [100.0, 70.0], [100.0, 70.0]])
    bars = tape(close, vote=[[BUY, HOLD], [HOLD, HOLD], [HOLD, HOLD]], has_opinion=False)
    bars = replace(bars, traded=np.array([[True, True], [False, True], [True, True]]))
    held = BookState(cash=90_000.0, holdings=(Holding("B", 100, 100.0, 100.0),))
    result = roll(bars, held, replace(PLAIN, expiry_bars=3, stop_loss=-0.9))
    assert drop_rows(result) == [(1, "A", 1, R.HALTED)]
    assert result.halted_until_ns.tolist() == [0, NOW_NS + 26 * HOUR_NS, NOW_NS + 26 * HOUR_NS]


def test_sales_pay_for_entries_of_the_same_open() -> None:
    params = replace(PLAIN, max_position=0.5, max_exposure=1.0)
    bars = tape(
        [[100.0, 100.0], [100.0, 200.0]],
        vote=[[SELL, BUY], [HOLD, HOLD]],
        expected_return=[[-0.02, 0.02]] * 2,
        confidence=1.0,
        has_opinion=False,
    )
    result = roll(bars, holding(lots=500, cash=50_000.0), params)
    assert fill_rows(result) == [(1, "A", -1, 500, 100.0, R.SELL_SIGNAL), (1, "B", 1, 500, 200.0, R.BUY_SIGNAL)]
    assert result.state.cash == 0.0


def test_entries_fill_in_the_order_in_which_they_were_decided() -> None:
    params = replace(PLAIN, max_position=0.5, max_exposure=1.0)
    bars = tape(
        [[100.0, 100.0], [150.0, 150.0]],
        vote=[[BUY, BUY], [HOLD, HOLD]],
        expected_return=[[0.01, 0.02]] * 2,
        confidence=1.0,
    )
    assert fill_rows(roll(bars, params=params)) == [
        (1, "B", 1, 500, 150.0, R.BUY_SIGNAL),
        (1, "A", 1, 166, 150.0, R.BUY_SIGNAL),
    ]


def test_the_average_cost_of_two_entries() -> None:
    bars = tape([[100.0], [100.0], [110.0]], vote=votes(BUY, HOLD, HOLD))
    result = roll(bars, holding(lots=30, avg=80.0, cash=97_000.0), replace(PLAIN, take_profit=5.0))
    assert fill_rows(result) == [(1, "A", 1, 60, 100.0, R.BUY_SIGNAL)]
    assert result.state.holdings[0].avg_price == pytest.approx((30 * 80 + 60 * 100) / 90)


def test_without_a_trade_the_last_close_marks_the_book() -> None:
    bars = tape([[100.0], [104.0], [90.0]], traded=[[True], [True], [False]])
    result = roll(bars, holding())
    assert result.equity.tolist() == [100_000.0, 100_400.0, 100_400.0]
    assert fill_rows(result) == []


# Exits inside a bar.


@pytest.mark.parametrize(
    ("bar", "fill"),
    [
        ((100.0, 101.0, 94.0, 96.0), (95.0, R.STOP_LOSS)),
        ((94.0, 96.0, 93.0, 96.0), (94.0, R.STOP_LOSS)),
        ((100.0, 112.0, 99.0, 111.0), (110.0, R.TAKE_PROFIT)),
        ((111.0, 112.0, 99.0, 100.0), (111.0, R.TAKE_PROFIT)),
        ((100.0, 112.0, 94.0, 100.0), (95.0, R.STOP_LOSS)),
    ],
)
def test_exits_inside_a_bar(bar: tuple[float, float, float, float], fill: tuple[float, Reason]) -> None:
    opened, high, low, close = bar
    bars = tape([[close]], open=[[opened]], high=[[high]], low=[[low]])
    result = roll(bars, holding())
    assert fill_rows(result) == [(0, "A", -1, 100, fill[0], fill[1])]
    assert result.fills.decided_ns.tolist() == [0]
    assert result.state.holdings == ()
    assert result.state.trades_today == 1


def test_exits_slip_as_well() -> None:
    bars = tape([[96.0]], open=[[100.0]], low=[[94.0]])
    assert fill_rows(roll(bars, holding(), replace(PLAIN, slippage=0.01)))[0][4] == pytest.approx(95.0 * 0.99)


def test_what_was_just_bought_can_be_stopped_in_its_own_bar() -> None:
    bars = tape([[100.0], [97.0]], open=[[100.0], [100.0]], low=[[100.0], [90.0]], vote=votes(BUY, HOLD))
    assert fill_rows(roll(bars)) == [(1, "A", 1, 90, 100.0, R.BUY_SIGNAL), (1, "A", -1, 90, 95.0, R.STOP_LOSS)]


@pytest.mark.parametrize("state", ["paused", "halted", "out of trades"])
def test_exits_are_never_blocked(state: str) -> None:
    bars = replace(tape([[80.0]]), paused=np.array([state == "paused"]))
    held = replace(holding(), session=1, day_start_equity=100_000.0)
    if state == "halted":
        held = replace(held, halted_until_ns=NOW_NS + 10 * HOUR_NS)
    if state == "out of trades":
        held = replace(held, trades_today=50)
    assert fill_rows(roll(bars, held)) == [(0, "A", -1, 100, 80.0, R.STOP_LOSS)]


def test_a_partial_profit_is_taken_once_and_the_rest_keeps_its_stop() -> None:
    params = replace(PLAIN, take_profit_fraction=0.5)
    bars = tape([[111.0], [112.0], [94.0]])
    result = roll(bars, holding(), params)
    assert fill_rows(result) == [(0, "A", -1, 50, 111.0, R.TAKE_PROFIT), (2, "A", -1, 50, 94.0, R.STOP_LOSS)]


def test_the_rest_of_a_partial_profit_can_be_stopped_in_the_same_bar() -> None:
    params = replace(PLAIN, take_profit_fraction=0.5)
    bars = tape([[100.0]], open=[[111.0]], high=[[112.0]], low=[[90.0]])
    result = roll(bars, holding(), params)
    assert fill_rows(result) == [(0, "A", -1, 50, 111.0, R.TAKE_PROFIT), (0, "A", -1, 50, 95.0, R.STOP_LOSS)]


def test_a_new_entry_makes_profit_taking_possible_again() -> None:
    params = replace(PLAIN, take_profit_fraction=0.5)
    bars = tape([[100.0], [100.0], [120.0]], vote=votes(BUY, HOLD, HOLD))
    result = roll(bars, holding(lots=10, cash=99_000.0, profit_taken=True), params)
    assert [row[5] for row in fill_rows(result)] == [R.BUY_SIGNAL, R.TAKE_PROFIT]


# Days and halts.


def test_a_session_starts_from_the_last_marks_and_a_halt_survives_it() -> None:
    close = [[100.0], [97.0], [97.0], [97.0]]
    bars = tape(close, vote=votes(HOLD, BUY, BUY, BUY), session=np.array([1, 1, 2, 3]))
    start = bars.start_ns.copy()
    start[2:] += 10 * HOUR_NS  # bar 2 ends 12 h after the trip, bar 3 more than 24 h after it
    start[3] += 20 * HOUR_NS
    bars = replace(bars, start_ns=start, end_ns=start + HOUR_NS)
    result = roll(bars, holding(lots=800, cash=20_000.0), replace(PLAIN, max_position=1.0, max_exposure=1.0))
    tripped = NOW_NS + 26 * HOUR_NS
    assert result.halted_until_ns.tolist() == [0, tripped, tripped, tripped]
    assert result.reason[:, 0].tolist() == [R.HOLD_VOTE, R.HALTED, R.HALTED, R.BUY_SIGNAL]
    assert result.state.day_start_equity == pytest.approx(20_000 + 800 * 97)
    assert result.state.trades_today == 1


def test_the_overnight_gap_belongs_to_the_day_that_opens_with_it() -> None:
    bars = tape([[100.0], [97.0]], session=np.array([1, 2]))
    result = roll(bars, holding(lots=800, cash=20_000.0), replace(PLAIN, stop_loss=-0.9))
    assert result.halted_until_ns.tolist() == [0, NOW_NS + 26 * HOUR_NS]


def test_trades_are_counted_anew_each_session() -> None:
    params = replace(PLAIN, max_daily_trades=1)
    bars = tape([[100.0]] * 3, vote=votes(BUY, BUY, BUY), session=np.array([1, 1, 2]), confidence=[[0.8], [0.9], [1.0]])
    assert roll(bars, params=params).reason[:, 0].tolist() == [R.BUY_SIGNAL, R.MAX_DAILY_TRADES, R.BUY_SIGNAL]


# Splits, dividends, deposits.


def test_a_split_is_no_crash() -> None:
    bars = tape([[100.0], [25.0]], split=[[1.0], [4.0]])
    result = roll(bars, holding())
    assert fill_rows(result) == []
    assert result.equity.tolist() == [100_000.0, 100_000.0]
    assert result.state.holdings == (Holding("A", 400, 25.0, 25.0),)


def test_a_fraction_left_by_a_reverse_split_is_paid_out() -> None:
    bars = tape([[1000.0]], split=[[0.1]])
    result = roll(bars, holding(lots=105))
    assert result.state.holdings == (Holding("A", 10, 1000.0, 1000.0),)
    assert result.state.cash == pytest.approx(90_500.0)
    assert result.equity[0] == pytest.approx(100_500.0)


@pytest.mark.parametrize("lots", [0, 20])
def test_an_order_under_way_is_restated_by_a_split(lots: int) -> None:
    bars = tape([[100.0], [50.0]], vote=votes(BUY, HOLD), split=[[1.0], [2.0]])
    state = RICH if lots == 0 else holding(lots=lots, cash=98_000.0)
    assert fill_rows(roll(bars, state)) == [(1, "A", 1, 2 * (90 - lots), 50.0, R.BUY_SIGNAL)]


def test_a_dividend_is_cash_but_no_result_of_the_day() -> None:
    bars = tape([[98.0]], dividend=[[2.0]], session=np.array([2]))
    result = roll(bars, holding(lots=800, cash=20_000.0), replace(PLAIN, max_daily_loss=-0.015))
    assert result.cash.tolist() == [21_600.0]
    assert result.state.day_flows == 1_600.0
    assert result.halted_until_ns[0] > 0  # the shares lost 1.6 %; the dividend does not hide it


def test_deposits_and_withdrawals_are_set_apart() -> None:
    bars = tape([[100.0]] * 3, flow=np.array([5_000.0, -50_000.0, 0.0]))
    result = roll(bars)
    assert result.cash.tolist() == [105_000.0, 55_000.0, 55_000.0]
    assert result.halted_until_ns.tolist() == [0, 0, 0]


def test_a_withdrawal_beyond_the_cash_is_refused() -> None:
    with pytest.raises(ValueError, match=r"bar 1 withdraws 100001\.0 but the book has only 100000\.0"):
        roll(tape([[100.0]] * 2, flow=np.array([0.0, -100_001.0])))


# Exchanges.

ONE_PLACE = replace(PLAIN, max_positions=1)


def exchange_bars(opens: list[list[float]], **columns: object) -> ShadowBars:
    """A is held with a weak opinion; B is wanted at bar 0."""
    base = {"vote": [[HOLD, BUY]] + [[HOLD, HOLD]] * (len(opens) - 1), "expected_return": [[0.01, 0.02]] * len(opens)}
    return tape(opens, **(base | columns))


def test_an_exchange_sells_and_buys_at_the_same_open() -> None:
    result = roll(exchange_bars([[100.0, 50.0], [101.0, 52.0]]), holding(), ONE_PLACE)
    assert result.pair[0].tolist() == [1, -1]
    assert fill_rows(result) == [(1, "A", -1, 100, 101.0, R.REBALANCE_OUT), (1, "B", 1, 173, 52.0, R.REBALANCE_IN)]
    # 9 % of the equity at that open: 0.09 * 100,100 / 52 = 173.25
    assert result.state.trades_today == 2
    assert result.state.rebalance is None


def test_the_entry_of_an_exchange_is_checked_again_at_the_open() -> None:
    result = roll(exchange_bars([[100.0, 50.0], [101.0, 9_500.0]]), holding(), ONE_PLACE)
    assert fill_rows(result) == [(1, "A", -1, 100, 101.0, R.REBALANCE_OUT)]
    assert drop_rows(result) == [(1, "B", 1, R.BELOW_MINIMUM)]


def test_the_entry_waits_until_the_sale_is_filled() -> None:
    bars = exchange_bars([[100.0, 50.0]] * 3, traded=[[True, True], [False, True], [True, True]])
    bars = replace(bars, inputs=replace(bars.inputs, vote=np.array([[0, 1], [0, 1], [0, 0]])))
    result = roll(bars, holding(), replace(ONE_PLACE, expiry_bars=2))
    assert result.reason[1].tolist() == [R.HOLD_VOTE, R.PENDING_ORDER]
    assert [(row[0], row[1]) for row in fill_rows(result)] == [(2, "A"), (2, "B")]


def test_the_entry_waits_for_a_trade_of_its_own_symbol_with_the_newest_opinion() -> None:
    bars = exchange_bars(
        [[100.0, 50.0]] * 3,
        traded=[[True, True], [True, False], [True, True]],
        vote=[[0, 1], [0, 1], [0, 0]],
        confidence=[[0.9, 0.9], [0.9, 0.8], [0.9, 0.9]],
    )
    result = roll(bars, holding(), replace(ONE_PLACE, expiry_bars=2))
    assert [(row[0], row[1], row[3]) for row in fill_rows(result)] == [(1, "A", 100), (2, "B", 160)]


def test_an_exchange_ends_when_its_entry_is_no_longer_wanted() -> None:
    bars = exchange_bars([[100.0, 50.0]] * 3, traded=[[True, True], [False, True], [True, True]])
    result = roll(bars, holding(), replace(ONE_PLACE, expiry_bars=2))
    assert drop_rows(result) == [(1, "B", 1, R.HOLD_VOTE)]
    assert [(row[0], row[1]) for row in fill_rows(result)] == [(2, "A")]


def test_an_exchange_expires_with_its_sale() -> None:
    bars = exchange_bars([[100.0, 50.0]] * 2, traded=[[True, True], [False, True]])
    result = roll(bars, holding(), ONE_PLACE)
    assert drop_rows(result) == [(1, "A", -1, R.EXPIRED), (1, "B", 1, R.EXPIRED)]
    assert result.state.rebalance is None


# What the door refuses, and what it makes room for.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"low": np.array([[101.0]])}, "low <= open"),
        ({"open": np.array([[float("nan")]])}, "positive prices"),
        ({"end_ns": np.array([NOW_NS])}, "ends after it starts"),
        ({"session": np.array([0])}, "session"),
        ({"split": np.array([[0.0]])}, "split"),
        ({"dividend": np.array([[-1.0]])}, "dividend"),
        ({"fees": np.array([[0.0, 0.0, 0.0]])}, "fees has shape"),
        ({"open": np.array([100.0])}, "open has shape"),
    ],
)
def test_bars_that_make_no_sense_are_refused(changes: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        roll(replace(tape([[100.0]]), **changes))


def test_bars_that_fall_back_in_time_are_refused() -> None:
    bars = tape([[100.0], [100.0]])
    with pytest.raises(ValueError, match="start_ns"):
        roll(replace(bars, start_ns=bars.start_ns[::-1].copy(), end_ns=bars.end_ns[::-1].copy()))
    with pytest.raises(ValueError, match="session"):
        roll(bars, replace(RICH, session=2))


def test_a_bar_without_a_trade_needs_no_prices() -> None:
    nan = np.array([[float("nan")]])
    bars = tape([[float("nan")]], open=nan, high=nan, low=nan, traded=[[False]], status=int(R.NO_BAR))
    assert roll(bars, holding()).equity.tolist() == [100_000.0]


def test_a_held_symbol_without_bars_is_refused() -> None:
    held = BookState(cash=0.0, holdings=(Holding("Z", 1, 1.0, 1.0),))
    with pytest.raises(ValueError, match="holds or orders Z"):
        roll(tape([[100.0]]), held)


def test_no_bars_change_nothing() -> None:
    result = roll(tape(np.empty((0, 1))), holding())
    assert result.state == holding()
    assert len(result.equity) == 0


def test_the_log_grows_with_the_fills(monkeypatch: pytest.MonkeyPatch) -> None:
    side = np.tile([[BUY], [SELL]], (60, 1))
    bars = tape(np.full((120, 1), 100.0), vote=side, expected_return=np.where(side > 0, 0.02, -0.02))
    wide = roll(bars, params=replace(PLAIN, max_daily_trades=1000))
    monkeypatch.setattr(shadow, "_FIRST_LOG_ROWS", 10)
    narrow = roll(bars, params=replace(PLAIN, max_daily_trades=1000))
    assert len(narrow.fills.bar) == 119
    assert fill_rows(narrow) == fill_rows(wide)
    assert narrow.equity.tobytes() == wide.equity.tobytes()
