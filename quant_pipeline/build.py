"""The only wiring: settings in, Dagster definitions out. Tests pass other resources instead of patching anything."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import dagster as dg

from quant_pipeline.assets.chain import chain_assets
from quant_pipeline.assets.learning import learning_assets
from quant_pipeline.assets.market_data import bars_asset
from quant_pipeline.automation import failure_sensor, jobs, schedules, sensors
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import Settings
from quant_pipeline.steps.connect import open_desk


def build_definitions(settings: Settings, *, resources: Mapping[str, object] | None = None) -> dg.Definitions:
    """Everything Dagster knows about the desk of `settings`.

    Args:
        settings: which markets there are and how they trade.
        resources: replacements by name (`desk`, `options`).
    """
    # Part of dagster for years, and used on purpose: one warning for each asset tells nobody anything.
    warnings.filterwarnings("ignore", category=dg.BetaWarning)
    wired: dict[str, object] = {"desk": DeskProvider(settings, open_desk), "options": RunOptions()}
    markets = settings.markets
    listed = {market.name: jobs(market) for market in markets}
    return dg.Definitions(
        assets=[
            asset
            for market in markets
            for asset in (bars_asset(market), *chain_assets(market), *learning_assets(market))
        ],
        jobs=[job for market in markets for job in listed[market.name]],
        schedules=[schedule for market in markets for schedule in schedules(market)],
        sensors=[*(one for market in markets for one in sensors(market, listed[market.name])), failure_sensor()],
        resources={**wired, **(resources or {})},
        executor=dg.in_process_executor,
    )
