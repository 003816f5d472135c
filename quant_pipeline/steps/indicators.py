"""The indicators step: the registered indicators of every decision bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

from quant_pipeline.core.anchor import History
from quant_pipeline.core.identity import code_hash
from quant_pipeline.core.indicators.compute import compute_indicators, indicator_columns, max_warmup
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult
from quant_pipeline.steps.windows import run_windowed

STEP = "indicators"
COLUMNS = indicator_columns()
SOURCES = ("indicators", "adjust", "anchor", "windowed", "segments", "bars", "values")
"""The parts of core behind the values: only their change makes stored sessions stale."""


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Compute the indicators of `sessions` whose bars changed."""

    def compute(bars: pd.DataFrame, stale: Sequence[date], history: History) -> pd.DataFrame:
        return compute_indicators(bars, stale, history=history)

    code = code_hash(*SOURCES)
    return run_windowed(desk, market, STEP, sessions, context, warmup=max_warmup(), code=code, compute=compute)
