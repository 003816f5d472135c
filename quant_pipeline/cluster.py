"""Where the desk's four databases are: in the server that the settings name, or in the embedded one. Nothing is opened.

The embedded server runs as long as some process of this desk uses it; whoever asks here becomes a user of it.
"""

from __future__ import annotations

import threading
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime

from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.settings import Settings
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import ensure_databases, upgrade
from quant_pipeline.storage.partitions import ensure_months_ahead

_EMBEDDED: dict[str, EmbeddedPostgres] = {}
_LOCK = threading.Lock()
"""A code server asks from several threads; a handle on the embedded server serves one at a time."""


@dataclass(frozen=True, slots=True)
class Databases:
    """One database for each component, all in one cluster: their migration tables would collide in one database."""

    admin: Dsn
    quant: Dsn
    dagster: Dsn
    mlflow: Dsn
    optuna: Dsn


def databases(settings: Settings) -> Databases:
    """The DSNs of this desk. With the embedded server: starts it if it does not run, and holds it for this process."""
    given = settings.postgres
    if given.host:
        password = given.password.get_secret_value()
        quant = Dsn(given.host, given.port, given.user, password, given.database)
        return _named(quant.with_database("postgres"), quant)
    with _LOCK:
        admin = embedded(settings).ensure_running()
    return _named(admin, admin.with_database(given.database))


def embedded(settings: Settings, *, fast: bool = False) -> EmbeddedPostgres:
    """This process's handle on the embedded server of the desk's state folder.

    `fast` starts it without fsync, for data that may be lost in a power cut; it counts for the first call only.
    """
    key = str(settings.home)
    if key not in _EMBEDDED:
        port, setting = settings.ports.postgres, "ports.postgres"
        _EMBEDDED[key] = EmbeddedPostgres(settings.home, port, fast=fast, setting=setting)
    return _EMBEDDED[key]


def prepare(settings: Settings, *, at: datetime | None = None) -> Databases:
    """Create the databases that are missing and bring our schema up to date. Safe to run at any time, by several.

    With `at` (aware) the bars of that month and of the next ones get their partitions; ticks go on with it.
    """
    found = databases(settings)
    names = [found.quant.database, found.dagster.database, found.mlflow.database, found.optuna.database]
    ensure_databases(found.admin, names)
    upgrade(found.quant)
    if at is not None:
        with closing(Database(found.quant)) as db:
            ensure_months_ahead(db, at)
    return found


def _named(admin: Dsn, quant: Dsn) -> Databases:
    others = [quant.with_database(f"{quant.database}_{name}") for name in ("dagster", "mlflow", "optuna")]
    return Databases(admin, quant, *others)
