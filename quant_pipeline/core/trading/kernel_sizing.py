"""Compiled sizes: how much of a symbol may be held, bought or sold. Whether it may be is `kernel_review`."""

from __future__ import annotations

import math

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_money import lots_in, value_of
from quant_pipeline.core.trading.kernel_types import KernelParams


@kernel
def position_fraction(p: KernelParams, confidence: float, vol: float) -> float:
    """The part of equity that a symbol may be worth: less when it is volatile or the opinion is unsure, never more.

    min(max_position * confidence / max(vol / vol_reference, 1), max_position); `vol` is the daily volatility.
    """
    ratio = vol / p.vol_reference
    if not ratio > 1.0:
        ratio = 1.0
    fraction = p.max_position * confidence / ratio
    if fraction > p.max_position:
        return p.max_position
    return fraction


@kernel
def entry_size(p: KernelParams, room: float, price: float) -> tuple[int, float]:
    """An entry that fits into `room`: (lots, their value) or, where buys are amounts, (0, the amount)."""
    if p.buys_by_notional:
        return 0, float(math.floor(room * p.money_scale)) / p.money_scale
    lots = lots_in(p, room, price)
    return lots, value_of(p, lots, price)


@kernel
def lots_to_sell(p: KernelParams, held: int, fraction: float, price: float) -> int:
    """The lots that selling `fraction` of `held` means, or 0 when all of it is below the venue's minimum.

    Nothing gets stuck: where the part or the remainder would be below the minimum, everything is sold.
    """
    if held <= 0 or value_of(p, held, price) < p.min_notional:
        return 0
    if fraction >= 1.0:
        return held
    part = min(held, math.floor(float(held) * fraction))
    rest = held - part
    if part <= 0 or value_of(p, part, price) < p.min_notional:
        return held
    if rest > 0 and value_of(p, rest, price) < p.min_notional:
        return held
    return part
