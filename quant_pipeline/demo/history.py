"""Making the past of a desk: bars, indicators, signals and features of all sessions, models, then decisions.

Every piece is a run of a job over a range of partitions, so it is seen in Dagster like any other.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import date

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from quant_pipeline.markets import calendar
from quant_pipeline.resources import DeskProvider
from quant_pipeline.runs import job_name
from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps.timing import month_of, next_month
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.shadow import last_shadow_session

Progress = Callable[[str, float], None]
_BARS_PART = 0.3
"""The part of the work that fetching bars is shown as; the steps after it are quick."""
MONTHS = 2
"""Months of models that a new desk is given: the one in progress and the one before. More can be backfilled."""


class RunFailedError(RuntimeError):
    """A run of the history failed; its events are in Dagster."""


def catch_up(
    settings: Settings,
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    market: MarketSettings,
    *,
    progress: Progress,
) -> None:
    """Materialize the last `catch_up_sessions` sessions of `market` that have closed, and what they need.

    A desk that was off for longer goes on where it stopped. Older partitions are a backfill that a person starts.

    Args:
        settings: the desk's settings (its clock says what has closed).
        defs: the definitions of those settings.
        instance: where runs are recorded.
        market: which market.
        progress: called with what is being done and the part that is done (0 to 1).

    Raises:
        RunFailedError: a run failed.
    """
    provider = defs.resources["desk"] if defs.resources is not None else None
    if not isinstance(provider, DeskProvider):
        msg = "the definitions have no desk; build them with build_definitions"
        raise TypeError(msg)
    settings.market(market.name)
    desk = provider.get()
    last = calendar.last_closed_session(market.market.calendar, desk.clock(market))
    first = first_session(desk.db, market, last)
    shown, desk.progress = desk.progress, lambda text, part: progress(text, _BARS_PART * part)
    try:
        build_history(defs, instance, market, first, last, months=_months(market, first, last), progress=progress)
    finally:
        desk.progress = shown


def first_session(db: Database, market: MarketSettings, last: date) -> date:
    """Where a catch-up to `last` begins: so many sessions back, but leaving no hole after what was decided before."""
    name = market.market.calendar
    listed = calendar.sessions(name, market.history_start, last)[-market.catch_up_sessions :]
    if not listed:
        return market.history_start
    decided = last_shadow_session(db, market.name, listed[0])
    return listed[0] if decided is None else min(listed[0], calendar.next_session(name, decided))


def build_history(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    market: MarketSettings,
    first: date,
    last: date,
    *,
    months: Sequence[date],
    progress: Progress,
) -> None:
    """Materialize the sessions from `first` to `last` and the models of `months`.

    Raises:
        RunFailedError: a run failed.
    """
    sessions = calendar.sessions(market.market.calendar, first, last)
    if not sessions:
        return
    progress(f"bars, indicators, signals and features of {len(sessions)} sessions", 0.0)
    run_range(defs, instance, market, "prepare", sessions[0], sessions[-1])
    for i, month in enumerate(months):
        progress(f"tuning and training the models that serve {month:%B %Y}", 0.4 + 0.3 * i / len(months))
        run_job(defs, instance, market, "optimize_hyperparameters", month)
    progress("predictions, decisions and the shadow book", 0.7)
    run_range(defs, instance, market, "decide", sessions[0], sessions[-1])
    progress("history is complete", 1.0)


def run_range(
    defs: dg.Definitions, instance: dg.DagsterInstance, market: MarketSettings, kind: str, first: date, last: date
) -> dg.ExecuteInProcessResult:
    """One run of a job over all sessions from `first` to `last`."""
    tags = {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}
    return _execute(defs, instance, market, kind, partition_key=None, tags=tags)


def run_job(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    market: MarketSettings,
    kind: str,
    key: date,
    *,
    run_config: dg.RunConfig | None = None,
    tags: Mapping[str, str] | None = None,
) -> dg.ExecuteInProcessResult:
    """One run of a job for one partition."""
    return _execute(defs, instance, market, kind, partition_key=key.isoformat(), tags=tags or {}, run_config=run_config)


def _execute(
    defs: dg.Definitions,
    instance: dg.DagsterInstance,
    market: MarketSettings,
    kind: str,
    *,
    partition_key: str | None,
    tags: Mapping[str, str],
    run_config: dg.RunConfig | None = None,
) -> dg.ExecuteInProcessResult:
    job = defs.resolve_job_def(job_name(market, kind))
    owned = {**tags, WORKER_TAG: worker_identity(os.getpid())}
    done = job.execute_in_process(
        instance=instance, partition_key=partition_key, tags=owned, run_config=run_config, raise_on_error=False
    )
    if not done.success:
        failed = [event for event in done.all_events if event.is_step_failure or event.is_failure]
        reasons = "; ".join(str(event.message) for event in failed[:3])
        msg = f"run {done.run_id} of {job.name} ({partition_key or tags}) failed: {reasons}"
        raise RunFailedError(msg)
    return done


def _months(market: MarketSettings, first: date, last: date) -> list[date]:
    """The month that the session after `last` belongs to and those before it, oldest first, none before `first`."""
    newest = month_of(calendar.next_session(market.market.calendar, last))
    months = [newest]
    while len(months) < MONTHS:
        earlier = month_of(date.fromordinal(months[0].toordinal() - 1))
        if next_month(earlier) <= first:
            break
        months.insert(0, earlier)
    return months
