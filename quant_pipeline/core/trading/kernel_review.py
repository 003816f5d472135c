"""Compiled gates for one symbol: what vote and opinion want, and whether risk and the book allow it.

Each function answers with a reason or 0; the order of gates inside them is the order in which reasons win.
"""

from __future__ import annotations

import math

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_money import cash_needed, sell_fee, value_of
from quant_pipeline.core.trading.kernel_sizing import entry_size, lots_to_sell, position_fraction
from quant_pipeline.core.trading.kernel_types import (
    AI_DISAGREES,
    AI_UNSURE,
    BAD_DATA,
    BELOW_MINIMUM,
    CASH,
    DAY_FLOWS,
    DAY_START,
    EDGE,
    EQUITY,
    EXPOSURE,
    FREE_CASH,
    HALTED,
    HALTED_UNTIL,
    HOLD_VOTE,
    INSUFFICIENT_CASH,
    IS_PAUSED,
    MAX_DAILY_TRADES,
    MAX_EXPOSURE,
    MAX_POSITION_SIZE,
    MAX_POSITIONS,
    MIN_MEMBERS,
    NO_HISTORY,
    NO_MODEL,
    NOTHING_TO_SELL,
    NOW,
    PAUSED,
    PENDING_ORDER,
    POSITIONS,
    REBALANCING,
    TOO_FEW_MEMBERS,
    TRADES,
    BookK,
    Floats,
    InputsK,
    KernelParams,
)


@kernel
def wish_of(p: KernelParams, x: InputsK, i: int) -> tuple[int, int]:
    """What vote and opinion together want of symbol `i`: (1, 0) buy, (-1, 0) sell, else (0, why not)."""
    if x.status[i] != 0:
        return 0, int(x.status[i])
    if not (x.price[i] > 0.0 and math.isfinite(x.price[i])):
        return 0, BAD_DATA
    vote = int(x.vote[i])
    if vote == 0 and not p.vote_abstains:
        return 0, HOLD_VOTE
    if not (x.has_model[i] and math.isfinite(x.expected[i])):
        return 0, NO_MODEL
    if x.members[i] < MIN_MEMBERS:
        return 0, TOO_FEW_MEMBERS
    sure = x.confidence[i] > p.min_confidence
    rises = x.expected[i] > p.buy_threshold
    falls = x.expected[i] < p.sell_threshold
    if p.vote_abstains:
        if not (sure and (rises or falls)):
            return 0, HOLD_VOTE
        return (1, 0) if rises else (-1, 0)
    if not sure:
        return 0, AI_UNSURE
    if (vote > 0 and rises) or (vote < 0 and falls):
        return vote, 0
    return 0, AI_DISAGREES


@kernel
def halt_after_loss(p: KernelParams, b: BookK) -> None:
    """Start a halt when the day's loss reaches its limit; a halt that runs is neither prolonged nor shortened."""
    if b.counts[NOW] < b.counts[HALTED_UNTIL] or not b.money[DAY_START] > 0.0:
        return
    day_return = (b.money[EQUITY] - b.money[DAY_FLOWS]) / b.money[DAY_START] - 1.0
    if day_return <= p.max_daily_loss + EDGE:
        b.counts[HALTED_UNTIL] = b.counts[NOW] + p.halt_ns


@kernel
def is_pending(b: BookK, i: int) -> bool:
    """Whether an order of symbol `i` is under way."""
    return bool(b.pending_buy[i] > 0.0 or b.pending_sell[i] > 0)


@kernel
def is_sellable(p: KernelParams, b: BookK, i: int) -> bool:
    """Whether symbol `i` is held with at least the venue's minimum; less is dust that nobody can sell."""
    return b.lots[i] > 0 and value_of(p, b.lots[i], b.mark[i]) >= p.min_notional


@kernel
def takes_a_place(p: KernelParams, b: BookK, i: int) -> bool:
    """Whether symbol `i` counts against the limit of positions."""
    return b.pending_buy[i] > 0.0 or is_sellable(p, b, i)


