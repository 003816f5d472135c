"""Creating databases and bringing their schema up to date; knows revisions, not tables."""

from __future__ import annotations

import threading
from importlib import resources
from typing import TYPE_CHECKING

from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from quant_pipeline.storage.database import lock_key
from quant_pipeline.storage.errors import DatabaseOrderError, SchemaVersionError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from alembic.config import Config
    from sqlalchemy import Connection, Engine

    from quant_pipeline.storage.dsn import Dsn

_LOCK = "quant_pipeline.migrations"
# Alembic keeps the running migration in module globals, so that two threads would use each other's connection.
_ONE_IN_THIS_PROCESS = threading.Lock()
# A server's own default sorts by the rules of a language ("BRK.B" after "BRKA"), and which rules depends on the machine
# and its libraries. Rows of symbols come back in byte order everywhere, as Python sorts them.
_BYTE_ORDER_17 = "LOCALE_PROVIDER builtin BUILTIN_LOCALE 'C.UTF-8'"
_BYTE_ORDER_15 = "LOCALE_PROVIDER libc LC_COLLATE 'C'"
_SORTS_BY_BYTES = "SELECT 'B' < 'a' AND 'A.B' < 'AA'"


def ensure_databases(admin_dsn: Dsn, names: Sequence[str]) -> tuple[str, ...]:
    """Create the databases that do not exist yet, connecting through `admin_dsn`; returns the names created.

    They hold UTF-8 and sort text by its bytes, whatever the server's default. Safe to run from several processes at
    once.
    """
    created = []
    with _engine(admin_dsn, autocommit=True).connect() as connection:
        _lock(connection)
        version = connection.execute(text("SELECT current_setting('server_version_num')::int")).scalar_one()
        order = _BYTE_ORDER_17 if version >= 170_000 else _BYTE_ORDER_15
        for name in names:
            found = connection.execute(text("SELECT 1 FROM pg_database WHERE datname = :name"), {"name": name})
            if found.first() is None:
                quoted = connection.dialect.identifier_preparer.quote_identifier(name)
                connection.exec_driver_sql(f"CREATE DATABASE {quoted} ENCODING 'UTF8' {order} TEMPLATE template0")
                created.append(name)
    return tuple(created)


def upgrade(dsn: Dsn) -> None:
    """Bring the database to the newest revision; nothing happens if it is there already. One upgrade runs at a time.

    Raises:
        SchemaVersionError: the database is at a revision that this version of the code does not know.
        DatabaseOrderError: the database, which somebody else made, sorts text by the rules of a language.
    """
    from alembic import command

    with _ONE_IN_THIS_PROCESS, _engine(dsn, autocommit=False).connect() as connection:
        _lock(connection)
        connection.commit()  # The lock belongs to the session, and the revisions begin their own transaction.
        _refuse_newer(connection, dsn)
        _refuse_other_order(connection, dsn)
        command.upgrade(_config(connection), "head")
        connection.commit()


def current_revision(dsn: Dsn) -> str | None:
    """The revision the database is at, or None if it was never migrated."""
    with _engine(dsn, autocommit=False).connect() as connection:
        return _revision(connection)


def newest_revision() -> str:
    """The revision that this version of the code needs."""
    from alembic.script import ScriptDirectory

    head = ScriptDirectory(_folder()).get_current_head()
    if head is None:
        msg = f"no revisions found in {_folder()}; the package is incomplete, install it again"
        raise SchemaVersionError(msg)
    return head


def check_revision(dsn: Dsn) -> None:
    """Refuse a database whose schema is older or newer than this version of the code.

    Raises:
        SchemaVersionError: with the command that mends it.
    """
    current = current_revision(dsn)
    newest = newest_revision()
    if current != newest:
        msg = f"{dsn!r} is at schema revision {current}, this version needs {newest}; run `quant migrate`"
        raise SchemaVersionError(msg)


def _refuse_newer(connection: Connection, dsn: Dsn) -> None:
    from alembic.script import ScriptDirectory

    current = _revision(connection)
    known = {script.revision for script in ScriptDirectory(_folder()).walk_revisions()}
    if current is not None and current not in known:
        msg = (
            f"{dsn!r} is at schema revision {current}, which this version does not know (it knows up to "
            f"{newest_revision()}); install the newer version that made it"
        )
        raise SchemaVersionError(msg)


def _refuse_other_order(connection: Connection, dsn: Dsn) -> None:
    if not connection.execute(text(_SORTS_BY_BYTES)).scalar_one():
        msg = (
            f"{dsn!r} sorts text by the rules of a language, so that rows would come back in an order that depends on "
            f"the server; make it with CREATE DATABASE {dsn.database} TEMPLATE template0 {_BYTE_ORDER_15}, or drop it "
            "while it is empty and `quant migrate` makes it"
        )
        raise DatabaseOrderError(msg)


def _revision(connection: Connection) -> str | None:
    exists = connection.execute(text("SELECT to_regclass('alembic_version')")).scalar_one()
    if exists is None:
        return None
    revision: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return revision


def _lock(connection: Connection) -> None:
    connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key(_LOCK)})


def _engine(dsn: Dsn, *, autocommit: bool) -> Engine:
    engine = create_engine(dsn.sqlalchemy(), poolclass=NullPool)
    return engine.execution_options(isolation_level="AUTOCOMMIT") if autocommit else engine


def _folder() -> str:
    return str(resources.files("quant_pipeline.storage") / "migrations")


def _config(connection: Connection) -> Config:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", _folder().replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["connection"] = connection
    return config
