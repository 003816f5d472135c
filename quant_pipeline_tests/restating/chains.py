"""Looking for changed bars as the daemon does, phase after phase, with every run executed by Dagster. No assertions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import dagster as dg

from quant_pipeline.assets.reporting import PHASE_TAG
from quant_pipeline_tests.e2e.desks import OpenDesk

_MOST: Final = 12
"""Looks after which a chain that goes on is taken for one that never ends."""


class UnsoundChainError(AssertionError):
    """The daemon would not get through this chain: a run failed, a key came twice, or there is no end."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run: its job, and the keys of the partitions that it materialized by asset."""

    run_id: str
    job: str
    made: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True, slots=True)
class Phase:
    """What one look asked for, as it was run."""

    name: str
    runs: tuple[Ran, ...]

    @property
    def made(self) -> dict[str, tuple[str, ...]]:
        """The partitions by step, of all runs."""
        found: dict[str, list[str]] = {}
        for run in self.runs:
            for step, keys in run.made.items():
                found.setdefault(step, []).extend(keys)
        return {step: tuple(sorted(keys)) for step, keys in found.items()}


@dataclass(frozen=True, slots=True)
class Chain:
    """All phases until nothing was stale, and what the sensor said then."""

    phases: tuple[Phase, ...]
    said: str


def follow(desk: OpenDesk, name: str) -> Chain:
    """Evaluate the sensor and execute what it asks for, until it skips.

    Raises:
        UnsoundChainError: see there.
    """
    phases: list[Phase] = []
    seen: set[str | None] = set()
    for _ in range(_MOST):
        found = look(desk, name)
        if isinstance(found, dg.SkipReason):
            return Chain(tuple(phases), found.skip_message or "")
        keys = {request.run_key for request in found}
        if len(keys) < len(found) or keys & seen:
            # The daemon launches a key once, whatever became of the run.
            msg = f"run keys came twice: {sorted(str(key) for key in keys)}"
            raise UnsoundChainError(msg)
        seen |= keys
        (phase,) = {request.tags[PHASE_TAG] for request in found}
        phases.append(Phase(phase, tuple(execute(desk, request) for request in found)))
    msg = f"after {_MOST} looks there is still something to do: {[phase.name for phase in phases]}"
    raise UnsoundChainError(msg)


def look(desk: OpenDesk, name: str) -> list[dg.RunRequest] | dg.SkipReason:
    """One evaluation of the sensor of changed bars, against the desk's own instance."""
    sensor = desk.defs.get_repository_def().get_sensor_def(f"changed_bars_{name}")
    found: Any = sensor(dg.build_sensor_context(desk.instance, resources={"desk": desk.provider}))
    return found


def execute(desk: OpenDesk, request: dg.RunRequest) -> Ran:
    """The run that the daemon launches for a request, with its own tags, selection and run config."""
    job = desk.defs.resolve_job_def(str(request.job_name))
    done = job.execute_in_process(
        instance=desk.instance,
        run_config=request.run_config,
        tags=request.tags,
        asset_selection=request.asset_selection,
        raise_on_error=False,
    )
    if not done.success:
        msg = f"{request.job_name} failed: {[e.message for e in done.all_events if e.is_step_failure or e.is_failure]}"
        raise UnsoundChainError(msg)
    return ran(desk, done.run_id)


def ran(desk: OpenDesk, run_id: str) -> Ran:
    """What the instance knows about a run."""
    run = desk.instance.get_run_by_id(run_id)
    made: dict[str, list[str]] = {}
    for record in desk.instance.all_logs(run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION):
        event = record.get_dagster_event()
        if event.asset_key is not None:
            made.setdefault(event.asset_key.path[-1], []).append(str(event.partition))
    job = "" if run is None else run.job_name
    return Ran(run_id, job, {step: tuple(sorted(keys)) for step, keys in made.items()})
