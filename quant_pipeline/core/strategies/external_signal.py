"""A slot for a signal from outside (news, social media): ships with weight 0 and without any source."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column

COLUMN = "external_signal"


def _vote(frame: pd.DataFrame) -> FloatArray:
    """The column `external_signal` (-1..1) where the caller joined one, else it abstains."""
    return column(frame, COLUMN) if COLUMN in frame.columns else np.full(len(frame), np.nan)


EXTERNAL_SIGNAL = Strategy("external_signal", 1, (), _vote)
"""No indicator gives its column: reading text feeds is out of scope, their licences do not allow redistribution."""
