"""Talking to Dagster's webserver, here a small server with prepared answers; the real one is in `test_up`."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from quant_pipeline.cli.dagster_api import DagsterApi, Instigator
from quant_pipeline.cli.errors import CommandError
from quant_pipeline.runtime.ports import choose_free_port


class PreparedServer:
    """Answers each query with the first prepared answer whose word occurs in it, and remembers the variables."""

    def __init__(self, port: int) -> None:
        self.answers: dict[str, Any] = {}
        self.asked: list[dict[str, Any]] = []
        prepared = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                prepared.asked.append(body["variables"])
                content = next(answer for word, answer in prepared.answers.items() if word in body["query"])
                data = json.dumps(content).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def log_message(self, *arguments: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)


@pytest.fixture
def prepared() -> Iterator[PreparedServer]:
    found = PreparedServer(choose_free_port())
    thread = threading.Thread(target=found.server.serve_forever, args=(0.05,))
    thread.start()
    yield found
    found.server.shutdown()
    thread.join()
    found.server.server_close()


@pytest.fixture
def api(prepared: PreparedServer) -> DagsterApi:
    return DagsterApi(f"http://127.0.0.1:{prepared.server.server_address[1]}", "here")


def health(*daemons: tuple[bool, bool, float | None]) -> dict[str, Any]:
    statuses = [{"required": r, "healthy": h, "lastHeartbeatTime": at} for r, h, at in daemons]
    return {"data": {"instance": {"daemonHealth": {"allDaemonStatuses": statuses}}}}


@pytest.mark.parametrize(
    ("daemons", "well"),
    [
        ([(True, True, 101.0), (True, True, 100.0)], True),
        ([(True, True, 101.0), (False, False, None)], True),
        ([(True, True, 101.0), (True, True, 99.0)], False),
        ([(True, True, 101.0), (True, False, 101.0)], False),
        ([(True, True, 101.0), (True, True, None)], False),
        ([], False),
    ],
)
def test_the_daemon_is_well_when_each_needed_part_reported_since(
    prepared: PreparedServer, api: DagsterApi, daemons: list[tuple[bool, bool, float | None]], *, well: bool
) -> None:
    prepared.answers = {"daemonHealth": health(*daemons)}
    assert api.daemon_is_well(100.0) is well


def test_a_webserver_that_is_gone_is_not_well() -> None:
    assert DagsterApi(f"http://127.0.0.1:{choose_free_port()}", "here").daemon_is_well(0.0) is False


def test_only_what_is_not_as_wanted_is_switched(prepared: PreparedServer, api: DagsterApi) -> None:
    prepared.answers = {
        "startSchedule": {"data": {"result": {"__typename": "ScheduleStateResult"}}},
        "stopSensor": {"data": {"result": {"__typename": "StopSensorMutationResult"}}},
    }
    off = Instigator("schedule", "ticks", "id-1", is_on=False)
    on = Instigator("sensor", "changes", "id-2", is_on=True)
    api.switch([(off, True), (off, False), (on, False), (on, True)])
    repository = {"repositoryLocationName": "here", "repositoryName": "__repository__"}
    assert prepared.asked == [{"selector": {**repository, "scheduleName": "ticks"}}, {"id": "id-2"}]


def test_a_refusal_names_what_was_to_be_switched_and_why(prepared: PreparedServer, api: DagsterApi) -> None:
    refusal = {"__typename": "UnauthorizedError", "message": "read-only"}
    prepared.answers = {"startSchedule": {"data": {"result": refusal}}}
    with pytest.raises(CommandError, match="does not switch schedule ticks on: read-only"):
        api.switch([(Instigator("schedule", "ticks", "id", is_on=False), True)])


def test_a_location_that_cannot_be_loaded_is_told(prepared: PreparedServer, api: DagsterApi) -> None:
    broken = {"__typename": "PythonError", "message": "no module named x"}
    prepared.answers = {"schedulesOrError": {"data": {"schedulesOrError": broken, "sensorsOrError": broken}}}
    with pytest.raises(CommandError, match="no module named x"):
        api.instigators()
    prepared.answers = {"schedulesOrError": {"errors": [{"message": "syntax"}]}}
    with pytest.raises(CommandError, match="syntax"):
        api.instigators()
