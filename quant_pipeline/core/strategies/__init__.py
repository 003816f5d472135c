"""Rule strategies: each turns indicator values into a vote, and the weighted votes become one outcome.

Here belongs the first decision from technical analysis. The AI's opinion belongs to the models, the final word to the
decision kernel.
"""

from __future__ import annotations

from quant_pipeline.core.strategies.base import Strategy
from quant_pipeline.core.strategies.registry import DEFAULT_WEIGHTS, STRATEGIES, get_strategy
from quant_pipeline.core.strategies.scoring import BUY_AT, SELL_AT, check_thresholds, check_weights, outcome, score
from quant_pipeline.core.strategies.signals import compute_signals, required_indicators, signal_columns

__all__ = [
    "BUY_AT",
    "DEFAULT_WEIGHTS",
    "SELL_AT",
    "STRATEGIES",
    "Strategy",
    "check_thresholds",
    "check_weights",
    "compute_signals",
    "get_strategy",
    "outcome",
    "required_indicators",
    "score",
    "signal_columns",
]
