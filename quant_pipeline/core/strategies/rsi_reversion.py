"""Mean reversion by RSI: buy what is oversold, sell what is overbought."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column

OVERSOLD = 30.0
OVERBOUGHT = 70.0
FULL_VOTE_BEYOND = 10.0
"""RSI points beyond a band at which the vote is full; at the band itself it is half."""


def _vote(frame: pd.DataFrame) -> FloatArray:
    """Half a vote at the bands, a full one `FULL_VOTE_BEYOND` points further out, 0 between the bands."""
    rsi = column(frame, "rsi_14")
    below = np.clip(0.5 + 0.5 * (OVERSOLD - rsi) / FULL_VOTE_BEYOND, 0.5, 1.0)
    above = np.clip(0.5 + 0.5 * (rsi - OVERBOUGHT) / FULL_VOTE_BEYOND, 0.5, 1.0)
    inside = np.where(np.isnan(rsi), np.nan, 0.0)
    return np.where(rsi <= OVERSOLD, below, np.where(rsi >= OVERBOUGHT, -above, inside))


RSI_REVERSION = Strategy("rsi_reversion", 1, ("rsi_14",), _vote)
