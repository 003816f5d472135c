"""How decisions of one bar see each other: order, limits over the whole book, halts, exchanges."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from quant_pipeline.core.trading.decisions import BarDecisions, decide, review_rebalance_in
from quant_pipeline.core.values import Reason
from quant_pipeline_tests.core.trading.building import (
    BUY,
    HOLD,
    HOUR_NS,
    KRW,
    NOW_NS,
    PLAIN,
    SELL,
    book,
    inputs,
    outcome,
    reasons,
)

R = Reason


def test_the_highest_expectation_takes_the_last_place() -> None:
    params = replace(PLAIN, max_positions=1)
    decided = decide(inputs(3, vote=BUY, expected_return=[0.01, 0.03, 0.02]), book(3), params)
    assert reasons(decided) == [R.MAX_POSITIONS, R.BUY_SIGNAL, R.MAX_POSITIONS]


def test_equal_expectations_keep_the_order_of_symbols() -> None:
    params = replace(PLAIN, max_positions=2)
    decided = decide(inputs(3, vote=BUY), book(3), params)
    assert reasons(decided) == [R.BUY_SIGNAL, R.BUY_SIGNAL, R.MAX_POSITIONS]


def test_exactly_the_exposure_limit_is_allowed_and_not_a_share_more() -> None:
    full = {"vote": BUY, "confidence": 1.0}
    params = replace(PLAIN, max_positions=20)
    decided = decide(inputs(9, **full), book(9), params)  # eight times 10 % is exactly 80 %
    assert reasons(decided) == [R.BUY_SIGNAL] * 8 + [R.MAX_EXPOSURE]
    assert decided.exposure == pytest.approx(80_000.0)
    held = book(9, lots=[0] * 8 + [1], cash=99_900.0)  # H would end at 80,100, but the rest of I still fits
    assert reasons(decide(inputs(9, **full), held, params)) == [R.BUY_SIGNAL] * 7 + [R.MAX_EXPOSURE, R.BUY_SIGNAL]


def test_a_size_that_does_not_fit_is_refused_whole_and_a_smaller_one_after_it_may_pass() -> None:
    held = book(3, lots=[0, 0, 750], cash=25_000.0)
    some = inputs(3, vote=[BUY, BUY, HOLD], confidence=[0.9, 0.9, 0.9], vol20=[0.01, 0.03, 0.01])
    some = replace(some, expected_return=np.array([0.03, 0.02, 0.01]), has_opinion=np.zeros(3, bool))
    assert outcome(decide(some, held, PLAIN)) == [(0, R.MAX_EXPOSURE, 0), (1, R.BUY_SIGNAL, 45), (0, R.HOLD_VOTE, 0)]


def test_pending_entries_count_as_exposure_positions_and_cash() -> None:
    waiting = {"pending_buy_notional": [0.0, 75_000.0], "has_opinion": False}
    pending = waiting.pop("pending_buy_notional")
    votes = {"vote": [BUY, HOLD], **waiting}
    assert reasons(decide(inputs(2, **votes), book(2, pending_buy_notional=pending), PLAIN))[0] is R.MAX_EXPOSURE
    one = replace(PLAIN, max_positions=1)
    assert reasons(decide(inputs(2, **votes), book(2, pending_buy_notional=[0.0, 10.0]), one))[0] is R.MAX_POSITIONS
    short = book(2, pending_buy_notional=[0.0, 1_000.0], cash=9_999.0)
    assert reasons(decide(inputs(2, **votes), short, PLAIN))[0] is R.INSUFFICIENT_CASH


def test_an_entry_leaves_less_cash_to_the_next() -> None:
    decided = decide(inputs(2, vote=BUY), book(2, cash=17_999.0), PLAIN)
    assert reasons(decided) == [R.BUY_SIGNAL, R.INSUFFICIENT_CASH]
    assert decided.free_cash == pytest.approx(8_999.0)


def test_a_sale_under_way_frees_neither_place_nor_cash() -> None:
    held = book(2, lots=[900, 0], cash=10_000.0)
    some = inputs(2, vote=[SELL, BUY], expected_return=[-0.02, 0.02])
    assert reasons(decide(some, held, PLAIN)) == [R.SELL_SIGNAL, R.MAX_EXPOSURE]
    assert reasons(decide(some, held, replace(PLAIN, max_positions=1))) == [R.SELL_SIGNAL, R.MAX_POSITIONS]
    broke = book(2, lots=[10, 0], cash=100.0)
    assert reasons(decide(some, broke, PLAIN)) == [R.SELL_SIGNAL, R.INSUFFICIENT_CASH]


def test_adding_to_a_holding_takes_no_new_place() -> None:
    held = book(2, lots=[10, 0], cash=99_000.0)
    decided = decide(inputs(2, vote=BUY), held, replace(PLAIN, max_positions=1))
    assert outcome(decided) == [(1, R.BUY_SIGNAL, 80), (0, R.MAX_POSITIONS, 0)]
    assert decided.positions == 1


def test_dust_takes_no_place() -> None:
    held = book(2, lots=[10**6, 0], equity=1_000_000.0)
    decided = decide(inputs(2, vote=[HOLD, BUY]), held, replace(KRW, max_positions=1))
    assert reasons(decided) == [R.HOLD_VOTE, R.BUY_SIGNAL]


def test_trades_of_the_bar_itself_are_counted_sales_first() -> None:
    params = replace(PLAIN, max_daily_trades=3)
    some = inputs(4, vote=[BUY, SELL, BUY, BUY], expected_return=[0.01, -0.02, 0.03, 0.02])
    decided = decide(some, book(4, lots=[0, 5, 0, 0]), params)
    assert reasons(decided) == [R.MAX_DAILY_TRADES, R.SELL_SIGNAL, R.BUY_SIGNAL, R.BUY_SIGNAL]
    assert decided.trades_today == 3


def test_sales_are_made_beyond_the_limit_of_trades() -> None:
    some = inputs(2, vote=SELL, expected_return=-0.02)
    decided = decide(some, book(2, lots=[5, 5], trades_today=50), PLAIN)
    assert reasons(decided) == [R.SELL_SIGNAL] * 2
    assert decided.trades_today == 52


# Halts.


@pytest.mark.parametrize(("equity", "halts"), [(98_000.01, False), (98_000.0, True), (90_000.0, True)])
def test_two_percent_loss_since_day_start_halts_for_a_day(equity: float, *, halts: bool) -> None:
    decided = decide(inputs(1, vote=BUY), book(1, equity=equity, day_start_equity=100_000.0), PLAIN)
    assert decided.halt_started is halts
    assert decided.halted_until_ns == (NOW_NS + 24 * HOUR_NS if halts else 0)
    assert reasons(decided) == [R.HALTED if halts else R.BUY_SIGNAL]


def test_a_withdrawal_is_no_loss_and_a_deposit_hides_none() -> None:
    taken_out = book(1, equity=90_000.0, day_start_equity=100_000.0, day_flows=-10_000.0)
    assert not decide(inputs(1), taken_out, PLAIN).halt_started
    paid_in = book(1, equity=100_000.0, day_start_equity=100_000.0, day_flows=5_000.0)
    assert decide(inputs(1), paid_in, PLAIN).halt_started


def test_a_running_halt_is_not_prolonged() -> None:
    until = NOW_NS + 5 * HOUR_NS
    decided = decide(inputs(1), book(1, equity=50_000.0, day_start_equity=1e5, halted_until_ns=until), PLAIN)
    assert decided.halted_until_ns == until
    assert not decided.halt_started


def test_after_its_end_a_loss_that_still_stands_halts_again() -> None:
    past = book(1, equity=97_000.0, day_start_equity=1e5, halted_until_ns=NOW_NS)
    assert decide(inputs(1), past, PLAIN).halted_until_ns == NOW_NS + 24 * HOUR_NS


def test_the_halt_of_a_bar_already_blocks_its_own_entries_but_no_sale() -> None:
    some = inputs(2, vote=[SELL, BUY], expected_return=[-0.02, 0.02])
    decided = decide(some, book(2, lots=[10, 0], equity=97_000.0, day_start_equity=100_000.0), PLAIN)
    assert reasons(decided) == [R.SELL_SIGNAL, R.HALTED]


# Exchanges: a clearly better symbol replaces the weakest holding.


def exchange(
    own: float = 0.01, new: float = 0.02, fields: dict[str, Any] | None = None, **columns: Any
) -> BarDecisions:
    """A is held and all places are taken; B is wanted."""
    held = book(2, **({"lots": [50, 0], "cash": 95_000.0} | (fields or {})))
    some = inputs(2, **({"vote": [HOLD, BUY], "expected_return": [own, new]} | columns))
    return decide(some, held, replace(PLAIN, max_positions=1))


def test_the_weakest_is_sold_whole_and_the_entry_waits() -> None:
    decided = exchange()
    assert outcome(decided) == [(-1, R.REBALANCE_OUT, 50), (0, R.MAX_POSITIONS, 0)]
    assert decided.pair.tolist() == [1, -1]
    assert decided.notional.tolist() == [5_000.0, 0.0]
    assert decided.trades_today == 1


@pytest.mark.parametrize(
    ("own", "new", "sold"),
    [
        (0.010, 0.0151, True),
        (0.010, 0.0150, False),  # must be more than 1.5 times
        (-0.001, 0.0051, True),  # any positive expectation beats a negative one
        (0.0, 0.0051, True),
        (0.030, 0.0200, False),
    ],
)
def test_the_new_expectation_must_be_clearly_better(own: float, new: float, *, sold: bool) -> None:
    assert (exchange(own, new).action[0] < 0) == sold


def test_a_holding_without_an_opinion_is_never_given_up() -> None:
    kept = [(0, R.HOLD_VOTE, 0), (0, R.MAX_POSITIONS, 0)]
    assert outcome(exchange(has_opinion=[False, True])) == kept
    assert outcome(exchange(members_usable=[1, 4])) == kept
    assert outcome(exchange(own=float("nan"))) == kept


def test_a_holding_with_bad_data_or_an_order_under_way_is_not_given_up() -> None:
    assert reasons(exchange(status=[int(R.BAD_DATA), 0])) == [R.BAD_DATA, R.MAX_POSITIONS]
    assert reasons(exchange(fields={"pending_sell_lots": [5, 0]})) == [R.HOLD_VOTE, R.MAX_POSITIONS]


def test_nothing_is_given_up_for_an_entry_that_could_not_be_made() -> None:
    kept = [R.HOLD_VOTE, R.MAX_POSITIONS]
    assert reasons(exchange(price=[100.0, 9_500.0])) == kept  # not one share of B fits its size
    assert reasons(exchange(fields={"cash": 1_000.0})) == kept  # 6,000 after the sale, 9,000 needed
    assert reasons(exchange(fields={"trades_today": 49})) == kept  # room for one trade, two needed
    assert reasons(exchange(fields={"trades_today": 48}))[0] is R.REBALANCE_OUT


def test_a_blocked_exposure_is_freed_by_the_weakest_holding() -> None:
    held = book(3, lots=[500, 250, 0], cash=25_000.0)
    votes = {"vote": [HOLD, HOLD, BUY]}
    decided = decide(inputs(3, expected_return=[0.01, 0.012, 0.02], **votes), held, PLAIN)
    assert outcome(decided)[0] == (-1, R.REBALANCE_OUT, 500)
    assert reasons(decided)[2] is R.MAX_EXPOSURE
    decided = decide(inputs(3, expected_return=[0.012, 0.01, 0.02], **votes), held, PLAIN)
    assert outcome(decided)[1] == (-1, R.REBALANCE_OUT, 250)


def test_a_weakest_holding_that_frees_too_little_is_kept() -> None:
    held = book(3, lots=[760, 10, 0], cash=23_000.0)
    decided = decide(inputs(3, vote=[HOLD, HOLD, BUY], expected_return=[0.012, 0.01, 0.02]), held, PLAIN)
    assert reasons(decided) == [R.HOLD_VOTE, R.HOLD_VOTE, R.MAX_EXPOSURE]


def test_one_exchange_for_each_bar_and_for_each_book() -> None:
    params = replace(PLAIN, max_positions=2)
    held = book(4, lots=[50, 50, 0, 0], cash=90_000.0)
    some = inputs(4, vote=[HOLD, HOLD, BUY, BUY], expected_return=[-0.02, -0.01, 0.02, 0.03])
    decided = decide(some, held, params)
    assert reasons(decided) == [R.REBALANCE_OUT, R.HOLD_VOTE, R.MAX_POSITIONS, R.MAX_POSITIONS]
    assert decided.pair.tolist() == [3, -1, -1, -1]
    waiting = replace(held, rebalance_into="C")
    assert reasons(decide(some, waiting, params)) == [R.HOLD_VOTE, R.HOLD_VOTE, R.PENDING_ORDER, R.MAX_POSITIONS]
    gone = replace(held, rebalance_into="of another list")
    assert reasons(decide(some, gone, params)) == [R.HOLD_VOTE, R.HOLD_VOTE, R.MAX_POSITIONS, R.MAX_POSITIONS]


def test_an_entry_wanted_later_in_the_bar_can_be_the_one_given_up() -> None:
    held = book(2, lots=[50, 0], cash=95_000.0)
    some = inputs(2, vote=BUY, expected_return=[0.01, 0.02])
    decided = decide(some, held, replace(PLAIN, max_positions=1))
    assert outcome(decided) == [(-1, R.REBALANCE_OUT, 50), (0, R.MAX_POSITIONS, 0)]


def test_the_second_check_uses_the_gates_and_the_size_of_any_entry() -> None:
    after_sale = book(2, rebalance_into="B")
    passed = review_rebalance_in(after_sale, PLAIN, "B", price=90.0, confidence=0.9, vol20=0.01)
    assert (passed.reason, passed.lots, passed.notional) == (R.REBALANCE_IN, 100, 9_000.0)
    halted = replace(after_sale, halted_until_ns=NOW_NS + 1)
    vetoed = review_rebalance_in(halted, PLAIN, "B", price=90.0, confidence=0.9, vol20=0.01)
    assert (vetoed.reason, vetoed.lots, vetoed.notional) == (R.HALTED, 0, 0.0)


# What the door refuses.


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"vote": np.array([2, 0])}, "vote holds 2"),
        ({"status": np.array([12, 0])}, "status holds 12"),
        ({"price": np.array([1.0])}, "price has shape"),
        ({"symbols": ("B", "A")}, "sorted"),
        ({"symbols": ("A", "A")}, "sorted"),
        ({"members_usable": np.array([1.5, 2.0])}, "members_usable holds float64"),
    ],
)
def test_inputs_that_make_no_sense_are_refused_by_name(changes: dict[str, Any], message: str) -> None:
    some = replace(inputs(2), **changes)
    with pytest.raises((ValueError, TypeError), match=message):
        decide(some, replace(book(2), symbols=some.symbols), PLAIN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lots": np.array([-1, 0])}, "long only"),
        ({"pending_buy_notional": np.array([0.0, float("nan")])}, "pending_buy_notional"),
        ({"equity": float("nan")}, "equity"),
        ({"symbols": ("A", "C")}, "same sorted symbols"),
        ({"lots": np.array([1, 0]), "mark_price": np.array([float("nan"), 1.0])}, "mark of a held symbol"),
    ],
)
def test_a_book_that_makes_no_sense_is_refused_by_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decide(inputs(2), replace(book(2), **changes), PLAIN)


def test_a_holding_without_a_price_is_marked_at_its_cost() -> None:
    some = inputs(2, vote=[HOLD, BUY], price=[float("nan"), 100.0], status=[int(R.NO_BAR), 0])
    decided = decide(some, book(2, lots=[10, 0], avg_price=[50.0, 0.0]), PLAIN)
    assert decided.exposure == pytest.approx(500.0 + 9_000.0)
    marked = decide(some, book(2, lots=[10, 0], mark_price=np.array([70.0, 100.0])), PLAIN)
    assert marked.exposure == pytest.approx(700.0 + 9_000.0)


def test_a_symbol_without_any_price_or_cost_does_no_harm_while_it_is_not_held() -> None:
    nan = float("nan")
    some = inputs(2, vote=BUY, price=[nan, 100.0])
    decided = decide(some, book(2, avg_price=[nan, nan]), PLAIN)
    assert outcome(decided) == [(0, R.BAD_DATA, 0), (1, R.BUY_SIGNAL, 90)]
    assert decided.exposure == 9_000.0
    marked = decide(inputs(1, vote=BUY), book(1, mark_price=np.array([nan])), PLAIN)
    assert outcome(marked) == [(1, R.BUY_SIGNAL, 90)]
