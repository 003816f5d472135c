"""A running Dagster: webserver and daemon as processes of their own, and questions to them. No assertions here."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

import requests

from quant_pipeline.runtime.ports import LOOPBACK, choose_free_port
from quant_pipeline.runtime.processes import ProcessGroup
from quant_pipeline_tests.assets.snapshot import REPOSITORY
from quant_pipeline_tests.e2e.desks import Place

POLL_SECONDS: Final = 0.25
SELECTOR: Final = {"repositoryLocationName": "quant_pipeline", "repositoryName": "__repository__"}

# The daemon looks for backfills every 30 s, and waits that long between the runs of one; nothing else is changed.
DAEMON: Final = """
import sys
import dagster._daemon.controller as controller
from quant_pipeline.runtime.warm_daemon import main

controller.DEFAULT_DAEMON_INTERVAL_SECONDS = 3
main(sys.argv[1:])
"""

LAUNCH_RUN: Final = """mutation ($params: ExecutionParams!) { launchRun(executionParams: $params) {
  __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message }
  ... on RunConfigValidationInvalid { errors { message } } } }"""
RUN: Final = """query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run {
  status tags { key value } assetMaterializations { assetKey { path } partition } } } }"""
LAUNCH_BACKFILL: Final = """mutation ($params: LaunchBackfillParams!) { launchPartitionBackfill(backfillParams: $params) {
  __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
BACKFILL: Final = """query ($id: String!) { partitionBackfillOrError(backfillId: $id) { __typename
  ... on PartitionBackfill { status error { message } runs(limit: 100) { runId status startTime
    tags { key value } stepStats { stepKey } } } } }"""


@dataclass(frozen=True, slots=True)
class Web:
    """The GraphQL endpoint of a running webserver."""

    url: str

    def ask(self, text: str, variables: Mapping[str, object] | None = None) -> dict[str, Any]:
        """Send a query or mutation; raises `RuntimeError` with the first error of the answer."""
        body = {"query": text, "variables": variables or {}}
        answer = requests.post(f"{self.url}/graphql", json=body, timeout=60, proxies={"http": ""}).json()
        if answer.get("errors"):
            raise RuntimeError(str(answer["errors"][0]["message"]))
        found: dict[str, Any] = answer["data"]
        return found

    def launch_run(self, job: str, *, partition: str) -> str:
        """Launch a job for one partition as a person does in the UI; returns the run's id."""
        tags = [{"key": "dagster/partition", "value": partition}]
        params = {"selector": {**SELECTOR, "jobName": job}, "executionMetadata": {"tags": tags}}
        found = self.ask(LAUNCH_RUN, {"params": params})["launchRun"]
        if found["__typename"] != "LaunchRunSuccess":
            raise RuntimeError(str(found))
        return str(found["run"]["runId"])

    def finished_run(self, run_id: str, *, timeout: float) -> dict[str, Any]:
        """Wait for a run's end."""
        return self._wait(RUN, run_id, "runOrError", {"SUCCESS", "FAILURE", "CANCELED"}, timeout)

    def launch_backfill(self, partitions: Mapping[tuple[str, ...], Sequence[str]]) -> str:
        """Launch one backfill of assets over (first, last) ranges of their partitions; returns its id."""
        chosen = [
            {"assetKey": {"path": list(path)}, "partitions": {"range": {"start": span[0], "end": span[-1]}}}
            for path, span in partitions.items()
        ]
        params = {"partitionsByAssets": chosen, "title": "test"}
        found = self.ask(LAUNCH_BACKFILL, {"params": params})["launchPartitionBackfill"]
        if found["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(str(found))
        return str(found["backfillId"])

    def launch_backfill_of_names(self, paths: Sequence[Sequence[str]], names: Sequence[str]) -> str:
        """Launch one backfill of assets over partitions that are named one by one; returns its id."""
        params = {"assetSelection": [{"path": list(path)} for path in paths], "partitionNames": list(names)}
        found = self.ask(LAUNCH_BACKFILL, {"params": params})["launchPartitionBackfill"]
        if found["__typename"] != "LaunchBackfillSuccess":
            raise RuntimeError(str(found))
        return str(found["backfillId"])

    def finished_backfill(self, backfill_id: str, *, timeout: float) -> dict[str, Any]:
        """Wait for a backfill's end; `runs` in the order in which they started."""
        over = {"COMPLETED_SUCCESS", "COMPLETED_FAILED", "COMPLETED", "FAILED", "CANCELED"}
        found = self._wait(BACKFILL, backfill_id, "partitionBackfillOrError", over, timeout)
        return {**found, "runs": sorted(found["runs"], key=lambda run: run["startTime"] or 0.0)}

    def _wait(self, query: str, key: str, field: str, over: set[str], timeout: float) -> dict[str, Any]:
        deadline = time.monotonic() + timeout
        while True:
            found: dict[str, Any] = self.ask(query, {"id": key})[field]
            if found.get("status") in over:
                return found
            if time.monotonic() > deadline:
                msg = f"{key} was not over after {timeout} s: {found}"
                raise TimeoutError(msg)
            time.sleep(POLL_SECONDS)


@contextmanager
def running(place: Place) -> Iterator[Web]:
    """Webserver and daemon of a desk, found through the project's own `workspace.yaml`; ended with all they started."""
    workspace = place.folder / "workspace.yaml"
    shutil.copyfile(REPOSITORY / "workspace.yaml", workspace)
    environment = {**place.environment(), "PYTHONPATH": str(REPOSITORY)}
    logs = place.folder / "logs"
    port = choose_free_port()
    url = f"http://{LOOPBACK}:{port}"
    web = [sys.executable, "-m", "dagster_webserver", "-h", LOOPBACK, "-p", str(port), "-w", str(workspace)]
    daemon = [sys.executable, "-c", DAEMON, "-w", str(workspace)]
    with ProcessGroup() as group:
        for name, argv, ready in (("daemon", daemon, None), ("webserver", web, f"{url}/server_info")):
            group.start(name, argv, log_path=logs / f"{name}.log", env=environment, cwd=place.folder, ready=ready)
        group.wait_ready(240.0)
        yield Web(url)
        group.check()
