"""The compiled decision of one bar for one book: halts, then sales, then entries by expectation, each seeing the last.

The same function decides live and in the simulated book. What a single symbol may do is in `kernel_review`.
"""

from __future__ import annotations

import math

import numpy as np

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_money import cash_needed, value_of
from quant_pipeline.core.trading.kernel_review import (
    halt_after_loss,
    is_pending,
    is_sellable,
    measure,
    review_buy,
    review_sell,
    takes_a_place,
    wish_of,
)
from quant_pipeline.core.trading.kernel_types import (
    BUY_SIGNAL,
    EXPOSURE,
    FREE_CASH,
    MAX_EXPOSURE,
    MAX_POSITIONS,
    MIN_MEMBERS,
    NONE,
    POSITIONS,
    REBALANCE_OUT,
    REBALANCING,
    SELL_SIGNAL,
    TRADES,
    BookK,
    Floats,
    InputsK,
    KernelParams,
    Longs,
    OutK,
)


@kernel
def by_expectation(expected: Floats, wish: Longs) -> Longs:
    """The symbols with a positive `wish`, highest expectation first; equal ones keep the order of symbols."""
    order = np.empty(wish.shape[0], np.int64)
    count = 0
    for i in range(wish.shape[0]):
        if wish[i] > 0:
            at = count
            while at > 0 and expected[order[at - 1]] < expected[i]:
                order[at] = order[at - 1]
                at -= 1
            order[at] = i
            count += 1
    return order[:count]


@kernel
def sell(p: KernelParams, b: BookK, out: OutK, i: int, reason: int, lots: int, price: float) -> None:
    """Write a sale and count it in the book under review."""
    out.action[i] = -1
    out.reason[i] = reason
    out.lots[i] = lots
    out.notional[i] = value_of(p, lots, price)
    b.pending_sell[i] += lots
    b.counts[TRADES] += 1


@kernel
def enter(p: KernelParams, fees: Floats, b: BookK, out: OutK, i: int, lots: int, notional: float) -> None:
    """Write an entry and count it in the book under review."""
    if not takes_a_place(p, b, i):
        b.counts[POSITIONS] += 1
    out.action[i] = 1
    out.reason[i] = BUY_SIGNAL
    out.lots[i] = lots
    out.notional[i] = notional
    b.pending_buy[i] += notional
    b.money[EXPOSURE] += notional
    b.money[FREE_CASH] -= cash_needed(p, fees, notional)
    b.counts[TRADES] += 1


@kernel
def weakest_holding(p: KernelParams, x: InputsK, b: BookK, wanted: int) -> int:
    """The holding with the lowest expectation that could be given up for `wanted`, or -1.

    A holding without a usable opinion, with an order under way or with bad data is no candidate.
    """
    weakest = -1
    for i in range(b.lots.shape[0]):
        if i == wanted or x.status[i] != 0 or is_pending(b, i) or not is_sellable(p, b, i):
            continue
        if not (x.has_opinion[i] and x.members[i] >= MIN_MEMBERS and math.isfinite(x.expected[i])):
            continue
        if weakest < 0 or x.expected[i] < x.expected[weakest]:
            weakest = i
    return weakest


@kernel
def make_room(p: KernelParams, fees: Floats, x: InputsK, b: BookK, out: OutK, wanted: int) -> None:
    """Give up the weakest holding for `wanted` when that is clearly better and would then pass every gate.

    The entry itself waits until the sale is filled; only one such exchange is under way at a time.
    """
    if b.counts[REBALANCING] >= 0:
        return
    given = weakest_holding(p, x, b, wanted)
    if given < 0:
        return
    new = x.expected[wanted]
    own = x.expected[given]
    if not (new > 0.0 and (own < 0.0 or new > p.rebalance_factor * own)):
        return
    reason, _, _ = review_buy(p, fees, b, wanted, x.price[wanted], x.confidence[wanted], x.vol[wanted], given)
    if reason == 0:
        sell(p, b, out, given, REBALANCE_OUT, b.lots[given], b.mark[given])
        out.pair[given] = wanted
        b.counts[REBALANCING] = wanted


@kernel
def decide_bar(p: KernelParams, fees: Floats, x: InputsK, b: BookK, out: OutK) -> None:
    """Decide every symbol of one bar; every symbol gets a reason.

    `b` is changed: it ends as the book with this bar's decisions under way (halt, trades, pending, exposure).
    """
    symbols = x.price.shape[0]
    wish = np.zeros(symbols, np.int64)
    measure(p, fees, b)
    halt_after_loss(p, b)
    for i in range(symbols):
        wish[i], out.reason[i] = wish_of(p, x, i)
        out.action[i] = 0
        out.lots[i] = 0
        out.notional[i] = 0.0
        out.pair[i] = NONE
    for i in range(symbols):
        if wish[i] < 0:
            reason, lots = review_sell(p, b, i, x.price[i])
            if reason == 0:
                sell(p, b, out, i, SELL_SIGNAL, lots, x.price[i])
            else:
                out.reason[i] = reason
    for i in by_expectation(x.expected, wish):
        if out.action[i] != 0:
            continue
        reason, lots, notional = review_buy(p, fees, b, i, x.price[i], x.confidence[i], x.vol[i], NONE)
        if reason == 0:
            enter(p, fees, b, out, i, lots, notional)
            continue
        out.reason[i] = reason
        if reason in (MAX_EXPOSURE, MAX_POSITIONS):
            make_room(p, fees, x, b, out, i)
