"""Webserver and daemon together, as `quant up` runs them: pooled storage, warm runs, live logs, nothing left behind."""

from __future__ import annotations

import asyncio
import json
import sys
import urllib.request
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psutil
import pytest
import websockets

from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.runtime.processes import ProcessGroup
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.runtime.dagster_homes import CODE, VARIABLE, warm_launcher, write_home
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests, is_alive

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(240),
    pytest.mark.skipif(sys.platform != "linux", reason="runs are forked on Linux only"),
]

RUNS: Final = "{ runsOrError { ... on Runs { results { runId status jobName tags { key value } } } } }"
EVENTS: Final = """
subscription Logs($runId: ID!) { pipelineRunLogs(runId: $runId) {
  ... on PipelineRunLogsSubscriptionSuccess { messages { __typename ... on MessageEvent { message } } } } }
"""
LAUNCH: Final = """
mutation Launch($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }
"""
TERMINATE: Final = "mutation Stop($runId: String!) { terminateRun(runId: $runId) { __typename } }"


class Desk:
    """A webserver as its users see it."""

    def __init__(self, port: int) -> None:
        self.port = port

    def ask(self, query: str, **variables: object) -> dict[str, Any]:
        """One GraphQL request; its data, which has to be without errors."""
        body = json.dumps({"query": query, "variables": variables}).encode()
        url = f"http://127.0.0.1:{self.port}/graphql"
        request = urllib.request.Request(url, body, {"Content-Type": "application/json"})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=30) as answer:
            found = json.load(answer)
        assert "errors" not in found, found
        return dict(found["data"])

    def runs(self) -> dict[str, dict[str, Any]]:
        """Runs by id."""
        return {run["runId"]: run for run in self.ask(RUNS)["runsOrError"]["results"]}

    def launch(self, job: str, config: dict[str, object]) -> str:
        """Launch a job as the web page does; returns the run's id."""
        selector = {
            "repositoryLocationName": CODE,
            "repositoryName": "__repository__",
            "jobName": job,
        }
        params = {"selector": selector, "runConfigData": json.dumps(config)}
        answer = self.ask(LAUNCH, params=params)["launchRun"]
        assert answer["__typename"] == "LaunchRunSuccess", answer
        return str(answer["run"]["runId"])

    async def log_until(self, run_id: str, text: str) -> list[str]:
        """Follow a run's log live, as the web page does, until an event of type or message `text` comes."""
        url = f"ws://127.0.0.1:{self.port}/graphql"
        seen: list[str] = []
        async with websockets.connect(url, subprotocols=[websockets.Subprotocol("graphql-ws")], proxy=None) as socket:
            await socket.send(json.dumps({"type": "connection_init"}))
            start = {"query": EVENTS, "variables": {"runId": run_id}}
            await socket.send(json.dumps({"id": "1", "type": "start", "payload": start}))
            async for answer in socket:
                payload = json.loads(answer).get("payload") or {}
                logs = (payload.get("data") or {}).get("pipelineRunLogs") or {}
                for message in logs.get("messages", []):
                    seen += [message["__typename"], message.get("message") or ""]
                if any(text in entry for entry in seen):
                    return seen
        pytest.fail(f"the log ended without {text!r}: {seen}")


def start_desk(group: ProcessGroup, folder: Path, dsn: Dsn) -> Desk:
    """Webserver and daemon on a fresh home; ready when this returns."""
    home = write_home(
        folder / "home",
        run_launcher=warm_launcher(),
        run_queue={"dequeue_interval_seconds": 1},
    )
    root = environment_of_tests()["PYTHONPATH"]
    workspace = folder / "workspace.yaml"
    location = {"python_module": {"module_name": CODE, "working_directory": root, "location_name": CODE}}
    workspace.write_text(json.dumps({"load_from": [location]}))
    environment = {**environment_of_tests(), "DAGSTER_HOME": str(home), VARIABLE: dsn.sqlalchemy()}
    port = choose_free_port()
    web = [sys.executable, "-m", "dagster_webserver", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
    daemon = [sys.executable, "-m", "quant_pipeline.runtime.warm_daemon", "-w", str(workspace)]
    url = f"http://127.0.0.1:{port}/server_info"
    group.start("web", web, log_path=folder / "web.log", env=environment, cwd=folder, ready=url)
    group.start("daemon", daemon, log_path=folder / "daemon.log", env=environment, cwd=folder)
    group.wait_ready(90)
    return Desk(port)


def test_sensor_runs_live_logs_termination_and_a_clean_end(
    tmp_path: Path, empty_database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ProcessGroup(grace=20.0) as group:
        desk = start_desk(group, tmp_path, empty_database)
        # The sensor's run: asked for by the daemon, queued, launched warm.
        assert wait_until(lambda: [r["status"] for r in desk.runs().values()] == ["SUCCESS"], timeout=90), desk.runs()
        # A run launched from the web page, its log followed live, then terminated from there.
        run_id = desk.launch("waiting_job", {"ops": {"wait_for_ever": {"config": {"path": str(tmp_path / "pid")}}}})
        seen = asyncio.run(asyncio.wait_for(desk.log_until(run_id, "ExecutionStepStartEvent"), 60))
        assert "RunStartEvent" in seen
        assert wait_until((tmp_path / "pid").exists, timeout=30)
        assert desk.ask(TERMINATE, runId=run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"
        assert wait_until(lambda: desk.runs()[run_id]["status"] == "CANCELED", timeout=30)
        # One more, in progress when everything is stopped.
        (tmp_path / "pid").unlink()
        last = desk.launch("waiting_job", {"ops": {"wait_for_ever": {"config": {"path": str(tmp_path / "pid")}}}})
        assert wait_until((tmp_path / "pid").exists, timeout=60), desk.runs()[last]
        processes = [
            process for pid in group.pids().values() for process in psutil.Process(pid).children(recursive=True)
        ]
        assert int((tmp_path / "pid").read_text()) in {process.pid for process in processes}
        group.check()
    assert not [process for process in processes if is_alive(process.pid)]
    # The run in progress had the time to say what happened to it.
    monkeypatch.setenv(VARIABLE, empty_database.sqlalchemy())
    with dg.DagsterInstance.from_config(str(tmp_path / "home")) as instance:
        run = instance.get_run_by_id(last)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.FAILURE
    dispose_all()
    for log in ("web.log", "daemon.log"):
        assert empty_database.password not in (tmp_path / log).read_text()
