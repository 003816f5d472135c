"""Compiled life of simulated orders inside one bar: fills at the open, the re-check of an exchange, exits.

An order decided at the close of a bar fills at the open of the next bar in which its symbol trades, sales before
entries, entries in the order in which they were decided; after `expiry_bars` bars without a trade it is dropped.
"""

from __future__ import annotations

import numpy as np

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_book import (
    book_of,
    clear_order,
    drop_order,
    fill_buy,
    fill_sell,
    log_row,
)
from quant_pipeline.core.trading.kernel_exits import exit_fraction, exit_in_bar
from quant_pipeline.core.trading.kernel_money import affordable_lots, lots_in, value_of
from quant_pipeline.core.trading.kernel_review import measure, review_buy
from quant_pipeline.core.trading.kernel_sizing import lots_to_sell
from quant_pipeline.core.trading.kernel_types import (
    BELOW_MINIMUM,
    BOUGHT,
    EXPIRED,
    INSUFFICIENT_CASH,
    NONE,
    NOTHING,
    PLAN_CONFIDENCE,
    PLAN_DECIDED,
    PLAN_EXPECTED,
    PLAN_IN,
    PLAN_LEFT,
    PLAN_OUT,
    PLAN_VOL,
    REBALANCE_IN,
    REBALANCING,
    S_CASH,
    S_TRADES,
    TAKE_PROFIT,
    BarsK,
    Floats,
    KernelParams,
    LogK,
    StateK,
)


@kernel
def end_plan(s: StateK) -> None:
    """Forget the exchange under way."""
    s.counts[PLAN_IN] = NONE
    s.counts[PLAN_OUT] = NONE
    s.counts[PLAN_LEFT] = 0
    s.counts[PLAN_DECIDED] = 0
    s.money[PLAN_EXPECTED] = 0.0
    s.money[PLAN_CONFIDENCE] = 0.0
    s.money[PLAN_VOL] = 0.0


@kernel
def drop_plan(s: StateK, log: LogK, t: int, reason: int) -> None:
    """Log that the entry of an exchange will not be made, and why."""
    log_row(log, t, s.counts[PLAN_IN], BOUGHT, NOTHING, reason, s.counts[PLAN_DECIDED])
    end_plan(s)


@kernel
def lots_bought(p: KernelParams, fees: Floats, s: StateK, i: int, price: float) -> tuple[int, int]:
    """(lots, 0) that the entry order of symbol `i` gets at `price`, cut to what cash can pay, or (0, reason)."""
    wanted = s.order_lots[i]
    if p.buys_by_notional:
        wanted = lots_in(p, s.order_notional[i], price)
    if wanted <= 0:
        return 0, BELOW_MINIMUM
    lots = affordable_lots(p, fees, s.money[S_CASH], price, wanted)
    if lots <= 0 or (lots < wanted and value_of(p, lots, price) < p.min_notional):
        return 0, INSUFFICIENT_CASH
    return lots, 0


@kernel
def fill_entry(p: KernelParams, fees: Floats, bars: BarsK, s: StateK, log: LogK, t: int, i: int) -> None:
    """Fill or drop the entry order of symbol `i` at the open of bar `t`."""
    price = bars.open[t, i] * (1.0 + p.slippage)
    lots, reason = lots_bought(p, fees, s, i, price)
    if lots > 0:
        fill_buy(p, fees, s, log, t, i, lots, price)
    else:
        drop_order(s, log, t, i, reason)


@kernel
def next_entry(bars: BarsK, s: StateK, t: int) -> int:
    """The first decided entry order whose symbol trades in bar `t`, or -1."""
    first = -1
    for i in range(s.lots.shape[0]):
        if s.side[i] > 0 and bars.traded[t, i] and (first < 0 or s.order_seq[i] < s.order_seq[first]):
            first = i
    return first


@kernel
def fill_at_open(p: KernelParams, bars: BarsK, s: StateK, log: LogK, t: int) -> None:
    """All orders at the open of bar `t`: sales, then entries; those whose symbol does not trade grow older."""
    fees = bars.fees[t]
    for i in range(s.lots.shape[0]):
        if s.side[i] < 0 and bars.traded[t, i]:
            lots = min(s.order_lots[i], s.lots[i])
            if lots > 0:
                fill_sell(p, fees, s, log, t, i, lots, bars.open[t, i], s.order_reason[i], s.order_decided[i])
            clear_order(s, i)
            if s.counts[PLAN_OUT] == i:
                s.counts[PLAN_OUT] = NONE
    entry = next_entry(bars, s, t)
    while entry >= 0:
        fill_entry(p, fees, bars, s, log, t, entry)
        entry = next_entry(bars, s, t)
    for i in range(s.lots.shape[0]):
        if s.side[i] != 0:
            s.order_left[i] -= 1
            if s.order_left[i] <= 0:
                drop_order(s, log, t, i, EXPIRED)


@kernel
def finish_exchange(p: KernelParams, bars: BarsK, s: StateK, log: LogK, t: int) -> None:
    """Once the holding is sold: review the entry again, at the open of bar `t`, and fill it there or drop it."""
    i = s.counts[PLAN_IN]
    if i < 0:
        return
    if s.counts[PLAN_OUT] >= 0 or not bars.traded[t, i]:
        s.counts[PLAN_LEFT] -= 1
        if s.counts[PLAN_LEFT] <= 0:
            drop_plan(s, log, t, EXPIRED)
        return
    mark = np.where(bars.traded[t], bars.open[t], s.last)
    book = book_of(p, s, mark, bars.start[t])
    book.counts[REBALANCING] = NONE
    measure(p, bars.fees[t], book)
    confidence = s.money[PLAN_CONFIDENCE]
    reason, lots, notional = review_buy(p, bars.fees[t], book, i, mark[i], confidence, s.money[PLAN_VOL], NONE)
    if reason != 0:
        drop_plan(s, log, t, reason)
        return
    s.side[i] = BOUGHT
    s.order_lots[i] = lots
    s.order_notional[i] = notional
    s.order_reason[i] = REBALANCE_IN
    s.order_decided[i] = s.counts[PLAN_DECIDED]
    s.counts[S_TRADES] += 1
    end_plan(s)
    fill_entry(p, bars.fees[t], bars, s, log, t, i)


@kernel
def exits_inside(p: KernelParams, bars: BarsK, s: StateK, log: LogK, t: int) -> None:
    """Stop losses and take profits of bar `t`, after the fills at its open, also for what was just bought."""
    for i in range(s.lots.shape[0]):
        if not bars.traded[t, i]:
            continue
        for _ in range(2):  # a partial take profit at the open can be followed by the stop of the rest
            if s.lots[i] == 0:
                break
            reason, price = exit_in_bar(p, bars.open[t, i], bars.high[t, i], bars.low[t, i], s.avg[i], int(s.taken[i]))
            if reason == 0:
                break
            lots = lots_to_sell(p, s.lots[i], exit_fraction(p, reason), price)
            if lots == 0:
                break
            fill_sell(p, bars.fees[t], s, log, t, i, lots, price, reason, NOTHING)
            s.taken[i] = reason == TAKE_PROFIT and s.lots[i] > 0
            s.counts[S_TRADES] += 1
