"""Runs of Dagster executed in this process, seen by the desk's instance like any other. Which runs is the commands'."""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NoReturn

from quant_pipeline.cli.errors import CommandError
from quant_pipeline.cli.output import progress

if TYPE_CHECKING:
    import dagster as dg

    from quant_pipeline.settings import Settings
    from quant_pipeline.steps.desk import Desk

_LOGGER: Final = "quant_pipeline.cli.runs"
_INTERRUPTED: Final = "DagsterExecutionInterruptedError"

OnStep = Callable[[str, bool], None]
"""Told the name of a step, and whether it has ended (False: it begins)."""


@dataclass(frozen=True, slots=True)
class Finished:
    """A run that succeeded; `materialized` counts partitions by asset."""

    run_id: str
    job: str
    seconds: float
    materialized: Mapping[str, int]

    def as_json(self) -> dict[str, object]:
        """Plain values."""
        counts = dict(self.materialized)
        return {"run_id": self.run_id, "job": self.job, "seconds": round(self.seconds, 2), "materialized": counts}


class Graph:
    """The definitions of the desk and its instance, for runs in this process."""

    def __init__(self, defs: dg.Definitions, instance: dg.DagsterInstance, steps: StepLog) -> None:
        """Use `open_graph` instead."""
        self.defs = defs
        self.instance = instance
        self._steps = steps

    def unfinished(self, job: str) -> str | None:
        """The id of a run of `job` that is queued or in progress, if there is one.

        A run whose process died on this host without a word is marked as failed first, so that it blocks nobody.
        """
        from dagster import RunsFilter

        from quant_pipeline.runs import IN_PROGRESS

        for run in self.instance.get_runs(RunsFilter(job_name=job, statuses=IN_PROGRESS)):
            if not _is_orphan(run):
                return run.run_id
            self.instance.report_run_failed(run, "The process that executed this run is gone.")
            # Without a daemon nobody else gives back the pool slots of the dead run, and the next run waits for ever.
            self.instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        return None

    def execute(
        self,
        job: str,
        *,
        partition_key: str | None = None,
        tags: Mapping[str, str] | None = None,
        run_config: Mapping[str, Any] | None = None,
        assets: Sequence[dg.AssetKey] | None = None,
    ) -> Finished:
        """Execute one run to its end, showing its steps on stderr.

        Raises:
            CommandError: it failed; the text names step and error.
            KeyboardInterrupt: Ctrl-C; the run is marked.
        """
        from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_identity

        began = time.monotonic()
        definition = self.defs.resolve_job_def(job)
        nodes = definition.graph.node_dict
        with self._steps.shown(job, len(nodes) if assets is None else len(assets)):
            done = definition.execute_in_process(
                instance=self.instance,
                partition_key=partition_key,
                tags={**(tags or {}), WORKER_TAG: worker_identity(os.getpid())},
                run_config={**(run_config or {}), "loggers": {"console": {}}},  # only named loggers count
                asset_selection=assets,
                raise_on_error=False,
            )
        if not done.success:
            self.fail(done.run_id)
        counts: dict[str, int] = {}
        for event in done.get_asset_materialization_events():
            name = event.asset_key.to_user_string() if event.asset_key is not None else ""
            counts[name] = counts.get(name, 0) + 1
        return Finished(done.run_id, job, time.monotonic() - began, counts)

    def fail(self, run_id: str) -> NoReturn:
        """Raise what `execute` raises for a run that failed in this process."""
        from dagster import DagsterEventType

        run = self.instance.get_run_by_id(run_id)
        parts = [f"run {run_id} of {run.job_name if run is not None else 'an unknown job'} failed"]
        for record in self.instance.all_logs(run_id, of_type=DagsterEventType.STEP_FAILURE):
            event = record.get_dagster_event()
            error = event.step_failure_data.error
            if error is not None and error.cls_name == _INTERRUPTED:
                raise KeyboardInterrupt  # Dagster has caught it and marked the run
            parts.append(f"step {event.step_key}: {error.to_string() if error is not None else event.message}")
        if len(parts) == 1:
            failures = self.instance.all_logs(run_id, of_type=DagsterEventType.RUN_FAILURE)
            parts += [str(record.message) for record in failures]
        raise CommandError("\n".join(parts))


@contextmanager
def open_graph(settings: Settings) -> Iterator[Graph]:
    """The graph of the desk for runs in this process. The database must have been migrated."""
    import dagster as dg

    from quant_pipeline.build import build_definitions
    from quant_pipeline.dagster_instance import open_instance
    from quant_pipeline.resources import DeskProvider
    from quant_pipeline.steps.connect import open_desk

    steps = StepLog()
    desks: list[Desk] = []

    def open_once(settings: Settings) -> Desk:
        desks.append(open_desk(settings))
        desks[-1].progress = steps.within
        return desks[-1]

    provider = DeskProvider(settings, open_once)
    defs = dg.Definitions.merge(
        build_definitions(settings, resources={"desk": provider}),
        dg.Definitions(loggers={"console": steps.definition()}),
    )
    try:
        with open_instance(settings, launcher="default", quiet=True) as instance:
            yield Graph(defs, instance, steps)
    finally:
        for desk in desks:
            desk.close()


class StepLog(logging.Handler):
    """Dagster's log of a run as one line on stderr, in place of its many."""

    def __init__(self) -> None:
        super().__init__()
        self._on_step: OnStep | None = None
        self._within: Callable[[str, float], None] | None = None

    def within(self, text: str, part: float) -> None:
        """Show what the step in progress is doing, and which part of it is done."""
        if self._within is not None:
            self._within(text, part)

    def definition(self) -> dg.LoggerDefinition:
        """The logger under which runs are executed."""
        import dagster as dg

        @dg.logger
        def steps(_context: dg.InitLoggerContext) -> logging.Logger:
            logger = logging.Logger(_LOGGER, logging.DEBUG)  # noqa: LOG001 - of this run alone
            logger.addHandler(self)
            return logger

        return steps

    def emit(self, record: logging.LogRecord) -> None:
        """Pass on the beginning and the end of steps."""
        event = getattr(record, "dagster_event", None)
        if event is None or self._on_step is None or event.step_key is None:
            return
        if event.is_step_start:
            self._on_step(event.step_key, False)  # noqa: FBT003 - see OnStep
        elif event.is_step_success or event.is_step_failure or event.is_step_skipped:
            self._on_step(event.step_key, True)  # noqa: FBT003 - see OnStep

    @contextmanager
    def shown(self, job: str, steps: int) -> Iterator[None]:
        """Show a bar of `steps` for the length of a block."""
        done, current = 0, ""
        with progress(job, total=steps) as bar:

            def on_step(name: str, ended: bool) -> None:  # noqa: FBT001 - see OnStep
                nonlocal done, current
                done, current = done + ended, name
                bar(name, done)

            self._on_step = on_step
            self._within = lambda text, part: bar(f"{current}: {text}", done + min(part, 0.99))
            try:
                yield
            finally:
                self._on_step = self._within = None


def _is_orphan(run: dg.DagsterRun) -> bool:
    """Whether the run says that a process of this host executes it, and there is no such process."""
    from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_process

    identity = run.tags.get(WORKER_TAG, "")
    return identity.startswith(f"{socket.gethostname()}:") and worker_process(run) is None
