"""Momentum by MACD: a crossing of line and signal is a full vote, afterwards the histogram's size counts."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column
from quant_pipeline.core.windowed import divide

HALF_VOTE_AT = 0.25
"""Histogram, in ATR, at which the vote between crossings reaches its half, the most it gets."""


def _vote(frame: pd.DataFrame) -> FloatArray:
    """+-1 where the histogram changes sign, else up to +-0.5 by its size while it grows, 0 while it fades."""
    now, before = column(frame, "macd_hist"), column(frame, "macd_hist_prev")
    size = np.clip(divide(now, column(frame, "atr_14")) / HALF_VOTE_AT, -1.0, 1.0) / 2.0
    grows = np.abs(now) > np.abs(before)
    crossed = now * before < 0.0
    voted: FloatArray = np.where(crossed, np.sign(now), np.where(grows, size, 0.0))
    return np.where(np.isnan(size) | np.isnan(before), np.nan, voted)


MACD_MOMENTUM = Strategy("macd_momentum", 1, ("macd_hist", "macd_hist_prev", "atr_14"), _vote)
