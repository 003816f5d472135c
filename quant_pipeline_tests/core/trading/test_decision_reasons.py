"""One hand-computed scenario for each reason that a decision can have, alone in its market."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quant_pipeline.core.trading.decisions import decide
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Reason
from quant_pipeline_tests.core.trading.building import BUY, HOLD, KRW, NOW_NS, PLAIN, SELL, book, inputs, outcome

NAN = float("nan")


def alone(params: TradingParams = PLAIN, held: dict[str, Any] | None = None, **columns: Any) -> tuple[int, Reason, int]:
    """The decision on a single symbol."""
    return outcome(decide(inputs(1, **columns), book(1, **(held or {})), params))[0]


def test_buy_of_nine_percent_at_confidence_point_nine() -> None:
    assert alone(vote=BUY) == (1, Reason.BUY_SIGNAL, 90)


def test_twice_the_reference_volatility_halves_the_size() -> None:
    assert alone(vote=BUY, vol20=0.03) == (1, Reason.BUY_SIGNAL, 45)


def test_an_entry_by_amount_names_whole_won_and_no_lots() -> None:
    decisions = decide(inputs(1, vote=BUY, price=158_000_000.0), book(1, equity=1_234_567.0), KRW)
    assert outcome(decisions) == [(1, Reason.BUY_SIGNAL, 0)]
    assert decisions.notional.tolist() == [111_111.0]  # 9 % of 1,234,567 is 111,111.03


def test_sale_of_everything() -> None:
    assert alone(vote=SELL, expected_return=-0.02, held={"lots": [30]}) == (-1, Reason.SELL_SIGNAL, 30)


def test_sale_of_a_fraction() -> None:
    params = replace(PLAIN, sell_fraction=0.5)
    assert alone(params, vote=SELL, expected_return=-0.02, held={"lots": [31]}) == (-1, Reason.SELL_SIGNAL, 15)


@pytest.mark.parametrize("code", [Reason.BAD_DATA, Reason.NOT_OPEN, Reason.NO_HISTORY, Reason.NO_BAR])
def test_a_symbol_with_a_status_is_left_alone_for_that_reason(code: Reason) -> None:
    assert alone(vote=BUY, status=int(code)) == (0, code, 0)


def test_stale_quote_status() -> None:
    assert alone(vote=BUY, status=int(Reason.STALE_QUOTE)) == (0, Reason.STALE_QUOTE, 0)


@pytest.mark.parametrize("price", [NAN, 0.0, -1.0, float("inf")])
def test_a_price_that_is_none_is_bad_data(price: float) -> None:
    assert alone(vote=BUY, price=price) == (0, Reason.BAD_DATA, 0)


@pytest.mark.parametrize("vol", [NAN, float("inf")])
def test_no_volatility_means_too_little_history_to_size_an_entry(vol: float) -> None:
    assert alone(vote=BUY, vol20=vol) == (0, Reason.NO_HISTORY, 0)


def test_an_exit_by_vote_needs_no_volatility() -> None:
    assert alone(vote=SELL, expected_return=-0.02, vol20=NAN, held={"lots": [3]}) == (-1, Reason.SELL_SIGNAL, 3)


def test_hold_by_vote() -> None:
    assert alone(vote=HOLD) == (0, Reason.HOLD_VOTE, 0)


@pytest.mark.parametrize("missing", [{"has_model": False}, {"expected_return": NAN}])
def test_no_model_or_no_number_from_it(missing: dict[str, Any]) -> None:
    assert alone(vote=BUY, **missing) == (0, Reason.NO_MODEL, 0)


@pytest.mark.parametrize("members", [0, 1])
def test_one_member_alone_never_trades_however_confident(members: int) -> None:
    assert alone(vote=BUY, members_usable=members, confidence=1.0) == (0, Reason.TOO_FEW_MEMBERS, 0)


@pytest.mark.parametrize(
    ("confidence", "reason"), [(0.7, Reason.AI_UNSURE), (0.7000001, Reason.BUY_SIGNAL), (NAN, Reason.AI_UNSURE)]
)
def test_confidence_must_exceed_its_threshold(confidence: float, reason: Reason) -> None:
    assert alone(vote=BUY, confidence=confidence)[1] is reason


@pytest.mark.parametrize(
    ("vote", "expected", "reason"),
    [
        (BUY, 0.005, Reason.AI_DISAGREES),
        (BUY, 0.0051, Reason.BUY_SIGNAL),
        (BUY, -0.02, Reason.AI_DISAGREES),
        (SELL, -0.005, Reason.AI_DISAGREES),
        (SELL, -0.0051, Reason.SELL_SIGNAL),
        (SELL, 0.02, Reason.AI_DISAGREES),
    ],
)
def test_the_opinion_must_pass_the_threshold_on_the_side_of_the_vote(
    vote: int, expected: float, reason: Reason
) -> None:
    assert alone(vote=vote, expected_return=expected, held={"lots": [1]})[1] is reason


@pytest.mark.parametrize(
    ("columns", "reason"),
    [
        ({"expected_return": 0.0051}, Reason.BUY_SIGNAL),
        ({"expected_return": -0.0051}, Reason.SELL_SIGNAL),
        ({"expected_return": 0.005}, Reason.HOLD_VOTE),
        ({"expected_return": 0.02, "confidence": 0.7}, Reason.HOLD_VOTE),
        ({"expected_return": -0.02, "confidence": 0.7}, Reason.HOLD_VOTE),
        ({"has_model": False}, Reason.NO_MODEL),
        ({"members_usable": 1}, Reason.TOO_FEW_MEMBERS),
    ],
)
def test_with_an_abstaining_vote_the_opinion_alone_decides(columns: dict[str, Any], reason: Reason) -> None:
    params = replace(PLAIN, vote_abstains=True)
    assert alone(params, held={"lots": [10]}, **columns)[1] is reason


def test_nothing_to_sell() -> None:
    assert alone(vote=SELL, expected_return=-0.02) == (0, Reason.NOTHING_TO_SELL, 0)


def test_what_is_bound_in_a_sale_cannot_be_sold_again() -> None:
    held = {"lots": [10], "pending_sell_lots": [10]}
    assert alone(vote=SELL, expected_return=-0.02, held=held) == (0, Reason.NOTHING_TO_SELL, 0)


@pytest.mark.parametrize(
    ("vote", "pending"),
    [
        (BUY, {"pending_buy_notional": [500.0]}),
        (BUY, {"pending_sell_lots": [4]}),
        (SELL, {"pending_buy_notional": [500.0]}),
        (SELL, {"pending_sell_lots": [4]}),
    ],
)
def test_one_order_for_each_symbol_at_a_time(vote: int, pending: dict[str, Any]) -> None:
    expected = 0.02 * vote
    assert alone(vote=vote, expected_return=expected, held={"lots": [10], **pending}) == (0, Reason.PENDING_ORDER, 0)


def test_a_symbol_that_waits_for_its_exchange_has_an_order_under_way() -> None:
    assert alone(vote=BUY, held={"rebalance_into": "A"}) == (0, Reason.PENDING_ORDER, 0)


def test_nothing_is_bought_while_paused() -> None:
    assert alone(vote=BUY, held={"paused": True}) == (0, Reason.PAUSED, 0)


def test_nothing_is_bought_while_halted() -> None:
    assert alone(vote=BUY, held={"halted_until_ns": NOW_NS + 1}) == (0, Reason.HALTED, 0)


def test_a_halt_has_ended_at_its_end() -> None:
    assert alone(vote=BUY, held={"halted_until_ns": NOW_NS})[1] is Reason.BUY_SIGNAL


@pytest.mark.parametrize("state", [{"paused": True}, {"halted_until_ns": NOW_NS + 1}, {"trades_today": 50}])
def test_sales_go_on_while_entries_are_blocked(state: dict[str, Any]) -> None:
    held = {"lots": [10], **state}
    assert alone(vote=SELL, expected_return=-0.02, held=held) == (-1, Reason.SELL_SIGNAL, 10)


def test_daily_trades_are_limited() -> None:
    assert alone(vote=BUY, held={"trades_today": 50}) == (0, Reason.MAX_DAILY_TRADES, 0)
    assert alone(vote=BUY, held={"trades_today": 49})[1] is Reason.BUY_SIGNAL


@pytest.mark.parametrize(
    ("lots", "expected"),
    [
        (0, (1, Reason.BUY_SIGNAL, 90)),
        (50, (1, Reason.BUY_SIGNAL, 40)),
        (89, (1, Reason.BUY_SIGNAL, 1)),
        (90, (0, Reason.MAX_POSITION_SIZE, 0)),
        (200, (0, Reason.MAX_POSITION_SIZE, 0)),
    ],
)
def test_the_cap_is_on_the_resulting_position(lots: int, expected: tuple[int, Reason, int]) -> None:
    assert alone(vote=BUY, held={"lots": [lots], "cash": 100_000.0 - 100.0 * lots}) == expected


def test_a_price_above_the_room_leaves_no_whole_share() -> None:
    assert alone(vote=BUY, price=9_000.01) == (0, Reason.BELOW_MINIMUM, 0)
    assert alone(vote=BUY, price=9_000.0) == (1, Reason.BUY_SIGNAL, 1)


@pytest.mark.parametrize(("equity", "reason"), [(55_555.0, Reason.BELOW_MINIMUM), (55_556.0, Reason.BUY_SIGNAL)])
def test_an_entry_below_the_venues_minimum_is_not_made(equity: float, reason: Reason) -> None:
    assert alone(KRW, vote=BUY, held={"equity": equity})[1] is reason  # 9 % of it is 4,999.95 and 5,000.04


def test_dust_cannot_be_sold() -> None:
    held = {"lots": [4_999 * 10**6]}
    assert alone(KRW, vote=SELL, expected_return=-0.02, held=held) == (0, Reason.BELOW_MINIMUM, 0)  # worth 4,999


@pytest.mark.parametrize(("cash", "reason"), [(8_999.99, Reason.INSUFFICIENT_CASH), (9_000.0, Reason.BUY_SIGNAL)])
def test_cash_must_cover_the_whole_size(cash: float, reason: Reason) -> None:
    assert alone(vote=BUY, held={"cash": cash})[1] is reason


def test_cash_must_also_cover_fee_and_slippage() -> None:
    params = replace(PLAIN, slippage=0.01, buy_rate=0.001)
    needed = 9_000 * 1.01 * 1.001
    assert alone(params, vote=BUY, held={"cash": needed - 0.01})[1] is Reason.INSUFFICIENT_CASH
    assert alone(params, vote=BUY, held={"cash": needed + 0.01})[1] is Reason.BUY_SIGNAL


def test_an_empty_account_buys_nothing_and_is_not_halted() -> None:
    decisions = decide(inputs(1, vote=BUY), book(1, equity=0.0), PLAIN)
    assert outcome(decisions) == [(0, Reason.MAX_POSITION_SIZE, 0)]
    assert not decisions.halt_started
