"""A small code location for the runtime tests: assets, a sensor, a schedule, jobs that wait, fail or die.

No `from __future__ import annotations` here: Dagster looks at the context's annotation itself.
"""

import os
import time
from pathlib import Path

import dagster as dg

SESSIONS = dg.DailyPartitionsDefinition("2024-01-01", end_date="2024-12-31")


@dg.asset(partitions_def=SESSIONS, backfill_policy=dg.BackfillPolicy.single_run())
def bars(context: dg.AssetExecutionContext) -> None:
    """Materializes its partitions and says who did it."""
    for key in context.partition_keys:
        context.add_asset_metadata({"pid": os.getpid()}, partition_key=key)


@dg.asset(partitions_def=SESSIONS, backfill_policy=dg.BackfillPolicy.single_run(), deps=[bars])
def signals() -> None:
    """A second asset, so that a range has two steps."""


@dg.asset(
    partitions_def=SESSIONS,
    check_specs=[dg.AssetCheckSpec(f"check_{i}", asset="judged") for i in range(5)],
)
def judged() -> dg.MaterializeResult:
    """Outside the location: one partition and five checks of it."""
    results = [dg.AssetCheckResult(passed=True, check_name=f"check_{i}") for i in range(5)]
    return dg.MaterializeResult(check_results=results)


@dg.op(config_schema={"path": str})
def wait_for_ever(context: dg.OpExecutionContext) -> None:
    """Writes its process id down and waits for its end, at most five minutes."""
    path = Path(context.op_config["path"])
    path.with_suffix(".new").write_text(str(os.getpid()))
    path.with_suffix(".new").rename(path)
    for _ in range(3000):
        time.sleep(0.1)


@dg.op
def die() -> None:
    """Ends as a process does that the system kills for its memory."""
    os.kill(os.getpid(), 9)


@dg.op
def fail() -> None:
    """Fails in an ordinary way."""
    msg = "this step fails on purpose"
    raise ValueError(msg)


@dg.job(executor_def=dg.in_process_executor)
def waiting_job() -> None:
    """Runs until it is terminated."""
    wait_for_ever()


@dg.job(executor_def=dg.in_process_executor)
def dying_job() -> None:
    """Its process is killed in the middle."""
    die()


@dg.job(executor_def=dg.in_process_executor)
def failing_job() -> None:
    """Fails."""
    fail()


assets_job = dg.define_asset_job("assets_job", dg.AssetSelection.all(), executor_def=dg.in_process_executor)


@dg.sensor(job=assets_job, default_status=dg.DefaultSensorStatus.RUNNING, minimum_interval_seconds=1)
def one_run(_context: dg.SensorEvaluationContext) -> dg.RunRequest:
    """Asks for one run, once."""
    return dg.RunRequest(run_key="only", partition_key="2024-03-04")


defs = dg.Definitions(
    assets=[bars, signals],
    jobs=[assets_job, waiting_job, dying_job, failing_job],
    sensors=[one_run],
    schedules=[dg.build_schedule_from_partitioned_job(assets_job)],
    executor=dg.in_process_executor,
)
