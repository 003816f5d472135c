"""A market's price ticks for whole arrays of prices; the rule itself is `markets.rules.tick_size`."""

from __future__ import annotations

from decimal import Decimal
from functools import cache

import numpy as np

from quant_pipeline.exchange.bars.columns import Floats
from quant_pipeline.markets.market import get_market
from quant_pipeline.markets.rules import tick_size

_PROBES = tuple(Decimal(lead).scaleb(power) for power in range(-9, 10) for lead in (1, 2, 5))
"""Prices at which the tick may change: venues step their tick at round numbers."""


@cache
def _bands(market_name: str) -> tuple[Floats, Floats, Floats]:
    """Lower bounds of the price bands with the tick of each as `steps / per_unit`, both whole numbers."""
    market = get_market(market_name)
    ticks = [tick_size(market, probe) for probe in _PROBES]
    changes = [0] + [n for n in range(1, len(ticks)) if ticks[n] != ticks[n - 1]]
    floors = np.array([0.0] + [float(_PROBES[n]) for n in changes[1:]])
    ratios = [ticks[n].as_integer_ratio() for n in changes]
    return floors, np.array([float(top) for top, _ in ratios]), np.array([float(bottom) for _, bottom in ratios])


def on_grid(market_name: str, prices: Floats) -> Floats:
    """Each price at its nearest tick, at least one tick, as the double nearest to the decimal price.

    Rounding keeps order, so a low stays at or below and a high at or above the other prices of its bar.
    """
    floors, steps, per_unit = _bands(market_name)
    if not len(prices):
        return prices
    lowest, highest = np.searchsorted(floors, (prices.min(), prices.max()), side="right") - 1
    # Nearly always one band holds all prices of a block, and then the search per price is saved.
    band = lowest if lowest == highest else np.searchsorted(floors, prices, side="right") - 1
    counted = np.maximum(np.rint(prices * per_unit[band] / steps[band]), 1.0)
    priced: Floats = counted * steps[band] / per_unit[band]
    return priced
