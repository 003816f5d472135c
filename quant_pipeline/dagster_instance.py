"""Dagster's instance of this desk: where its storage is, and opening it in a process of our own. No runs, no definitions.

`dagster.yaml` names `DeskStorage` without an address: the settings say where PostgreSQL is, and the embedded server is
started when they name none. `instance_config` is the same configuration for instances that we open ourselves.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from dagster import DagsterInstance, Field, StringSource

from quant_pipeline.cluster import databases
from quant_pipeline.runtime.dagster_storage import PooledPostgresStorage
from quant_pipeline.runtime.errors import RuntimeProblemError
from quant_pipeline.runtime.postgres import login_problem
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.settings.load import CONFIG_NAME
from quant_pipeline.storage.migrate import ensure_databases

if TYPE_CHECKING:
    from dagster._config.config_schema import UserConfigSchema
    from dagster._serdes import ConfigurableClassData

    from quant_pipeline.storage.dsn import Dsn

type Launcher = Literal["default", "warm"]

_MODULE: Final = "quant_pipeline.dagster_instance"
_WARM: Final = "quant_pipeline.runtime.launcher"
_KEPT_TICKS: Final = {"purge_after_days": {"skipped": 3, "failure": 30, "success": 90}}
_LIMITS: Final[list[dict[str, Any]]] = [
    {"key": "quant/desk", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
    {"key": "quant/training", "value": {"applyLimitPerUniqueValue": True}, "limit": 1},
    {"key": "dagster/backfill", "limit": 2},
]
_COMMON: Final[dict[str, Any]] = {
    "run_queue": {"dequeue_interval_seconds": 1},
    "concurrency": {
        "runs": {"max_concurrent_runs": 4, "tag_concurrency_limits": _LIMITS},
        "pools": {"default_limit": 1, "granularity": "op"},
    },
    "run_monitoring": {
        "enabled": True,
        "start_timeout_seconds": 180,
        "max_runtime_seconds": 7200,
        "poll_interval_seconds": 30,
        "free_slots_after_run_end_seconds": 30,
    },
    "run_retries": {"enabled": True, "max_retries": 2, "retry_on_asset_or_op_failure": False},
    "retention": {"schedule": {"purge_after_days": 90}, "sensor": _KEPT_TICKS, "auto_materialize": _KEPT_TICKS},
    "sensors": {"use_threads": True, "num_workers": 4},
    "backfills": {"use_threads": True, "num_workers": 2, "num_submit_workers": 4},
    "telemetry": {"enabled": False},
    "nux": {"enabled": False},
}
"""What is the same for every desk, and in the project's `dagster.yaml`."""

_opened: dict[str, Settings] = {}
"""Settings of the desks that this process opened itself, by their state folder."""

_lock = threading.Lock()


class DeskStorageError(RuntimeProblemError):
    """Dagster's storage cannot be opened; the text says which setting or file to look at."""


