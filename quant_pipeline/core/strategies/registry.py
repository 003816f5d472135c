"""The registry of strategies and the weights they ship with: an explicit tuple, nothing is discovered."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from quant_pipeline.core.strategies.base import Strategy
from quant_pipeline.core.strategies.bollinger import BOLLINGER_REVERSION
from quant_pipeline.core.strategies.ema_trend import EMA_TREND
from quant_pipeline.core.strategies.external_signal import EXTERNAL_SIGNAL
from quant_pipeline.core.strategies.lead_lag import LEAD_LAG
from quant_pipeline.core.strategies.macd_momentum import MACD_MOMENTUM
from quant_pipeline.core.strategies.rsi_reversion import RSI_REVERSION

STRATEGIES: tuple[Strategy, ...] = (
    EMA_TREND,
    RSI_REVERSION,
    MACD_MOMENTUM,
    BOLLINGER_REVERSION,
    LEAD_LAG,
    EXTERNAL_SIGNAL,
)
"""Every strategy of the desk, in the order in which votes are added up."""

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType(
    {
        "ema_trend": 0.35,
        "rsi_reversion": 0.20,
        "macd_momentum": 0.30,
        "bollinger_reversion": 0.15,
        "lead_lag": 0.0,
        "external_signal": 0.0,
    }
)
"""Trend and momentum carry most; the two reversion rules speak seldom, at extremes. Weight 0 is off."""


def get_strategy(name: str) -> Strategy:
    """The registered strategy of that name.

    Raises:
        ValueError: there is none; the message lists the names.
    """
    for strategy in STRATEGIES:
        if strategy.name == name:
            return strategy
    msg = f"unknown strategy {name!r}; registered are {', '.join(item.name for item in STRATEGIES)}"
    raise ValueError(msg)
