"""Coupling: when the leading symbol has moved and a follower has not, the follower is expected to catch up."""

from __future__ import annotations

import numpy as np
import pandas as pd

from quant_pipeline.core.strategies.base import FloatArray, Strategy, column
from quant_pipeline.core.windowed import divide

FULL_VOTE_AT = 1.0
"""How far the follower lags, in its own relative ATR, at which the vote is full."""


def lead_lag(leader: str) -> Strategy:
    """A strategy in which `leader` (a symbol of the same market) leads all others.

    Votes by the leader's last return minus the follower's own. Abstains for the leader itself and on bars where the
    leader has none.
    """

    def vote(frame: pd.DataFrame) -> FloatArray:
        own = column(frame, "return_1")
        is_leader = frame["symbol"].to_numpy(dtype=object) == leader
        lead = frame[is_leader].set_index("ts")["return_1"]
        leading = lead.reindex(frame["ts"]).to_numpy(dtype=np.float64)
        range_share = divide(column(frame, "atr_14"), column(frame, "close"))
        behind = divide(leading - own, range_share) / FULL_VOTE_AT
        return np.where(is_leader, np.nan, np.clip(behind, -1.0, 1.0))

    return Strategy("lead_lag", 1, ("close", "return_1", "atr_14"), vote, cross_symbol=True)


LEAD_LAG = lead_lag("KRW-BTC")
