"""Asking a running Dagster webserver over GraphQL: is the daemon well, which schedules are on. Imports no dagster."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http.client import HTTPConnection, HTTPException
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from quant_pipeline.cli.errors import CommandError

Kind = Literal["schedule", "sensor"]

_TIMEOUT: Final = 30.0
_HEALTH: Final = "{ instance { daemonHealth { allDaemonStatuses { required healthy lastHeartbeatTime } } } }"
_INSTIGATORS: Final = """query ($selector: RepositorySelector!) {
  schedulesOrError(repositorySelector: $selector) {
    __typename ... on Schedules { results { name scheduleState { id status } } } ... on PythonError { message }
  }
  sensorsOrError(repositorySelector: $selector) {
    __typename ... on Sensors { results { name sensorState { id status } } } ... on PythonError { message }
  }
}"""
_START: Final[Mapping[Kind, str]] = {
    "schedule": """mutation ($selector: ScheduleSelector!) { result: startSchedule(scheduleSelector: $selector) {
        __typename ... on PythonError { message } ... on UnauthorizedError { message } } }""",
    "sensor": """mutation ($selector: SensorSelector!) { result: startSensor(sensorSelector: $selector) {
        __typename ... on PythonError { message } ... on UnauthorizedError { message } } }""",
}
_STOP: Final[Mapping[Kind, str]] = {
    "schedule": """mutation ($id: String!) { result: stopRunningSchedule(id: $id) {
        __typename ... on PythonError { message } ... on UnauthorizedError { message } } }""",
    "sensor": """mutation ($id: String!) { result: stopSensor(id: $id) {
        __typename ... on PythonError { message } ... on UnauthorizedError { message } } }""",
}
_DONE: Final = ("ScheduleStateResult", "Sensor", "StopSensorMutationResult")


@dataclass(frozen=True, slots=True)
class Instigator:
    """A schedule or sensor as Dagster knows it; `state_id` is what stopping it needs."""

    kind: Kind
    name: str
    state_id: str
    is_on: bool


class DagsterApi:
    """The GraphQL endpoint of a webserver, for one code location."""

    def __init__(self, url: str, location: str) -> None:
        """Talk to the webserver at `url`; nothing is sent yet."""
        self._url = urlsplit(url)
        self._repository = {"repositoryLocationName": location, "repositoryName": "__repository__"}

    def daemon_is_well(self, since: float) -> bool:
        """Whether every daemon that is needed has reported after `since` (epoch seconds) and is healthy."""
        try:
            health = self._ask(_HEALTH, {})["instance"]["daemonHealth"]
        except (OSError, HTTPException):
            return False
        needed = [daemon for daemon in health["allDaemonStatuses"] if daemon["required"]]
        return bool(needed) and all(d["healthy"] and (d["lastHeartbeatTime"] or 0.0) >= since for d in needed)

    def instigators(self) -> tuple[Instigator, ...]:
        """All schedules and sensors of the location, by name.

        Raises:
            CommandError: the location could not be loaded; the text is Dagster's.
        """
        answer = self._ask(_INSTIGATORS, {"selector": self._repository})
        found: list[Instigator] = []
        for kind, part in (("schedule", answer["schedulesOrError"]), ("sensor", answer["sensorsOrError"])):
            if "results" not in part:
                msg = f"Dagster cannot list {kind}s: {part.get('message', part['__typename'])}"
                raise CommandError(msg)
            for row in part["results"]:
                state = row[f"{kind}State"]
                on = state["status"] == "RUNNING"
                found.append(Instigator("schedule" if kind == "schedule" else "sensor", row["name"], state["id"], on))
        return tuple(sorted(found, key=lambda one: (one.kind, one.name)))

    def switch(self, wanted: Iterable[tuple[Instigator, bool]]) -> None:
        """Turn schedules and sensors on or off; those that are as wanted are left alone.

        Raises:
            CommandError: Dagster refuses.
        """
        for one, on in wanted:
            if on == one.is_on:
                continue
            selector = {**self._repository, f"{one.kind}Name": one.name}
            text, variables = (
                (_START[one.kind], {"selector": selector}) if on else (_STOP[one.kind], {"id": one.state_id})
            )
            result = self._ask(text, variables)["result"]
            if result["__typename"] not in _DONE:
                verb = "on" if on else "off"
                msg = f"Dagster does not switch {one.kind} {one.name} {verb}: {result.get('message', result['__typename'])}"
                raise CommandError(msg)

    def _ask(self, text: str, variables: Mapping[str, object]) -> dict[str, Any]:
        # Not urllib: it would ask the proxy of the environment.
        connection = HTTPConnection(self._url.hostname or "", self._url.port, timeout=_TIMEOUT)
        try:
            body = json.dumps({"query": text, "variables": variables})
            connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
            answer: dict[str, Any] = json.loads(connection.getresponse().read())
        finally:
            connection.close()
        if answer.get("errors"):
            msg = f"Dagster's webserver at {self._url.geturl()} answers: {answer['errors'][0]['message']}"
            raise CommandError(msg)
        content: dict[str, Any] = answer["data"]
        return content
