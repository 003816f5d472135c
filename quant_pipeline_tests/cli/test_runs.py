"""Runs in this process: what they report, how they fail, and which unfinished ones count.

No `from __future__ import annotations` here: Dagster looks at the context's annotation itself.
"""

import os
import sys
from collections.abc import Iterator

import dagster as dg
import psutil
import pytest

from quant_pipeline.cli.errors import CommandError
from quant_pipeline.cli.options import day_of
from quant_pipeline.cli.runs import Graph, StepLog
from quant_pipeline.dagster_instance import open_instance
from quant_pipeline.runs import range_request
from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity
from quant_pipeline.settings import load_settings
from quant_pipeline_tests.cli.quant_process import QuantDesk

DAYS = dg.DailyPartitionsDefinition("2026-03-01")
JOB = "chain"


@dg.asset(key=["m", "bars"], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def bars(context: dg.AssetExecutionContext) -> None:
    """Fails or is interrupted when its run says so."""
    if "fail" in context.run.tags:
        message = "the seventh bar is upside down"
        raise ValueError(message)
    if "interrupt" in context.run.tags:
        psutil.Process().send_signal(2)
        for _ in range(1000):
            pass


@dg.asset(key=["m", "signals"], deps=[bars], partitions_def=DAYS, backfill_policy=dg.BackfillPolicy.single_run())
def signals() -> None:
    """A second step."""


@pytest.fixture
def graph(desk: QuantDesk) -> Iterator[Graph]:
    """A graph of two assets on a desk's own instance."""
    settings = load_settings(desk.folder / "quant.toml", environ=desk.env)
    steps = StepLog()
    jobs = [dg.define_asset_job(JOB, dg.AssetSelection.all())]
    defs = dg.Definitions(assets=[bars, signals], jobs=jobs, loggers={"console": steps.definition()})
    with open_instance(settings, launcher="default", quiet=True) as instance:
        yield Graph(defs, instance, steps)
    dispose_all()


def unfinished_run(graph: Graph, **tags: str) -> str:
    """A run that its process has begun and not ended."""
    job = graph.defs.resolve_job_def(JOB)
    run = graph.instance.create_run_for_job(job_def=job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    return run.run_id


def test_a_run_says_its_id_and_what_it_materialized(graph: Graph, capsys: pytest.CaptureFixture[str]) -> None:
    done = graph.execute(JOB, partition_key="2026-03-02", tags={"quant/tick": "now"})
    assert dict(done.materialized) == {"m/bars": 1, "m/signals": 1}
    run = graph.instance.get_run_by_id(done.run_id)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.SUCCESS
    assert run.tags["quant/tick"] == "now"
    assert run.tags[WORKER_TAG] == worker_identity(os.getpid())
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == "chain: m__bars\nchain: m__signals\n"


def test_a_range_is_one_run_and_may_be_limited_to_some_assets(graph: Graph) -> None:
    tags = range_request(day_of("2026-03-02", ""), day_of("2026-03-05", "")).tags
    done = graph.execute(JOB, tags=tags, assets=[dg.AssetKey(["m", "bars"])])
    assert dict(done.materialized) == {"m/bars": 4}


def test_a_failed_run_names_step_and_error(graph: Graph) -> None:
    with pytest.raises(CommandError, match="the seventh bar is upside down") as failed:
        graph.execute(JOB, partition_key="2026-03-02", tags={"fail": "yes"})
    assert "step m__bars" in str(failed.value)
    assert "ValueError" in str(failed.value)


def test_ctrl_c_ends_the_run_and_the_command(graph: Graph) -> None:
    with pytest.raises(KeyboardInterrupt):
        graph.execute(JOB, partition_key="2026-03-02", tags={"interrupt": "yes"})
    assert all(run.is_finished for run in graph.instance.get_runs())
    assert graph.unfinished(JOB) is None


def test_a_run_of_a_living_process_or_of_an_unknown_one_counts_as_unfinished(graph: Graph) -> None:
    assert graph.unfinished(JOB) is None
    ours = unfinished_run(graph, **{WORKER_TAG: worker_identity(os.getpid())})
    assert graph.unfinished(JOB) == ours
    graph.instance.delete_run(ours)
    elsewhere = unfinished_run(graph, **{WORKER_TAG: "another-host:1:0.00"})
    assert graph.unfinished(JOB) == elsewhere
    graph.instance.delete_run(elsewhere)
    unknown = unfinished_run(graph)
    assert graph.unfinished(JOB) == unknown


def test_a_run_whose_process_is_gone_is_marked_and_blocks_nobody(graph: Graph) -> None:
    with psutil.Popen([sys.executable, "-c", ""]) as process:
        gone = worker_identity(process.pid)
    orphan = unfinished_run(graph, **{WORKER_TAG: gone})
    assert graph.unfinished(JOB) is None
    run = graph.instance.get_run_by_id(orphan)
    assert run is not None
    assert run.status is dg.DagsterRunStatus.FAILURE
