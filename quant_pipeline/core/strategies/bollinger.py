"""Mean reversion by Bollinger bands: a close outside a band is expected to come back."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column
from quant_pipeline.core.windowed import divide

FULL_VOTE_BEYOND = 0.5
"""Standard deviations beyond a band at which the vote is full; at the band itself it is half."""


def _vote(frame: pd.DataFrame) -> FloatArray:
    """0 inside the bands, half a vote at a band (buy at the lower, sell at the upper), full further out.

    Abstains while the bands have no width, because then there is nothing to compare with.
    """
    close, middle = column(frame, "close"), column(frame, "bb_mid")
    deviation = (column(frame, "bb_upper") - middle) / 2.0
    distance = divide(close - middle, deviation)
    beyond = np.abs(distance) - 2.0
    strength = np.clip(0.5 + 0.5 * beyond / FULL_VOTE_BEYOND, 0.5, 1.0)
    voted: FloatArray = np.where(beyond >= 0.0, -np.sign(distance) * strength, 0.0)
    return np.where(np.isnan(distance), np.nan, voted)


BOLLINGER_REVERSION = Strategy("bollinger_reversion", 1, ("close", "bb_mid", "bb_upper"), _vote)
