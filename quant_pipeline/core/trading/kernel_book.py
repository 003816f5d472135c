"""Compiled bookkeeping of the simulated book: marks, days, splits, fills and drops. When to fill is `kernel_orders`."""

from __future__ import annotations

import math

import numpy as np

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_money import buy_fee, sell_fee, value_of
from quant_pipeline.core.trading.kernel_types import (
    BOOK_COUNT,
    BOOK_MONEY,
    BOUGHT,
    CASH,
    DAY_FLOWS,
    DAY_START,
    EQUITY,
    HALTED_UNTIL,
    L_BAR,
    L_DECIDED,
    L_FEE,
    L_LOTS,
    L_PRICE,
    L_REALISED,
    L_REASON,
    L_SIDE,
    L_SYMBOL,
    NOTHING,
    NOW,
    PLAN_IN,
    REBALANCING,
    S_CASH,
    S_DAY_FLOWS,
    S_DAY_START,
    S_FEES,
    S_HALTED_UNTIL,
    S_REALISED,
    S_SESSION,
    S_TRADES,
    SOLD,
    TRADES,
    BarsK,
    BookK,
    Floats,
    KernelParams,
    LogK,
    StateK,
)


@kernel
def equity_at(p: KernelParams, s: StateK, mark: Floats) -> float:
    """Cash and holdings at `mark`, added in symbol order."""
    equity = float(s.money[S_CASH])
    for i in range(s.lots.shape[0]):
        if s.lots[i] > 0:
            equity += value_of(p, s.lots[i], mark[i])
    return equity


@kernel
def book_of(p: KernelParams, s: StateK, mark: Floats, now: int) -> BookK:
    """The simulated book as the decision sees it, with orders under way; it shares no memory with the state."""
    symbols = s.lots.shape[0]
    pending_buy = np.zeros(symbols, np.float64)
    pending_sell = np.zeros(symbols, np.int64)
    for i in range(symbols):
        if s.side[i] > 0:
            pending_buy[i] = s.order_notional[i]
        elif s.side[i] < 0:
            pending_sell[i] = s.order_lots[i]
    money = np.zeros(BOOK_MONEY, np.float64)
    money[EQUITY] = equity_at(p, s, mark)
    money[CASH] = s.money[S_CASH]
    money[DAY_START] = s.money[S_DAY_START]
    money[DAY_FLOWS] = s.money[S_DAY_FLOWS]
    counts = np.zeros(BOOK_COUNT, np.int64)
    counts[TRADES] = s.counts[S_TRADES]
    counts[HALTED_UNTIL] = s.counts[S_HALTED_UNTIL]
    counts[NOW] = now
    counts[REBALANCING] = s.counts[PLAN_IN]
    return BookK(s.lots.copy(), mark.copy(), pending_buy, pending_sell, money, counts)


@kernel
def start_session(p: KernelParams, s: StateK, session: int) -> None:
    """Begin a session: its loss is measured from the equity at the last marks. A halt goes on."""
    if session != s.counts[S_SESSION]:
        s.counts[S_SESSION] = session
        s.counts[S_TRADES] = 0
        s.money[S_DAY_FLOWS] = 0.0
        s.money[S_DAY_START] = equity_at(p, s, s.last)


@kernel
def split_lots(lots: int, ratio: float) -> int:
    """`lots` after a split of `ratio` new units for an old one, rounded down."""
    return math.floor(float(lots) * ratio)


@kernel
def apply_split(p: KernelParams, s: StateK, i: int, ratio: float) -> None:
    """Restate holding and order of symbol `i` in new units; a fraction of a lot is paid out at the last price."""
    s.last[i] = s.last[i] / ratio
    s.avg[i] = s.avg[i] / ratio
    exact = float(s.lots[i]) * ratio
    s.lots[i] = split_lots(s.lots[i], ratio)
    s.order_lots[i] = split_lots(s.order_lots[i], ratio)
    paid = (exact - float(s.lots[i])) / p.qty_scale
    s.money[S_CASH] += paid * s.last[i]
    s.money[S_REALISED] += paid * (s.last[i] - s.avg[i])
    if s.lots[i] == 0:
        s.avg[i] = 0.0
        s.taken[i] = False


