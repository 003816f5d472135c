"""Compiled exits: stop loss and take profit at a price, and inside a bar. They know no halt, pause or trade limit."""

from __future__ import annotations

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_sizing import lots_to_sell
from quant_pipeline.core.trading.kernel_types import (
    EDGE,
    STOP_LOSS,
    TAKE_PROFIT,
    Bytes,
    Flags,
    Floats,
    KernelParams,
    Longs,
)


@kernel
def exit_check(p: KernelParams, price: float, avg_price: float, taken: int) -> int:
    """STOP_LOSS, TAKE_PROFIT or 0 for a holding bought at `avg_price` that trades at `price`.

    `taken` says that profit was taken since the last entry: the rest then runs until a SELL or its stop.
    """
    if not (price > 0.0 and avg_price > 0.0):
        return 0
    gain = price / avg_price - 1.0
    if gain <= p.stop_loss + EDGE:
        return STOP_LOSS
    if gain >= p.take_profit - EDGE and taken == 0:
        return TAKE_PROFIT
    return 0


@kernel
def exit_in_bar(
    p: KernelParams, opened: float, high: float, low: float, avg_price: float, taken: int
) -> tuple[int, float]:
    """The first exit inside a bar and the price that it is based on, or (0, 0).

    What the open already reaches happens at the open. After it the order of high and low is unknown, so the stop is
    assumed first; each then trades at its own level.
    """
    reason = exit_check(p, opened, avg_price, taken)
    if reason != 0:
        return reason, opened
    if exit_check(p, low, avg_price, taken) == STOP_LOSS:
        return STOP_LOSS, min(max(avg_price * (1.0 + p.stop_loss), low), opened)
    if exit_check(p, high, avg_price, taken) == TAKE_PROFIT:
        return TAKE_PROFIT, max(min(avg_price * (1.0 + p.take_profit), high), opened)
    return 0, 0.0


@kernel
def exit_fraction(p: KernelParams, reason: int) -> float:
    """The part of a holding that an exit sells."""
    return p.take_profit_fraction if reason == TAKE_PROFIT else 1.0


@kernel
def review_exits(
    p: KernelParams,
    price: Floats,
    avg_price: Floats,
    taken: Flags,
    free_lots: Longs,
    reason: Bytes,
    lots: Longs,
) -> None:
    """Write for each symbol the exit that is due at `price` and its lots of `free_lots`; 0 and 0 where none is."""
    for i in range(price.shape[0]):
        reason[i] = 0
        lots[i] = 0
        if free_lots[i] > 0:
            due = exit_check(p, price[i], avg_price[i], int(taken[i]))
            if due != 0:
                lots[i] = lots_to_sell(p, free_lots[i], exit_fraction(p, due), price[i])
                reason[i] = due if lots[i] > 0 else 0
