"""Names and tags of runs, and which of them are under way. When they start and what they do is elsewhere."""

from __future__ import annotations

from datetime import date

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from quant_pipeline.settings import MarketSettings

IN_PROGRESS = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]


def job_name(market: MarketSettings, kind: str) -> str:
    """The name of a job of a market, e.g. `smart_trading_pipeline_us_equity`."""
    return f"{kind}_{market.name}"


def range_request(first: date, last: date, *, run_config: dg.RunConfig | None = None) -> dg.RunRequest:
    """One run over all sessions from `first` to `last`."""
    return dg.RunRequest(run_key=None, tags=range_tags(first, last), run_config=run_config)


def range_tags(first: date, last: date) -> dict[str, str]:
    """The tags that make one run cover all partitions from `first` to `last`."""
    return {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}


def run_in_progress(instance: dg.DagsterInstance, job: str) -> str | None:
    """The id of a run of that job that is queued or under way, or None."""
    runs = instance.get_runs(dg.RunsFilter(job_name=job, statuses=IN_PROGRESS), limit=1)
    return runs[0].run_id if runs else None
