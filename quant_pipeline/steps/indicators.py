"""The indicators step: the registered indicators of every decision bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

from quant_pipeline.core.indicators.compute import compute_indicators, indicator_columns, max_warmup
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult
from quant_pipeline.steps.windows import run_windowed

STEP = "indicators"
COLUMNS = indicator_columns()


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Compute the indicators of `sessions` whose bars changed."""
    return run_windowed(desk, market, STEP, sessions, context, warmup=max_warmup(), compute=compute_indicators)
