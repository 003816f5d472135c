"""Recomputing what changed bars made stale: the sensor that looks for it and the runs that it launches.

Which partitions these are is decided in `steps.dependants`.
"""

from collections.abc import Sequence

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from quant_pipeline.assets.reporting import PHASE_TAG
from quant_pipeline.assets.spec import asset_key
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.runs import IN_PROGRESS, job_name, range_tags, run_in_progress
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.dependants import Work, next_work
from quant_pipeline.storage.version_marks import newest_version

RESTATING = ("restate", "optimize_hyperparameters", "weekly_retraining", "daily_model_finetuning")
"""Jobs that recompute what changed bars made stale."""
RESTATE_TAG = "quant/restate"
RUNS_AT_ONCE = 20
"""Runs that one look may launch; what is left is found by the next one."""


def changed_bars_sensor(
    market: MarketSettings, market_jobs: Sequence[UnresolvedAssetJobDefinition]
) -> dg.SensorDefinition:
    """The sensor that launches what must be recomputed because bars changed."""
    launched = {job_name(market, kind) for kind in RESTATING}

    @dg.sensor(
        name=f"changed_bars_{market.name}",
        jobs=[job for job in market_jobs if job.name in launched],
        minimum_interval_seconds=60,
        description=(
            "An import, a late bar or a corrected one: recompute what used other bars, phase after phase: sessions up to "
            "features, models, predictions, decisions. A phase waits for the runs of the one before."
        ),
    )
    def changed_bars(
        context: dg.SensorEvaluationContext, desk: dg.ResourceParam[DeskProvider]
    ) -> list[dg.RunRequest] | dg.SkipReason:
        busy = _restating(context.instance, market)
        if busy is not None:
            return dg.SkipReason(f"run {busy} is still recomputing; looking again afterwards")
        opened = desk.get()
        now = opened.clock(market)
        found = next_work(opened, market, now=now)
        if not found:
            return dg.SkipReason("every stored result was made from the bars as they are now")
        # A run that fails is asked for again when something has changed, and once an hour.
        since = f"{newest_version(opened.db)}:{now:%Y-%m-%dT%H}"
        return [work_request(market, work, since) for work in found[:RUNS_AT_ONCE]]

    return changed_bars


def work_request(market: MarketSettings, work: Work, since: str) -> dg.RunRequest:
    """The run that does a piece of recomputing; `since` tells it from the same one at another time.

    It is made of what is stored, so a venue that does not answer holds nothing up, and nothing it says is mixed in.
    """
    name = f"{market.name}:{work.phase}:{'+'.join(work.steps)}:{work.first}:{work.last}:{since}"
    tags = {**range_tags(work.first, work.last), RESTATE_TAG: market.name, PHASE_TAG: work.phase}
    return dg.RunRequest(
        run_key=name,
        job_name=job_of(market, work),
        tags=tags,
        run_config=dg.RunConfig(resources={"options": RunOptions(collect=False)}),
        asset_selection=[asset_key(market.name, step) for step in work.steps],
    )


def job_of(market: MarketSettings, work: Work) -> str:
    """The job that has the steps of this work; training keeps its own, so that it queues with all other training."""
    kinds = {"models": "weekly_retraining" if len(work.steps) == 1 else "optimize_hyperparameters"}
    return job_name(market, {**kinds, "updates": "daily_model_finetuning"}.get(work.phase, "restate"))


def _restating(instance: dg.DagsterInstance, market: MarketSettings) -> str | None:
    """A run in progress that recomputes, whichever job it is of."""
    tagged = instance.get_runs(dg.RunsFilter(tags={RESTATE_TAG: market.name}, statuses=IN_PROGRESS), limit=1)
    return tagged[0].run_id if tagged else run_in_progress(instance, job_name(market, "restate"))
