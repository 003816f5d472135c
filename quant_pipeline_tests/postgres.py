"""Fixtures that give tests a real PostgreSQL: one embedded server a session, a fresh migrated database a test.

Set QUANT_TEST_POSTGRES_DSN (postgresql://user:password@host:port/database, a superuser) to use a server of your own.
The tests of storage run a second time against a server of the system's own binaries (see `separate_server.py`).
"""

from __future__ import annotations

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final

import psycopg2
import pytest
from psycopg2 import sql

from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import ensure_databases, upgrade
from quant_pipeline_tests.separate_server import BINARIES, find_binaries, separate_server

_EXTERNAL: Final = "QUANT_TEST_POSTGRES_DSN"
_MEMORY: Final = Path("/dev/shm")
_ROOM: Final = 3 * 2**30
"""Bytes that must be free in memory for databases to be kept there; a container's usual 64 MB are too few."""


@pytest.fixture(scope="session")
def postgres(embedded_postgres: Dsn) -> Dsn:
    """The DSN of the session's server, with a superuser that may create databases."""
    return embedded_postgres


@pytest.fixture(scope="session")
def migrated_template(embedded_template: Dsn) -> Dsn:
    """A database with the current schema and no rows, to be cloned; nobody may stay connected to it."""
    return embedded_template


@pytest.fixture(scope="session")
def embedded_postgres() -> Iterator[Dsn]:
    """The embedded server, or the one of QUANT_TEST_POSTGRES_DSN."""
    external = os.environ.get(_EXTERNAL)
    if external is not None:
        yield Dsn.parse(external)
        return
    with _throw_away_folder() as folder, EmbeddedPostgres(folder, fast=True).session() as dsn:
        yield dsn


@pytest.fixture(scope="session")
def embedded_template(embedded_postgres: Dsn) -> Iterator[Dsn]:
    """A migrated database on the embedded server."""
    with new_database(embedded_postgres) as dsn:
        upgrade(dsn)
        yield dsn


@pytest.fixture(scope="session")
def separate_postgres() -> Iterator[Dsn]:
    """A server of the system's PostgreSQL; skips where none is installed, fails where the one that is named is not."""
    binaries = find_binaries()
    if binaries is None:
        pytest.skip(f"no PostgreSQL of the system: install Debian's postgresql or set {BINARIES}")
    with _throw_away_folder() as folder, separate_server(binaries, folder) as dsn:
        yield dsn


@pytest.fixture(scope="session")
def separate_template(separate_postgres: Dsn) -> Iterator[Dsn]:
    """A migrated database on the system's server."""
    with new_database(separate_postgres) as dsn:
        upgrade(dsn)
        yield dsn


@pytest.fixture
def empty_database(postgres: Dsn) -> Iterator[Dsn]:
    """The DSN of a database without any table."""
    with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture
def database(postgres: Dsn, migrated_template: Dsn) -> Iterator[Database]:
    """An open database with the current schema and no rows; dropped after the test."""
    with new_database(postgres, template=migrated_template.database) as dsn, closing(Database(dsn)) as opened:
        yield opened


@contextmanager
def new_database(admin: Dsn, *, template: str | None = None) -> Iterator[Dsn]:
    """Create a database of a unique name inside a `with` block, and drop it (with whoever is connected) at the end.

    Without a template it is empty, made as the desk makes its own.
    """
    name = f"quant_test_{uuid.uuid4().hex[:16]}"
    if template is None:
        ensure_databases(admin, [name])
    else:
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
        _execute(admin, sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY").format(**names))
    try:
        yield admin.with_database(name)
    finally:
        _execute(admin, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def _throw_away_folder() -> Iterator[Path]:
    """A folder for a server's files, in memory where there is room: cloning a database is copying hundreds of files."""
    in_memory = _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free >= _ROOM
    folder = Path(tempfile.mkdtemp(prefix="quant-postgres-", dir=_MEMORY if in_memory else None))
    # Root's server runs under another account, which has to get through this folder of ours.
    folder.chmod(0o711)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def _execute(admin: Dsn, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(admin.adbc())) as connection:
        connection.autocommit = True  # CREATE and DROP DATABASE refuse to run in a transaction
        with connection.cursor() as cursor:
            cursor.execute(statement)
