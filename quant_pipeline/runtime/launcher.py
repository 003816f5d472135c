"""Dagster run launcher whose runs are forked from a server that has done the imports. How it forks is elsewhere.

A tick then starts in tens of milliseconds instead of the seconds that its imports take. In `dagster.yaml`:

    run_launcher:
      module: quant_pipeline.runtime.launcher
      class: WarmRunLauncher
      config: {preload_modules: [quant_pipeline.definitions], watch: [quant.toml, .env]}

The sources of the preloaded packages and the watched files are looked at before each launch; after a change a new
server is started, so a run never works with outdated code or settings. On other systems than Linux, and for code
locations of another interpreter or image, runs go through Dagster's default launcher.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Self

import psutil
from dagster import Array, DagsterInstance, DagsterRunStatus, Field, Noneable
from dagster._core.launcher.base import CheckRunHealthResult, LaunchRunContext, RunLauncher, WorkerStatus
from dagster._core.launcher.default_run_launcher import DefaultRunLauncher
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._serdes import ConfigurableClass, ConfigurableClassData, serialize_value

from quant_pipeline.runtime.run_worker import WORKER_TAG, worker_process
from quant_pipeline.runtime.warm_client import WarmServer, WarmSpec, warm_server

if TYPE_CHECKING:
    from dagster import DagsterRun
    from dagster._config.config_schema import UserConfigSchema
    from dagster._core.instance import InstanceRef

_IDENTITY_SECONDS: Final = 5.0
_DEFAULT_PRELOAD: Final = ("quant_pipeline.definitions",)
_DEFAULT_WATCH: Final = ("quant.toml", ".env")
_log = logging.getLogger(__name__)


class WarmRunLauncher(RunLauncher[DagsterInstance], ConfigurableClass):
    """Launches runs from a warm server; supports termination and health checks from any process of this host.

    Args:
        inst_data: Dagster's own.
        preload_modules: Modules that the server imports. They must not train or start threads.
        watch: Files whose change outdates the server; relative ones count from the folder of the settings file that
            QUANT_CONFIG names, else from the working folder.
    """

    def __init__(
        self,
        inst_data: ConfigurableClassData | None = None,
        preload_modules: tuple[str, ...] = _DEFAULT_PRELOAD,
        watch: tuple[str, ...] = _DEFAULT_WATCH,
    ) -> None:
        """Store the parameters; a server starts with `warm_up` or the first launch."""
        self._inst_data = inst_data
        self.spec = WarmSpec(tuple(preload_modules), watched_files(watch))
        self._cold = DefaultRunLauncher()
        super().__init__()  # type: ignore[no-untyped-call]

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        """What Dagster hands on to other processes."""
        return self._inst_data

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Both entries are optional."""
        return {
            "preload_modules": Field(Noneable(Array(str)), is_required=False, default_value=list(_DEFAULT_PRELOAD)),
            "watch": Field(Noneable(Array(str)), is_required=False, default_value=list(_DEFAULT_WATCH)),
        }

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> Self:
        """Build from `dagster.yaml`."""
        preload, watch = config_value.get("preload_modules") or (), config_value.get("watch") or ()
        return cls(inst_data=inst_data, preload_modules=tuple(preload), watch=tuple(watch))

    def register_instance(self, instance: DagsterInstance) -> None:
        """Give the instance to the default launcher as well."""
        super().register_instance(instance)
        self._cold.register_instance(instance)

    def warm_up(self) -> None:
        """Start the server ahead of the first run, without waiting; nothing happens where there can be none."""
        if can_fork():
            self._server()

    def _server(self) -> WarmServer:
        reference = self._instance.get_ref()
        return warm_server(self.spec, serialize_value(reference), ReportExit(reference))

    def launch_run(self, context: LaunchRunContext) -> None:
        """Start a run; raises `RunLaunchError` with the reason (Dagster then marks the run as failed)."""
        run = context.dagster_run
        if not can_fork() or not runs_here(run):
            self._cold.launch_run(context)
            return
        self._server().launch(run.run_id)

    def terminate(self, run_id: str) -> bool:
        """Ask the run's process to end, from whatever process of this host; whether there was one to ask."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        if GRPC_INFO_TAG in run.tags:
            return bool(self._cold.terminate(run_id))  # type: ignore[no-untyped-call]
        process = self._await_process(run_id)
        self._instance.report_run_canceling(run)
        if process is None:
            text = "The process of this run was not found on this host, so it cannot be asked to end."
            self._instance.report_engine_event(text, run, cls=self.__class__)
            return False
        process.send_signal(signal.SIGTERM)
        return True

    def _await_process(self, run_id: str) -> psutil.Process | None:
        """The run's process; one that was forked this moment gets the time to write down who it is."""
        deadline = time.monotonic() + _IDENTITY_SECONDS
        while (run := self._instance.get_run_by_id(run_id)) is not None and not run.is_finished:
            if WORKER_TAG in run.tags or time.monotonic() > deadline:
                return worker_process(run)
            time.sleep(0.05)
        return None

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Run monitoring can tell a run whose process is gone."""
        return True

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Whether the run's process lives on this host."""
        identity = run.tags.get(WORKER_TAG)
        if identity is None:  # our processes write it before anything else, so another launcher or program executes it
            return CheckRunHealthResult(WorkerStatus.RUNNING, "not launched warm, so its health is not known")
        if worker_process(run) is not None:
            return CheckRunHealthResult(WorkerStatus.RUNNING, run_worker_id=identity)
        return CheckRunHealthResult(WorkerStatus.NOT_FOUND, f"process {identity} is gone", run_worker_id=identity)

    def join(self, timeout: int = 30) -> None:
        """Wait until the unfinished runs of this host have ended; raises `TimeoutError` after `timeout` seconds."""
        deadline = time.monotonic() + timeout
        while unfinished := [run.run_id for run in self._instance.get_runs() if worker_process(run) is not None]:
            if time.monotonic() > deadline:
                msg = f"runs still in progress after {timeout} s: {unfinished}"
                raise TimeoutError(msg)
            time.sleep(0.1)


