"""Bringing a desk up, stage by stage: what must be ready before what. Which processes those are is said in `services`."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from quant_pipeline.cli import services
from quant_pipeline.cli.catch_up import lacks_history
from quant_pipeline.cli.dagster_api import DagsterApi
from quant_pipeline.cli.errors import CommandError
from quant_pipeline.cli.output import notes
from quant_pipeline.cli.switches import Switch, set_switches
from quant_pipeline.cli.tick import clock_of
from quant_pipeline.cluster import prepare
from quant_pipeline.core.values import Mode
from quant_pipeline.runtime.keeper import keeper_command
from quant_pipeline.runtime.ports import choose_free_port, require_free_port
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.migrate import current_revision

if TYPE_CHECKING:
    from quant_pipeline.cluster import Databases
    from quant_pipeline.runtime.processes import ProcessGroup
    from quant_pipeline.settings import Settings

_READY_SECONDS: Final = 300.0
_CHILD_SECONDS: Final = 40.0


class Startup:
    """One start of the desk: its processes join `group`, which ends them."""

    def __init__(self, settings: Settings, found: Databases, group: ProcessGroup) -> None:
        """Remember what to start; nothing is started."""
        self._settings = settings
        self._found = found
        self._group = group
        self._addresses: list[dict[str, str]] = []
        self._began = time.monotonic()

    def run(self, *, trade: bool | None, history: bool, read_only_ui: bool) -> dict[str, Any]:
        """Start everything; returns what a person wants to know, as plain values.

        Raises:
            PortBusyError: a port is taken; the text names its setting.
            ChildFailedError: a process ended or was not ready in time; the text holds the end of its log.
            CommandError: migrating or making the history failed.
        """
        require_ports(self._settings, read_only_ui=read_only_ui)
        self._migrate()
        if _has_simulated(self._settings):
            self._start("the simulated exchange", services.exchange(self._settings))
        if history:
            self._make_history()
        workspace = self._start_servers()
        uis = [services.webserver(self._settings, workspace, read_only=False)]
        if read_only_ui:
            uis.append(services.webserver(self._settings, workspace, read_only=True))
        self._start("Dagster's web UI", *uis)
        switches = set_switches(self._settings, uis[0].url or "", trade=trade)
        # After the switches: a schedule that shall be off must not even be looked at.
        self._start_daemon(workspace, uis[0].url or "")
        return self._summary(switches)

    def _migrate(self) -> None:
        """Bring the schemas up to date; the first time in a process of its own, which imports MLflow."""
        with notes().status("preparing the databases"):
            prepare(self._settings, at=datetime.now(UTC))
            if current_revision(self._found.mlflow) is None:
                run_child(self._settings, "migrate", "--json", quiet=True)

    def _make_history(self) -> None:
        with closing(Database(self._found.quant)) as db:
            markets = self._settings.markets
            late = [m.name for m in markets if lacks_history(db, m, clock_of(self._settings, m))]
        if late:
            notes().print(f"making the history of {' and '.join(late)} (the first time this takes some minutes)")
            run_child(self._settings, "catch-up", *late, "--json", quiet=True)

    def _start_servers(self) -> Path:
        """The code server, on any free port, and MLflow; returns the workspace file that names the first."""
        port = choose_free_port(frozenset(self._settings.ports.model_dump().values()))
        code = services.code_server(self._settings, port)
        self._start("the code server and MLflow", code, services.mlflow(self._settings, self._found.mlflow))
        return services.write_workspace(self._settings, port)

    def _start_daemon(self, workspace: Path, url: str) -> None:
        api, since = DagsterApi(url, services.LOCATION), time.time()
        ready = services.daemon(self._settings, workspace, lambda: api.daemon_is_well(since))
        self._start("Dagster's daemon", ready)

    def _start(self, what: str, *started: services.Service) -> None:
        folder = services.working_folder(self._settings)
        for one in started:
            log = self._settings.home / "logs" / f"{one.log_name}.log"
            self._group.start(one.name, one.argv, log_path=log, env=one.env, cwd=folder, ready=one.ready, restart=True)
            if one.url is not None:
                self._addresses.append({"service": one.name, "url": one.url, "log": str(log)})
        with notes().status(f"starting {what}"):
            self._group.wait_ready(_READY_SECONDS)

    def _summary(self, switches: list[Switch]) -> dict[str, Any]:
        return {
            "seconds": round(time.monotonic() - self._began, 1),
            "addresses": self._addresses,
            "logs": str(self._settings.home / "logs"),
            "markets": [asdict(switch) for switch in switches],
        }


def require_ports(settings: Settings, *, read_only_ui: bool) -> None:
    """Refuse a busy port before anything is started.

    Raises:
        PortBusyError: the text names port, setting and, if known, the owner.
    """
    wanted = ["dagster", "mlflow", *(["dagster_readonly"] if read_only_ui else [])]
    if _has_simulated(settings):
        wanted += ["exchange_alpaca", "exchange_upbit"]
    for name in wanted:
        require_free_port(getattr(settings.ports, name), f"ports.{name}")


def run_child(settings: Settings, *arguments: str, quiet: bool = False) -> None:
    """Run a command of `quant` in a process of its own, so that this one stays small; it ends with this one.

    Its stderr is ours; `quiet` drops its stdout.

    Raises:
        CommandError: it failed; it has said why on stderr.
    """
    argv = keeper_command([sys.executable, "-m", "quant_pipeline.cli", *arguments], grace=15.0)
    child = subprocess.Popen(  # noqa: S603 - our own command
        argv,
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if quiet else sys.stderr,
        env=services.environment(settings),
        start_new_session=True,
    )
    try:
        code = child.wait()
    finally:
        if child.stdin is not None:
            child.stdin.close()  # asks for its end, as the end of this process would
        child.wait(_CHILD_SECONDS)
    if code != 0:
        msg = f"`quant {' '.join(arguments)}` failed with exit code {code}; see above"
        raise CommandError(msg)


def _has_simulated(settings: Settings) -> bool:
    return any(market.mode is Mode.SIMULATED for market in settings.markets)