@kernel
def measure(p: KernelParams, fees: Floats, b: BookK) -> None:
    """Write exposure, free cash and taken places: holdings at their mark, entries under way at their amount.

    Sales under way free nothing before they are filled.
    """
    b.money[EXPOSURE] = 0.0
    b.money[FREE_CASH] = b.money[CASH]
    b.counts[POSITIONS] = 0
    for i in range(b.lots.shape[0]):
        if b.lots[i] > 0:
            b.money[EXPOSURE] += value_of(p, b.lots[i], b.mark[i])
        if b.pending_buy[i] > 0.0:
            b.money[EXPOSURE] += b.pending_buy[i]
            b.money[FREE_CASH] -= cash_needed(p, fees, b.pending_buy[i])
        if takes_a_place(p, b, i):
            b.counts[POSITIONS] += 1


@kernel
def review_sell(p: KernelParams, b: BookK, i: int, price: float) -> tuple[int, int]:
    """Whether a wanted sale of symbol `i` may be made: (0, lots) or (reason, 0)."""
    free = b.lots[i] - b.pending_sell[i]
    if free <= 0:
        return NOTHING_TO_SELL, 0
    if is_pending(b, i):
        return PENDING_ORDER, 0
    lots = lots_to_sell(p, free, p.sell_fraction, price)
    if lots == 0:
        return BELOW_MINIMUM, 0
    return 0, lots


@kernel
def entry_gate(p: KernelParams, b: BookK, i: int, vol: float, gone: int) -> int:
    """The gates of an entry that ask for no amount. `gone` is a holding to think away (it is sold first), or -1."""
    if not (vol >= 0.0 and math.isfinite(vol)):
        return NO_HISTORY
    if is_pending(b, i) or b.counts[REBALANCING] == i:
        return PENDING_ORDER
    if b.counts[IS_PAUSED] != 0:
        return PAUSED
    if b.counts[NOW] < b.counts[HALTED_UNTIL]:
        return HALTED
    trades = 1 if gone < 0 else 2
    if b.counts[TRADES] + trades > p.max_daily_trades:
        return MAX_DAILY_TRADES
    others = b.counts[POSITIONS] - (0 if gone < 0 else 1)
    if not takes_a_place(p, b, i) and others >= p.max_positions:
        return MAX_POSITIONS
    return 0


@kernel
def freed_by_sale(p: KernelParams, fees: Floats, b: BookK, gone: int) -> tuple[float, float]:
    """The exposure and the cash that selling all of symbol `gone` gives back; nothing for -1."""
    if gone < 0:
        return 0.0, 0.0
    value = value_of(p, b.lots[gone], b.mark[gone])
    proceeds = value * (1.0 - p.slippage)
    return value, proceeds - sell_fee(p, fees, b.lots[gone], proceeds)


@kernel
def review_buy(
    p: KernelParams, fees: Floats, b: BookK, i: int, price: float, confidence: float, vol: float, gone: int
) -> tuple[int, int, float]:
    """Whether a wanted entry of symbol `i` at `price` may be made: (0, lots, notional) or (reason, 0, 0).

    A size that does not fit is refused, not reduced. `gone` as in `entry_gate`.
    """
    reason = entry_gate(p, b, i, vol, gone)
    if reason != 0:
        return reason, 0, 0.0
    held = value_of(p, b.lots[i], b.mark[i]) if b.lots[i] > 0 else 0.0
    room = position_fraction(p, confidence, vol) * b.money[EQUITY] - held
    if not room > EDGE * b.money[EQUITY]:
        return MAX_POSITION_SIZE, 0, 0.0
    lots, notional = entry_size(p, room, price)
    freed_value, freed_cash = freed_by_sale(p, fees, b, gone)
    if b.money[EXPOSURE] - freed_value + notional > (p.max_exposure + EDGE) * b.money[EQUITY]:
        return MAX_EXPOSURE, 0, 0.0
    if cash_needed(p, fees, notional) > b.money[FREE_CASH] + freed_cash:
        return INSUFFICIENT_CASH, 0, 0.0
    if not notional > 0.0 or notional < p.min_notional:
        return BELOW_MINIMUM, 0, 0.0
    return 0, lots, notional