class ReportExit:
    """Told of the end of each run's process; marks a run that its process left unfinished as failed, at once.

    Without it such a run would stay "started" until run monitoring looks, minutes later.
    """

    def __init__(self, reference: InstanceRef) -> None:
        """Remember how to open the instance: this is called later, in another thread."""
        self._reference = reference

    def __call__(self, run_id: str, code: int) -> None:
        """Look at the run, and report."""
        with DagsterInstance.from_ref(self._reference) as instance:
            run = instance.get_run_by_id(run_id)
            if run is None or run.is_finished:
                return
            how = f"was ended by signal {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
            text = f"The process of this run {how} before the run was finished."
            _log.error("run %s: %s", run_id, text)
            if run.status is DagsterRunStatus.CANCELING:
                instance.report_run_canceled(run, text)
            else:
                instance.report_run_failed(run, text)


def watched_files(names: tuple[str, ...]) -> tuple[Path, ...]:
    """Absolute paths of the files to watch, with the settings file that QUANT_CONFIG names, if it does."""
    config = os.environ.get("QUANT_CONFIG")
    if not config:
        return tuple(Path(name).absolute() for name in names)
    settings = Path(config).absolute()
    return tuple(dict.fromkeys([settings, *(settings.parent / name for name in names)]))


def can_fork() -> bool:
    """Whether runs can be forked here: only Linux can be trusted to fork a process full of libraries."""
    return sys.platform == "linux"


def runs_here(run: DagsterRun) -> bool:
    """Whether the run's code is meant for this interpreter on this host."""
    origin = run.job_code_origin
    if origin is None:
        return False
    repository = origin.repository_origin
    return repository.container_image is None and is_same_interpreter(Path(repository.executable_path))


def is_same_interpreter(executable: Path) -> bool:
    """Whether an interpreter is ours: `bin/python` and `bin/python3.12` of one environment are, of two are not."""
    own = Path(sys.executable)
    return executable.parent == own.parent and executable.resolve() == own.resolve()
