"""The signals of indicator rows: every strategy's vote, the weighted score, the outcome."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from quant_pipeline.core.indicators.registry import INDICATORS, Indicator
from quant_pipeline.core.strategies.base import FloatArray, Strategy
from quant_pipeline.core.strategies.registry import DEFAULT_WEIGHTS, STRATEGIES
from quant_pipeline.core.strategies.scoring import BUY_AT, SELL_AT, check_weights, outcome, score
from quant_pipeline.core.values import Reason

STATUS_OK = "ok"


def signal_columns(strategies: Sequence[Strategy] = STRATEGIES) -> tuple[str, ...]:
    """The value columns that `compute_signals` gives, in order."""
    return (*(f"vote_{strategy.name}" for strategy in strategies), "score", "vote", "status")


def required_indicators(
    weights: Mapping[str, float] = DEFAULT_WEIGHTS, strategies: Sequence[Strategy] = STRATEGIES
) -> tuple[Indicator, ...]:
    """The indicators behind the columns that the weighted strategies read."""
    needed = {name for item in strategies if weights.get(item.name, 0.0) > 0 for name in item.required_columns}
    return tuple(indicator for indicator in INDICATORS if needed & set(indicator.columns))


def compute_signals(
    indicators: pd.DataFrame,
    weights: Mapping[str, float] = DEFAULT_WEIGHTS,
    *,
    buy_at: float = BUY_AT,
    sell_at: float = SELL_AT,
    strategies: Sequence[Strategy] = STRATEGIES,
) -> pd.DataFrame:
    """The vote on every row of an indicator frame.

    A strategy with weight 0 is not asked and its column is NaN: switching on what reads other symbols, or a slot
    without a source, is a decision. A strategy whose inputs are NaN abstains.

    Args:
        indicators: frame of `compute_indicators` (symbol, ts, session and columns), any sessions.
        weights: weight per strategy name; those left out are 0.
        buy_at: score from which on the vote is BUY.
        sell_at: score from which on (downwards) the vote is SELL.
        strategies: which strategies exist; the registry by default.

    Returns:
        Frame (symbol, ts, session, vote_<strategy>..., score, vote, status) row by row as the input: votes and score
        float64 in [-1, 1], `vote` int8 (-1, 0, 1), `status` "ok" or "no_history" (all abstained: score NaN, vote 0).

    Raises:
        ValueError: weights or thresholds cannot be meant, a required column is missing, or a strategy voted outside
            [-1, 1].
    """
    check_weights(weights, [strategy.name for strategy in strategies])
    votes = {strategy.name: _vote(strategy, indicators, weights.get(strategy.name, 0.0)) for strategy in strategies}
    scores = score(votes, weights)
    voted = outcome(scores, buy_at=buy_at, sell_at=sell_at)
    signals = indicators[["symbol", "ts", "session"]].reset_index(drop=True)
    for name, vote in votes.items():
        signals[f"vote_{name}"] = vote
    status = np.where(np.isnan(scores), Reason.NO_HISTORY.code, STATUS_OK).astype(object)
    return signals.assign(score=scores, vote=voted, status=status)


def _vote(strategy: Strategy, indicators: pd.DataFrame, weight: float) -> FloatArray:
    if weight == 0:
        return np.full(len(indicators), np.nan)
    missing = [name for name in strategy.required_columns if name not in indicators.columns]
    if missing:
        msg = f"strategy {strategy.name} needs the columns {', '.join(missing)}; add their indicators"
        raise ValueError(msg)
    votes = strategy.vote(indicators)
    if (np.abs(votes) > 1.0).any():
        worst = float(votes[int(np.nanargmax(np.abs(votes)))])
        msg = f"strategy {strategy.name} voted {worst}; a vote lies between -1 (sell) and 1 (buy)"
        raise ValueError(msg)
    return votes
