"""Fixtures that give tests a real PostgreSQL: one embedded server a session, a fresh migrated database a test.

Set QUANT_TEST_POSTGRES_DSN (postgresql://user:password@host:port/database, a superuser) to use a server of your own.
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
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest
from psycopg2 import sql

from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import upgrade

_EXTERNAL: Final = "QUANT_TEST_POSTGRES_DSN"


@pytest.fixture(scope="session")
def postgres() -> Iterator[Dsn]:
    """The DSN of the session's server, with a superuser that may create databases."""
    external = os.environ.get(_EXTERNAL)
    if external is not None:
        yield parse_dsn(external)
        return
    state_dir = Path(tempfile.mkdtemp(prefix="quant-postgres-"))
    # Root's server runs under another account, which has to get through this folder of ours.
    state_dir.chmod(0o711)
    try:
        with EmbeddedPostgres(state_dir, fast=True).session() as dsn:
            yield dsn
    finally:
        shutil.rmtree(state_dir)


@pytest.fixture(scope="session")
def migrated_template(postgres: Dsn) -> Iterator[Dsn]:
    """A database with the current schema and no rows, to be cloned; nobody may stay connected to it."""
    with new_database(postgres) as dsn:
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


def parse_dsn(url: str) -> Dsn:
    """Read a PostgreSQL URL, whatever driver it names; raises `ValueError` if a part is missing."""
    parts = urlsplit(url)
    if parts.hostname is None or parts.username is None or not parts.path.strip("/"):
        msg = f"{_EXTERNAL} must be postgresql://user:password@host:port/database"
        raise ValueError(msg)
    password = unquote(parts.password or "")
    return Dsn(parts.hostname, parts.port or 5432, unquote(parts.username), password, parts.path.strip("/"))


@contextmanager
def new_database(admin: Dsn, *, template: str = "template0") -> Iterator[Dsn]:
    """Create a database of a unique name inside a `with` block, and drop it (with whoever is connected) at the end."""
    name = f"quant_test_{uuid.uuid4().hex[:16]}"
    names = {"name": sql.Identifier(name), "template": sql.Identifier(template)}
    _execute(admin, sql.SQL("CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY").format(**names))
    try:
        yield admin.with_database(name)
    finally:
        _execute(admin, sql.SQL("DROP DATABASE {name} WITH (FORCE)").format(**names))


def _execute(admin: Dsn, statement: sql.Composed) -> None:
    with closing(psycopg2.connect(admin.adbc())) as connection:
        connection.autocommit = True  # CREATE and DROP DATABASE refuse to run in a transaction
        with connection.cursor() as cursor:
            cursor.execute(statement)