class DeskStorage(PooledPostgresStorage):
    """Runs, events and schedules in the desk's own PostgreSQL, found through the settings.

    The optional `home` names the desk by its state folder; settings of another desk are refused then.
    """

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Only `home`, and that is optional."""
        return {"home": Field(StringSource, is_required=False)}

    @classmethod
    def from_config_value(cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]) -> DeskStorage:
        """Find the server, make the database if it is missing, open the storage.

        Raises:
            DeskStorageError: the settings are those of another desk, or the server cannot be reached.
            SettingsError: the settings cannot be used.
        """
        with _lock:  # servers open an instance for each request, in many threads
            dsn = _dagster_dsn(_settings_of(config_value.get("home")))
            return cls(dsn.sqlalchemy(), inst_data=inst_data)


def _settings_of(home: str | None) -> Settings:
    if home is not None and home in _opened:
        return _opened[home]
    settings = _found_settings()
    if home is not None and Path(home) != settings.home.resolve():
        msg = (
            f"this Dagster instance belongs to the desk in {home}, but the settings found here ({settings.root}) are those "
            f"of the desk in {settings.home}; name the right file with QUANT_CONFIG, or the folder with QUANT__STATE__HOME"
        )
        raise DeskStorageError(msg)
    return settings


def _found_settings() -> Settings:
    """The settings found from here; outside of the project, those beside the `dagster.yaml` that is in use."""
    settings = load_settings()
    beside = Path(os.environ.get("DAGSTER_HOME", "")) / CONFIG_NAME
    is_lost = not os.environ.get("QUANT_CONFIG") and not (settings.root / CONFIG_NAME).is_file()
    return load_settings(beside) if is_lost and beside.is_file() else settings


def _dagster_dsn(settings: Settings) -> Dsn:
    found = databases(settings)
    problem = login_problem(found.dagster)
    if problem is not None and login_problem(found.admin) is None:
        ensure_databases(found.admin, [found.dagster.database])
        problem = login_problem(found.dagster)
    if problem is not None:
        given = settings.postgres
        msg = (
            f"Dagster's database {found.dagster.database!r} on {found.dagster.host}:{found.dagster.port} cannot be opened: "
            f"{problem}. Check [postgres] in {CONFIG_NAME} and POSTGRES_* in the environment or .env (host "
            f"{given.host!r}, user {given.user!r}); an empty host means the embedded server"
        )
        raise DeskStorageError(msg)
    return found.dagster


def instance_config(settings: Settings, *, launcher: Launcher, quiet: bool = False) -> dict[str, Any]:
    """The content of `dagster.yaml` with everything of this desk filled in.

    With the default launcher runs belong to the process itself: the output of their steps is not captured, and only
    their errors are printed (with `quiet` not even those).
    """
    home = settings.home.resolve()
    state = {"base_dir": str(home / "dagster")}
    config = {
        **_COMMON,
        "storage": {"custom": {"module": _MODULE, "class": "DeskStorage", "config": {"home": str(home)}}},
        "local_artifact_storage": _class("dagster._core.storage.root", "LocalArtifactStorage", state),
    }
    if launcher == "default":
        none = _class("dagster._core.storage.noop_compute_log_manager", "NoOpComputeLogManager")
        plain = _class("dagster._core.launcher", "DefaultRunLauncher")
        printed = {"python_log_level": "CRITICAL" if quiet else "ERROR"}
        return {**config, "compute_logs": none, "run_launcher": plain, "python_logs": printed}
    logs = _class("dagster._core.storage.local_compute_log_manager", "LocalComputeLogManager", state)
    warm = {"preload_modules": ["quant_pipeline.definitions"]}
    return {**config, "compute_logs": logs, "run_launcher": _class(_WARM, "WarmRunLauncher", warm)}


def _class(module: str, name: str, config: Mapping[str, Any] | None = None) -> dict[str, Any]:
    return {"module": module, "class": name, **({} if config is None else {"config": dict(config)})}


def write_instance_config(settings: Settings, *, launcher: Launcher, quiet: bool = False) -> Path:
    """Write `instance_config` to `<home>/dagster/<launcher>/dagster.yaml`; returns that folder, a DAGSTER_HOME."""
    folder = settings.home.resolve() / "dagster" / (f"{launcher}-quiet" if quiet else launcher)
    folder.mkdir(parents=True, exist_ok=True)
    wanted = json.dumps(instance_config(settings, launcher=launcher, quiet=quiet), indent=2) + "\n"  # JSON is YAML
    path = folder / "dagster.yaml"
    if not path.is_file() or path.read_text(encoding="utf-8") != wanted:
        written = path.with_name(f"dagster.yaml.{os.getpid()}")
        written.write_text(wanted, encoding="utf-8")
        written.replace(path)
    return folder


def open_instance(settings: Settings, *, launcher: Launcher, quiet: bool = False) -> DagsterInstance:
    """This desk's instance in this process; use it in a `with` block, or call `dispose()`.

    Args:
        settings: of the desk. They need not be the ones that the environment names; runs in other processes (`warm`,
            or submitted to a queue) read theirs from the environment and refuse those of another desk.
        launcher: what runs launched through this instance use; runs executed in this process need none.
        quiet: print nothing of runs executed in this process; the caller shows their failures itself.

    Raises:
        DeskStorageError: the database server cannot be reached.
    """
    _opened[str(settings.home.resolve())] = settings
    return DagsterInstance.from_config(str(write_instance_config(settings, launcher=launcher, quiet=quiet)))
