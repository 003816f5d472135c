"""`quant tick`: skipped when the schedule would skip, refused when nothing can be asked."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import dagster as dg

from quant_pipeline.cli.runs import open_graph
from quant_pipeline.dagster_instance import open_instance
from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity
from quant_pipeline.settings import load_settings
from quant_pipeline_tests.cli.quant_process import QuantDesk

OPEN, CLOSED = "2026-03-02T15:00:00Z", "2026-03-01T15:00:00Z"


def test_no_run_is_launched_while_the_market_is_closed(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("tick", "us_equity", "--at", CLOSED, "--json")
    assert done.code == 0, done.stderr
    content = done.json()
    assert content["launched"] is False
    assert content["reason"] == (
        "us_equity is closed: it closed at 2026-02-27 21:00 UTC and opens at 2026-03-02 14:30 UTC"
    )
    settings = load_settings(migrated_desk.folder / "quant.toml", environ=migrated_desk.env)
    with open_instance(settings, launcher="default") as instance:
        assert instance.get_runs_count() == 0
    dispose_all()


def test_no_run_is_launched_while_one_is_in_progress(migrated_desk: QuantDesk) -> None:
    settings = load_settings(migrated_desk.folder / "quant.toml", environ=migrated_desk.env)
    with open_graph(settings) as graph:
        job = graph.defs.resolve_job_def("smart_trading_pipeline_us_equity")
        tags = {WORKER_TAG: worker_identity(os.getpid())}
        run = graph.instance.create_run_for_job(job_def=job, status=dg.DagsterRunStatus.STARTED, tags=tags)
    dispose_all()
    done = migrated_desk.run("tick", "us_equity", "--at", OPEN, "--json")
    assert done.code == 0, done.stderr
    reason = f"run {run.run_id} of smart_trading_pipeline_us_equity is still in progress"
    assert done.json() == {"launched": False, "reason": reason}


def test_without_its_exchange_a_simulated_market_has_no_clock(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("tick", "krw_crypto", "--json")
    assert (done.code, done.stdout) == (1, "")
    assert "the simulated exchange does not answer" in done.stderr
    assert "quant exchange" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_its_exchange_no_run_is_launched_for_another_time_either(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("tick", "us_equity", "--at", OPEN)
    assert (done.code, done.stdout) == (1, "")
    assert "the simulated exchange does not answer" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_time_before_the_first_session_exits_2(migrated_desk: QuantDesk) -> None:
    done = migrated_desk.run("tick", "us_equity", "--at", "2015-03-02T15:00:00Z")
    assert (done.code, done.stdout) == (2, "")
    assert "belongs to session 2015-03-02, but us_equity begins on" in done.stderr


def test_a_time_without_zone_exits_2(desk: QuantDesk) -> None:
    done = desk.run("tick", "us_equity", "--at", datetime(2026, 3, 2, tzinfo=UTC).replace(tzinfo=None).isoformat())
    assert (done.code, done.stdout) == (2, "")
    assert "has no time zone" in done.stderr
