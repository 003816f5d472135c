"""Trend following: EMA 20 against EMA 50, when the long average moves the same way."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column
from quant_pipeline.core.windowed import divide

FULL_VOTE_AT = 2.0
"""Distance of the averages, in ATR, at which the vote is full."""


def _vote(frame: pd.DataFrame) -> FloatArray:
    """Distance of the averages in ATR, cut at +-`FULL_VOTE_AT`; 0 while the slope of EMA 50 says otherwise."""
    distance = divide(column(frame, "ema_20") - column(frame, "ema_50"), column(frame, "atr_14"))
    slope = column(frame, "ema_50_slope_5")
    strength = np.clip(distance / FULL_VOTE_AT, -1.0, 1.0)
    agreed: FloatArray = np.where(distance * slope > 0.0, strength, 0.0)
    return np.where(np.isnan(distance) | np.isnan(slope), np.nan, agreed)


EMA_TREND = Strategy("ema_trend", 1, ("ema_20", "ema_50", "ema_50_slope_5", "atr_14"), _vote)
