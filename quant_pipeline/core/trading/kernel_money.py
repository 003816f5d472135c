"""Compiled arithmetic of money: values, fees, what cash can pay. Limits and sizes belong to `kernel_sizing`.

Money is float64. Quantities are whole lots (int64); an amount is turned into lots by rounding down. Fees are rounded
up to `fee_scale` one by one, everything else keeps its fraction.
"""

from __future__ import annotations

import math

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_types import (
    BUY_RATE,
    MAX_LOTS,
    PER_SHARE,
    PER_SHARE_CAP,
    SELL_RATE,
    Floats,
    KernelParams,
)

_NOISE = 1e-6  # parts of a cent by which a fee may exceed a whole cent through binary rounding alone


@kernel
def value_of(p: KernelParams, lots: int, price: float) -> float:
    """What `lots` are worth at `price` (quote currency for one unit)."""
    return float(lots) / p.qty_scale * price


@kernel
def lots_in(p: KernelParams, amount: float, price: float) -> int:
    """The whole lots that `amount` of quote currency is worth at `price`, rounded down; 0 for what is no amount."""
    lots = amount / price * p.qty_scale
    if not lots >= 1.0:
        return 0
    if lots >= float(MAX_LOTS):
        return MAX_LOTS
    return math.floor(lots)


@kernel
def round_up(amount: float, scale: float) -> float:
    """`amount` rounded up to 1/`scale` (100: to the cent); unchanged when `scale` is 0."""
    if scale <= 0.0:
        return amount
    return float(math.ceil(amount * scale - _NOISE)) / scale


@kernel
def buy_fee(p: KernelParams, fees: Floats, value: float) -> float:
    """The fee of buying for `value`."""
    return round_up(value * fees[BUY_RATE], p.fee_scale)


@kernel
def sell_fee(p: KernelParams, fees: Floats, lots: int, value: float) -> float:
    """The fee of selling `lots` for `value`: by value plus by unit, never more than the sale brings."""
    by_unit = float(lots) / p.qty_scale * fees[PER_SHARE]
    if fees[PER_SHARE_CAP] > 0.0 and by_unit > fees[PER_SHARE_CAP]:
        by_unit = fees[PER_SHARE_CAP]
    fee = round_up(value * fees[SELL_RATE], p.fee_scale) + round_up(by_unit, p.fee_scale)
    if fee > value:
        return value
    return fee


@kernel
def cash_needed(p: KernelParams, fees: Floats, notional: float) -> float:
    """Cash to keep for an entry of `notional`: its fee, and the slippage unless the order itself is an amount."""
    gross = notional if p.buys_by_notional else notional * (1.0 + p.slippage)
    return gross + buy_fee(p, fees, gross)


@kernel
def affordable_lots(p: KernelParams, fees: Floats, cash: float, price: float, wanted: int) -> int:
    """The most lots up to `wanted` whose value and fee at `price` are within `cash`, found by bisection."""
    low = 0
    high = wanted
    tried = wanted
    while low < high:
        value = value_of(p, tried, price)
        if value + buy_fee(p, fees, value) <= cash:
            low = tried
        else:
            high = tried - 1
        tried = low + (high - low + 1) // 2
    return low
