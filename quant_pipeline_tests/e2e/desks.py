"""Small desks for tests of the whole chain: databases of their own, a folder with settings. No assertions here.

A desk's settings are a real `quant.toml` beside a copy of the project's `dagster.yaml`, so that processes started for
it (webserver, daemon, runs) find everything the way they do in production.
"""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, Final

import dagster as dg
import psycopg2
from psycopg2 import sql

from quant_pipeline.build import build_definitions
from quant_pipeline.cluster import Databases, databases, prepare
from quant_pipeline.dagster_instance import open_instance
from quant_pipeline.resources import DeskProvider
from quant_pipeline.runtime.engine_pool import dispose_all
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.steps.connect import open_desk
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.assets.snapshot import REPOSITORY

EVENT_BATCH: Final = {"DAGSTER_EVENT_BATCH_SIZE": "1000"}
"""As the command line and the demo set it: events of many partitions are written together."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a desk is: its folder, its database on the server of the tests, and what its settings say."""

    folder: Path
    dsn: Dsn
    content: Mapping[str, Any]

    def settings(self) -> Settings:
        """The settings as any process of this desk reads them."""
        return load_settings(self.folder / "quant.toml", environ=self._postgres())

    def environment(self) -> dict[str, str]:
        """The environment of a process of this desk."""
        return {
            **os.environ,
            **EVENT_BATCH,
            **self._postgres(),
            "QUANT_CONFIG": str(self.folder / "quant.toml"),
            "QUANT_DAGSTER_STATE": str(self.folder / "state" / "dagster"),
            "DAGSTER_HOME": str(self.folder),
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "PYTHONWARNINGS": "ignore",
        }

    def _postgres(self) -> dict[str, str]:
        return {
            "POSTGRES_HOST": self.dsn.host,
            "POSTGRES_PORT": str(self.dsn.port),
            "POSTGRES_USER": self.dsn.user,
            "POSTGRES_PASSWORD": self.dsn.password,
            "POSTGRES_DB": self.dsn.database,
        }


@dataclass(frozen=True, slots=True)
class OpenDesk:
    """A desk in this process: definitions with their one provider, and the Dagster instance that records runs."""

    settings: Settings
    defs: dg.Definitions
    instance: dg.DagsterInstance
    provider: DeskProvider

    @property
    def desk(self) -> Desk:
        """The open desk."""
        return self.provider.get()


@contextmanager
def new_place(folder: Path, admin: Dsn, content: Mapping[str, Any]) -> Iterator[Place]:
    """A desk with empty databases inside a `with` block; they are dropped at the end, whoever is connected."""
    place = _write(folder, admin, content)
    try:
        prepare(place.settings())
        yield place
    finally:
        _drop(admin, place)


@contextmanager
def cloned_place(folder: Path, admin: Dsn, source: Place, content: Mapping[str, Any] | None = None) -> Iterator[Place]:
    """A copy of a desk, with other settings if given: bars, results, decisions, ledger, Dagster's events, the lake.

    Nobody may have the source open. MLflow's registry and Optuna's studies begin empty.
    """
    place = _write(folder, admin, source.content if content is None else content)
    try:
        theirs, ours = databases(source.settings()), databases(place.settings())
        dispose_all()
        for name in ("quant", "dagster"):
            _create(admin, getattr(ours, name).database, template=getattr(theirs, name).database)
        shutil.copytree(source.settings().lake_root, place.settings().lake_root, dirs_exist_ok=True)
        prepare(place.settings())
        yield place
    finally:
        _drop(admin, place)


@contextmanager
def opened(place: Place) -> Iterator[OpenDesk]:
    """Open a desk in this process; all its connections but MLflow's are given back at the end."""
    settings = place.settings()
    provider = DeskProvider(settings, open_desk)
    defs = build_definitions(settings, resources={"desk": provider})
    with batched_events(), open_instance(settings, launcher="default", quiet=True) as instance:
        try:
            yield OpenDesk(settings, defs, instance, provider)
        finally:
            provider.get().close()
    dispose_all()


@contextmanager
def batched_events() -> Iterator[None]:
    """Event batching for runs in this process."""
    before = {name: os.environ.get(name) for name in EVENT_BATCH}
    os.environ.update(EVENT_BATCH)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def ephemeral(opened_desk: OpenDesk) -> OpenDesk:
    """The same desk with a Dagster instance in memory, for runs whose events nobody looks at later."""
    return dataclasses.replace(opened_desk, instance=dg.DagsterInstance.ephemeral())


def _write(folder: Path, admin: Dsn, content: Mapping[str, Any]) -> Place:
    place = Place(folder, admin.with_database(f"quant_e2e_{uuid.uuid4().hex[:12]}"), content)
    whole = {"state": {"home": "state", "mlruns": "mlruns"}, **content}
    (folder / "quant.toml").write_text("\n".join(_toml(whole, ())) + "\n", encoding="utf-8")
    shutil.copyfile(REPOSITORY / "dagster.yaml", folder / "dagster.yaml")
    state = folder / "state"
    state.mkdir()
    # Processes of this desk keep compiled kernels in its state folder; the tests' own are there already.
    compiled = Path(os.environ["NUMBA_CACHE_DIR"]).parent
    (state / "numba").symlink_to(compiled, target_is_directory=True)
    return place


def _toml(values: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    """A mapping of plain values, lists of texts and mappings as lines of TOML."""
    plain = {name: value for name, value in values.items() if not isinstance(value, Mapping)}
    if plain:
        yield f"[{'.'.join(path)}]"
    for name, value in plain.items():
        yield f"{name} = {value.isoformat() if isinstance(value, date) else json.dumps(value)}"
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from _toml(value, (*path, name))


def _create(admin: Dsn, name: str, *, template: str) -> None:
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    _execute(admin, sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY").format(**names))


def _drop(admin: Dsn, place: Place) -> None:
    dispose_all()
    found: Databases = databases(place.settings())
    for dsn in (found.quant, found.dagster, found.mlflow, found.optuna):
        _execute(admin, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(dsn.database)))


def _execute(admin: Dsn, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(admin.adbc())) as connection:
        connection.autocommit = True  # CREATE and DROP DATABASE refuse to run in a transaction
        with connection.cursor() as cursor:
            cursor.execute(statement)