@kernel
def apply_events(p: KernelParams, bars: BarsK, s: StateK, t: int) -> bool:
    """Splits, dividends and deposits of bar `t`, before its open. False when a withdrawal exceeds the cash.

    Dividends and deposits are cash flows: they are set apart from the day's return.
    """
    flow = bars.flow[t]
    for i in range(s.lots.shape[0]):
        ratio = bars.split[t, i]
        if ratio != 1.0 and s.lots[i] > 0:
            apply_split(p, s, i, ratio)
        elif ratio != 1.0 and s.side[i] != 0:
            s.order_lots[i] = split_lots(s.order_lots[i], ratio)
        if s.lots[i] > 0 and bars.dividend[t, i] != 0.0:
            flow += float(s.lots[i]) / p.qty_scale * bars.dividend[t, i]
    if s.money[S_CASH] + flow < 0.0:
        return False
    s.money[S_CASH] += flow
    s.money[S_DAY_FLOWS] += flow
    return True


@kernel
def clear_order(s: StateK, i: int) -> None:
    """Forget the order of symbol `i`."""
    s.side[i] = 0
    s.order_lots[i] = 0
    s.order_notional[i] = 0.0
    s.order_reason[i] = 0
    s.order_seq[i] = 0
    s.order_left[i] = 0
    s.order_decided[i] = 0


@kernel
def log_row(log: LogK, t: int, i: int, side: int, lots: int, reason: int, decided: int) -> int:
    """Append a row without money and return its place; `decided` is the time of the decision, or 0."""
    row = log.size[0]
    log.ints[row, L_BAR] = t
    log.ints[row, L_SYMBOL] = i
    log.ints[row, L_SIDE] = side
    log.ints[row, L_LOTS] = lots
    log.ints[row, L_REASON] = reason
    log.ints[row, L_DECIDED] = decided
    log.floats[row] = 0.0
    log.size[0] = row + 1
    return int(row)


@kernel
def drop_order(s: StateK, log: LogK, t: int, i: int, reason: int) -> None:
    """Log that the order of symbol `i` ends unfilled, and why."""
    log_row(log, t, i, s.side[i], NOTHING, reason, s.order_decided[i])
    clear_order(s, i)


@kernel
def fill_sell(
    p: KernelParams,
    fees: Floats,
    s: StateK,
    log: LogK,
    t: int,
    i: int,
    lots: int,
    quoted: float,
    reason: int,
    decided: int,
) -> None:
    """Sell `lots` of symbol `i` at `quoted` less slippage."""
    price = quoted * (1.0 - p.slippage)
    value = value_of(p, lots, price)
    fee = sell_fee(p, fees, lots, value)
    realised = value - value_of(p, lots, s.avg[i]) - fee
    s.money[S_CASH] += value - fee
    s.money[S_REALISED] += realised
    s.money[S_FEES] += fee
    s.lots[i] -= lots
    if s.lots[i] == 0:
        s.avg[i] = 0.0
        s.taken[i] = False
    row = log_row(log, t, i, SOLD, lots, reason, decided)
    log.floats[row, L_PRICE] = price
    log.floats[row, L_FEE] = fee
    log.floats[row, L_REALISED] = realised


@kernel
def fill_buy(p: KernelParams, fees: Floats, s: StateK, log: LogK, t: int, i: int, lots: int, price: float) -> None:
    """Buy `lots` at `price` (slippage in it) for the order of symbol `i`; the caller knows that cash suffices."""
    value = value_of(p, lots, price)
    fee = buy_fee(p, fees, value)
    held = value_of(p, s.lots[i], s.avg[i])
    s.money[S_CASH] -= value + fee
    s.money[S_REALISED] -= fee
    s.money[S_FEES] += fee
    s.lots[i] += lots
    s.avg[i] = (held + value) / (float(s.lots[i]) / p.qty_scale)
    s.taken[i] = False
    row = log_row(log, t, i, BOUGHT, lots, s.order_reason[i], s.order_decided[i])
    log.floats[row, L_PRICE] = price
    log.floats[row, L_FEE] = fee
    log.floats[row, L_REALISED] = -fee
    clear_order(s, i)
