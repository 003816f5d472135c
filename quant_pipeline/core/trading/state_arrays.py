"""Between a book state and the arrays of the kernel, for the symbols of one call."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from quant_pipeline.core.trading.kernel_types import (
    PLAN_CONFIDENCE,
    PLAN_DECIDED,
    PLAN_EXPECTED,
    PLAN_IN,
    PLAN_LEFT,
    PLAN_OUT,
    PLAN_VOL,
    S_CASH,
    S_DAY_FLOWS,
    S_DAY_START,
    S_FEES,
    S_HALTED_UNTIL,
    S_REALISED,
    S_SEQ,
    S_SESSION,
    S_TRADES,
    STATE_COUNT,
    STATE_MONEY,
    StateK,
)
from quant_pipeline.core.trading.state import BookState, Holding, PendingOrder, RebalancePlan
from quant_pipeline.core.values import Reason, Side


def to_arrays(state: BookState, symbols: tuple[str, ...]) -> StateK:
    """The state as fresh arrays over `symbols`.

    Raises:
        ValueError: the state speaks of a symbol that is not among `symbols`.
    """
    missing = [symbol for symbol in state.symbols if symbol not in symbols]
    if missing:
        msg = f"the book holds or orders {', '.join(missing)}, but this call has bars of {', '.join(symbols)} only;"
        msg += " give the bars of every symbol that the book holds"
        raise ValueError(msg)
    index = {symbol: i for i, symbol in enumerate(symbols)}
    arrays = _empty_arrays(len(symbols))
    arrays.money[S_CASH], arrays.money[S_DAY_START] = state.cash, state.day_start_equity
    arrays.money[S_DAY_FLOWS], arrays.money[S_REALISED] = state.day_flows, state.realised
    arrays.money[S_FEES], arrays.counts[S_SESSION] = state.fees, state.session
    arrays.counts[S_TRADES], arrays.counts[S_HALTED_UNTIL] = state.trades_today, state.halted_until_ns
    for held in state.holdings:
        i = index[held.symbol]
        arrays.lots[i], arrays.avg[i] = held.lots, held.avg_price
        arrays.last[i], arrays.taken[i] = held.last_price, held.profit_taken
    for sequence, order in enumerate(state.pending):
        i = index[order.symbol]
        arrays.side[i] = 1 if order.side is Side.BUY else -1
        arrays.order_lots[i], arrays.order_notional[i] = order.lots, order.notional
        arrays.order_reason[i], arrays.order_seq[i] = order.reason, sequence
        arrays.order_left[i], arrays.order_decided[i] = order.bars_left, order.decided_ns
    arrays.counts[S_SEQ] = len(state.pending)
    if state.rebalance is not None:
        _write_plan(arrays, state.rebalance, index)
    return arrays


def from_arrays(arrays: StateK, symbols: tuple[str, ...]) -> BookState:
    """The state that the arrays hold; symbols without holding and order are left out."""
    money, counts = arrays.money, arrays.counts
    return BookState(
        cash=float(money[S_CASH]),
        day_start_equity=float(money[S_DAY_START]),
        day_flows=float(money[S_DAY_FLOWS]),
        realised=float(money[S_REALISED]),
        fees=float(money[S_FEES]),
        session=int(counts[S_SESSION]),
        trades_today=int(counts[S_TRADES]),
        halted_until_ns=int(counts[S_HALTED_UNTIL]),
        holdings=tuple(_holdings(arrays, symbols)),
        pending=tuple(_pending(arrays, symbols)),
        rebalance=_plan(arrays, symbols),
    )


def _empty_arrays(size: int) -> StateK:
    def longs() -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.zeros(size, np.int64)

    arrays = StateK(
        lots=longs(),
        avg=np.zeros(size),
        last=np.zeros(size),
        taken=np.zeros(size, np.bool_),
        side=longs(),
        order_lots=longs(),
        order_notional=np.zeros(size),
        order_reason=longs(),
        order_seq=longs(),
        order_left=longs(),
        order_decided=longs(),
        money=np.zeros(STATE_MONEY),
        counts=np.zeros(STATE_COUNT, np.int64),
    )
    arrays.counts[PLAN_IN] = arrays.counts[PLAN_OUT] = -1
    return arrays


def _write_plan(arrays: StateK, plan: RebalancePlan, index: dict[str, int]) -> None:
    arrays.counts[PLAN_IN] = index[plan.into]
    arrays.counts[PLAN_OUT] = -1 if plan.out_of is None else index[plan.out_of]
    arrays.counts[PLAN_LEFT] = plan.bars_left
    arrays.counts[PLAN_DECIDED] = plan.decided_ns
    arrays.money[PLAN_EXPECTED] = plan.expected_return
    arrays.money[PLAN_CONFIDENCE] = plan.confidence
    arrays.money[PLAN_VOL] = plan.vol20


def _holdings(arrays: StateK, symbols: tuple[str, ...]) -> Iterator[Holding]:
    for i in np.flatnonzero(arrays.lots):
        yield Holding(
            symbol=symbols[i],
            lots=int(arrays.lots[i]),
            avg_price=float(arrays.avg[i]),
            last_price=float(arrays.last[i]),
            profit_taken=bool(arrays.taken[i]),
        )


def _pending(arrays: StateK, symbols: tuple[str, ...]) -> Iterator[PendingOrder]:
    ordered = np.flatnonzero(arrays.side)
    for i in ordered[np.argsort(arrays.order_seq[ordered], kind="stable")]:
        yield PendingOrder(
            symbol=symbols[i],
            side=Side.BUY if arrays.side[i] > 0 else Side.SELL,
            lots=int(arrays.order_lots[i]),
            notional=float(arrays.order_notional[i]),
            reason=Reason(int(arrays.order_reason[i])),
            bars_left=int(arrays.order_left[i]),
            decided_ns=int(arrays.order_decided[i]),
        )


def _plan(arrays: StateK, symbols: tuple[str, ...]) -> RebalancePlan | None:
    into, out_of = int(arrays.counts[PLAN_IN]), int(arrays.counts[PLAN_OUT])
    if into < 0:
        return None
    return RebalancePlan(
        into=symbols[into],
        out_of=None if out_of < 0 else symbols[out_of],
        expected_return=float(arrays.money[PLAN_EXPECTED]),
        confidence=float(arrays.money[PLAN_CONFIDENCE]),
        vol20=float(arrays.money[PLAN_VOL]),
        bars_left=int(arrays.counts[PLAN_LEFT]),
        decided_ns=int(arrays.counts[PLAN_DECIDED]),
    )
