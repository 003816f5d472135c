"""The features step: the inputs of the models, of every decision bar."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date

import pandas as pd

from quant_pipeline.core.anchor import History
from quant_pipeline.core.features import FEATURE_SET, compute_features
from quant_pipeline.core.identity import code_hash
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult
from quant_pipeline.steps.windows import run_windowed

STEP = "features"
COLUMNS = FEATURE_SET.columns
SOURCES = ("features", "daygrid", "adjust", "anchor", "windowed", "segments", "bars", "values")
"""The parts of core behind the values: only their change makes stored sessions stale."""


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Compute the features of `sessions` whose bars changed."""

    def compute(bars: pd.DataFrame, stale: Sequence[date], history: History) -> pd.DataFrame:
        return compute_features(bars, stale, bars_per_day=market.bars_per_day, history=history)

    warmup = FEATURE_SET.warmup_bars(market.bars_per_day)
    code = code_hash(*SOURCES)
    return run_windowed(
        desk,
        market,
        STEP,
        sessions,
        context,
        warmup=warmup,
        code=code,
        compute=compute,
        together=bool(FEATURE_SET.cross_sectional),
    )
