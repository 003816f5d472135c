"""The processes of a running desk: what each is started with, and how one knows that it works. Nothing is started here."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from quant_pipeline.cli.exchange import exchange_config
from quant_pipeline.runtime.ports import LOOPBACK
from quant_pipeline.settings.load import CONFIG_NAME

if TYPE_CHECKING:
    from quant_pipeline.runtime.processes import Ready
    from quant_pipeline.settings import Settings
    from quant_pipeline.storage.dsn import Dsn

LOCATION: Final = "quant_pipeline"
"""The code location's name, as in workspace.yaml: under it Dagster keeps which schedules are switched on."""


@dataclass(frozen=True, slots=True)
class Service:
    """A process to start. `url` is where a person finds it."""

    name: str
    argv: tuple[str, ...]
    env: dict[str, str]
    ready: Ready | None = None
    url: str | None = None

    @property
    def log_name(self) -> str:
        """The name of its log file, without the ending."""
        return (
            "".join(letter if letter.isalnum() else "-" for letter in self.name.lower()).strip("-").replace("--", "-")
        )


def environment(settings: Settings) -> dict[str, str]:
    """What every process of the desk is told: which desk it belongs to. No secrets are added."""
    home = settings.home.resolve()
    named = os.environ.get("QUANT_CONFIG") or str(settings.root / CONFIG_NAME)
    desk = {
        "QUANT__STATE__HOME": str(home),
        "QUANT__STATE__MLRUNS": str(settings.mlruns.resolve()),
        "DAGSTER_HOME": str(dagster_home(settings)),
        "QUANT_DAGSTER_STATE": str(home / "dagster"),
        "PYTHONUNBUFFERED": "1",
    }
    if Path(named).is_file():
        desk["QUANT_CONFIG"] = str(Path(named).resolve())
    return {**os.environ, **desk}


def working_folder(settings: Settings) -> Path:
    """Where the processes run: a folder without `.env`, because Dagster puts that above the environment, blanks too.

    Without a settings file there is nothing else that says where `.env` is; then it is the folder of that.
    """
    if "QUANT_CONFIG" not in environment(settings):
        return settings.root
    folder = settings.home.resolve() / "run"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def dagster_home(settings: Settings) -> Path:
    """A folder in the state folder with a copy of the project's `dagster.yaml`, or with our own where there is none.

    A copy, because Dagster leaves folders of its own beside that file.
    """
    named = settings.root / "dagster.yaml"
    if not named.is_file():
        from quant_pipeline.dagster_instance import write_instance_config

        return write_instance_config(settings, launcher="warm")
    folder = settings.home.resolve() / "dagster" / "project"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / named.name).write_text(named.read_text(encoding="utf-8"), encoding="utf-8")
    return folder


def exchange(settings: Settings) -> Service:
    """The simulated exchange in wall time, with accounts that survive a restart; with a venue's prices if so set."""
    from quant_pipeline.exchange.config import CREDENTIALS, config_to_json

    served = exchange_config(settings)
    config = json.loads(config_to_json(served))
    public = {name: value for name, value in config.items() if name not in CREDENTIALS}
    state = settings.home.resolve() / "exchange.journal"
    told = working_folder(settings) / "exchange.json"
    told.write_text(json.dumps(public | {"state_path": str(state)}) + "\n", encoding="utf-8")
    argv = _python("quant_pipeline.exchange", "--config", f"@{told}")
    ports = settings.ports
    # Keys that stand in .env are not in the environment of this process.
    keys = {"ALPACA_API_KEY": served.live_alpaca_key, "ALPACA_API_SECRET": served.live_alpaca_secret}
    return Service(
        "simulated exchange",
        argv,
        environment(settings) | (keys if served.live_us_equity else {}),
        ready=f"http://{LOOPBACK}:{ports.exchange_alpaca}/admin/clock",
        url=", ".join(
            (
                f"http://{LOOPBACK}:{ports.exchange_alpaca} (Alpaca)",
                f"http://{LOOPBACK}:{ports.exchange_upbit} (Upbit)",
                *(f"{market} at prices of {config[f'live_{market}']}" for market in served.live_markets),
            )
        ),
    )


def mlflow(settings: Settings, database: Dsn) -> Service:
    """MLflow's server and UI. The database's address holds a password, so it is in the environment, not in `ps`."""
    secret = {
        "MLFLOW_BACKEND_STORE_URI": database.sqlalchemy(),
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    port = settings.ports.mlflow
    artifacts = (settings.mlruns.resolve() / "artifacts").as_uri()
    options = ("--host", LOOPBACK, "--port", str(port), "--workers", "1", "--default-artifact-root", artifacts)
    url = f"http://{LOOPBACK}:{port}"
    argv = _python("mlflow", "server", *options, "--no-serve-artifacts")
    return Service("MLflow", argv, environment(settings) | secret, f"{url}/health", url)


def code_server(settings: Settings, port: int) -> Service:
    """The one process that holds the definitions, for webserver and daemon alike; the UI can have it load anew."""
    options = ("-m", "quant_pipeline.definitions", "-h", LOOPBACK, "-p", str(port), "--location-name", LOCATION)
    argv = _python("dagster", "code-server", "start", *options)
    return Service("code server", argv, environment(settings), ready=f"tcp://{LOOPBACK}:{port}")


def webserver(settings: Settings, workspace: Path, *, read_only: bool) -> Service:
    """Dagster's web UI."""
    port = settings.ports.dagster_readonly if read_only else settings.ports.dagster
    options = ("-h", LOOPBACK, "-p", str(port), "-w", str(workspace), *(["--read-only"] if read_only else []))
    url = f"http://{LOOPBACK}:{port}"
    name = "Dagster (read-only)" if read_only else "Dagster"
    argv = _python("dagster_webserver", *options)
    return Service(name, argv, environment(settings), f"{url}/server_info", url)


def daemon(settings: Settings, workspace: Path, ready: Ready) -> Service:
    """Dagster's daemon, which starts scheduled and queued runs, with its run server warm from the beginning."""
    argv = _python("quant_pipeline.runtime.warm_daemon", "-w", str(workspace))
    return Service("Dagster daemon", argv, environment(settings), ready)


def write_workspace(settings: Settings, port: int) -> Path:
    """The workspace file that leads webserver and daemon to the code server."""
    path = working_folder(settings) / "workspace.yaml"
    server = {"host": LOOPBACK, "port": port, "location_name": LOCATION}
    path.write_text(json.dumps({"load_from": [{"grpc_server": server}]}) + "\n", encoding="utf-8")  # JSON is YAML
    return path


def _python(module: str, *arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", module, *arguments)
