"""The typed door to live exits: which holdings must be sold now. Exits are never blocked by halts, pauses or limits."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_pipeline.core.trading.checks import check_symbols, fresh
from quant_pipeline.core.trading.kernel_exits import review_exits
from quant_pipeline.core.trading.params import TradingParams


@dataclass(frozen=True, slots=True)
class Exits:
    """Exits that are due: `reason` int8 (S,), 0 or STOP_LOSS or TAKE_PROFIT; `lots` int64 (S,), what to sell."""

    symbols: tuple[str, ...]
    reason: NDArray[np.int8]
    lots: NDArray[np.int64]


def due_exits(
    symbols: tuple[str, ...],
    price: NDArray[np.float64],
    avg_price: NDArray[np.float64],
    free_lots: NDArray[np.int64],
    profit_taken: NDArray[np.bool_],
    params: TradingParams,
) -> Exits:
    """The exits due at `price`, for lots that are not bound in an open sale.

    Args:
        symbols: S names, sorted.
        price: float64 (S,), fresh price of one unit; NaN where there is none (then nothing is due).
        avg_price: float64 (S,), average cost of one unit without fees.
        free_lots: int64 (S,), held lots less those in open sales.
        profit_taken: bool (S,), whether a take profit was filled since the last entry; the rest only has its stop.
        params: limits and lot grid.

    Raises:
        ValueError: arrays of another shape, or symbols that are not sorted.
        TypeError: an array of another kind than stated.
    """
    check_symbols(symbols)
    shape = (len(symbols),)
    reason, lots = np.zeros(shape, np.int8), np.zeros(shape, np.int64)
    review_exits(
        params.to_kernel(),
        fresh("price", price, np.float64, shape),
        fresh("avg_price", avg_price, np.float64, shape),
        fresh("profit_taken", profit_taken, np.bool_, shape),
        fresh("free_lots", free_lots, np.int64, shape),
        reason,
        lots,
    )
    return Exits(symbols, reason, lots)
