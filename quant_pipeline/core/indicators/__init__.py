"""Technical indicators: an explicit registry, and one function that computes them from an anchored window.

Here belongs what is a number derived from the bars of one symbol. Votes on those numbers are strategies, model inputs
are features.
"""

from __future__ import annotations

from quant_pipeline.core.indicators.compute import compute_indicators, indicator_columns, max_warmup
from quant_pipeline.core.indicators.registry import INDICATORS, Indicator, get_indicator

__all__ = ["INDICATORS", "Indicator", "compute_indicators", "get_indicator", "indicator_columns", "max_warmup"]
