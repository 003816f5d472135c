from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.trading.state import (
    BookState,
    Holding,
    PendingOrder,
    RebalancePlan,
    state_from_bytes,
    state_hash,
    state_to_bytes,
)
from quant_pipeline.core.trading.state_arrays import from_arrays, to_arrays
from quant_pipeline.core.values import Reason, Side

AMOUNT = st.floats(0, 1e15)
PRICE = st.floats(1e-8, 1e9)
NANOSECONDS = st.integers(0, 2**62)
NAMES = st.lists(st.sampled_from("ABCDEFGH"), unique=True, min_size=1)


@st.composite
def orders(draw: st.DrawFn, symbol: str) -> PendingOrder:
    side = draw(st.sampled_from(Side))
    return PendingOrder(
        symbol=symbol,
        side=side,
        lots=draw(st.integers(0, 2**60)),
        notional=draw(AMOUNT) if side is Side.BUY else 0.0,
        reason=draw(st.sampled_from([Reason.BUY_SIGNAL, Reason.SELL_SIGNAL, Reason.REBALANCE_OUT])),
        bars_left=draw(st.integers(1, 9)),
        decided_ns=draw(NANOSECONDS),
    )


@st.composite
def states(draw: st.DrawFn) -> BookState:
    held = [
        Holding(name, draw(st.integers(1, 2**60)), draw(PRICE), draw(PRICE), draw(st.booleans()))
        for name in sorted(draw(NAMES))
    ]
    plan = RebalancePlan("A", draw(st.sampled_from([None, "B"])), 0.02, draw(st.floats(0, 1)), 0.01, 1, 7)
    return BookState(
        cash=draw(AMOUNT),
        day_start_equity=draw(AMOUNT),
        day_flows=draw(st.floats(-1e9, 1e9)),
        realised=draw(st.floats(-1e9, 1e9)),
        fees=draw(AMOUNT),
        session=draw(st.integers(0, 10**6)),
        trades_today=draw(st.integers(0, 100)),
        halted_until_ns=draw(NANOSECONDS),
        holdings=tuple(held),
        pending=tuple(draw(orders(name)) for name in draw(NAMES)),
        rebalance=draw(st.sampled_from([None, plan])),
    )


@given(states())
def test_bytes_and_back(state: BookState) -> None:
    data = state_to_bytes(state)
    assert state_from_bytes(data) == state
    assert state_to_bytes(state_from_bytes(data)) == data


@given(states(), st.sets(st.sampled_from(["0", "CC", "Z", "é"])))
def test_arrays_and_back_whatever_other_symbols_the_market_has(state: BookState, others: set[str]) -> None:
    symbols = tuple(sorted(set(state.symbols) | others))
    again = from_arrays(to_arrays(state, symbols), symbols)
    assert again == state
    assert state_hash(again) == state_hash(state)


def test_equal_states_have_one_spelling() -> None:
    whole: Any = 100
    assert state_to_bytes(BookState(cash=whole)) == state_to_bytes(BookState(cash=100.0))
    assert state_to_bytes(BookState(cash=-0.0)) == state_to_bytes(BookState(cash=0.0))


def test_the_bytes_are_readable_and_name_their_format() -> None:
    order = PendingOrder("A", Side.BUY, 3, 300.0, Reason.BUY_SIGNAL, 1, 5)
    content = json.loads(state_to_bytes(BookState(cash=1.5, pending=(order,))))
    assert content["format"] == "quant_pipeline/book-state/1"
    assert content["pending"][0] == {
        "symbol": "A",
        "side": "buy",
        "lots": 3,
        "notional": 300.0,
        "reason": "buy_signal",
        "bars_left": 1,
        "decided_ns": 5,
    }


def test_the_bytes_of_a_stored_state_stay_what_they_are() -> None:
    state = BookState(cash=0.1, holdings=(Holding("A", 10, 1 / 3, 2.0),))
    stored = (
        b'{"cash":0.1,"day_flows":0.0,"day_start_equity":0.0,"fees":0.0,"format":"quant_pipeline/book-state/1",'
        b'"halted_until_ns":0,"holdings":[{"avg_price":0.3333333333333333,"last_price":2.0,"lots":10,'
        b'"profit_taken":false,"symbol":"A"}],"pending":[],"realised":0.0,"rebalance":null,"session":0,"trades_today":0}'
    )
    assert state_to_bytes(state) == stored
    assert state_hash(state) == hashlib.sha256(stored).hexdigest()


def test_any_difference_changes_the_hash() -> None:
    state = BookState(cash=1.0, holdings=(Holding("A", 10, 5.0, 5.0),))
    others = [
        replace(state, cash=1.0000000000000002),
        replace(state, holdings=(Holding("A", 10, 5.0, 5.0, profit_taken=True),)),
        replace(state, trades_today=1),
        replace(state, rebalance=RebalancePlan("A", None, 0.1, 0.9, 0.01, 1, 0)),
    ]
    assert len({state_hash(other) for other in [state, *others]}) == 5


@pytest.mark.parametrize("data", [b"", b"no json", b"[]", b'{"format":"something/else"}'])
def test_what_is_no_state_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="book state"):
        state_from_bytes(data)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cash": -0.01}, "cash -0.01"),
        ({"cash": float("nan")}, "cash nan"),
        ({"cash": 1.0, "holdings": (Holding("B", 1, 1.0, 1.0), Holding("A", 1, 1.0, 1.0))}, "sorted"),
        ({"cash": 1.0, "pending": (PendingOrder("A", Side.BUY, 1, 1.0, Reason.BUY_SIGNAL, 1, 0),) * 2}, "twice"),
    ],
)
def test_a_book_that_no_roll_could_leave_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        BookState(**fields)


def test_a_holding_without_lots_is_refused() -> None:
    with pytest.raises(ValueError, match="holding of A"):
        Holding("A", 0, 1.0, 1.0)


def test_equity_counts_lots_in_their_scale() -> None:
    state = BookState(cash=100.0, holdings=(Holding("KRW-BTC", 25_000_000, 1.0, 1000.0),))
    assert state.equity(qty_decimals=8) == 350.0


def test_symbols_of_a_state_include_orders_and_exchanges() -> None:
    order = PendingOrder("B", Side.SELL, 1, 0.0, Reason.REBALANCE_OUT, 1, 0)
    plan = RebalancePlan("C", "B", 0.02, 0.9, 0.01, 1, 0)
    assert BookState(cash=0.0, pending=(order,), rebalance=plan).symbols == ("B", "C")
    assert BookState(cash=0.0).symbols == ()
