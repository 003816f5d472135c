"""Connections: a pooled SQLAlchemy engine, pooled ADBC connections for Arrow, named locks; no queries of the domain."""

from __future__ import annotations

import hashlib
import threading
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import psycopg2
from sqlalchemy import create_engine, exc
from sqlalchemy.pool import QueuePool

from quant_pipeline.storage.dsn import Dsn, with_utc
from quant_pipeline.storage.pool_check import check_when_taken

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine
    from sqlalchemy.pool import Pool

type ArrowConnection = Any
"""A DBAPI connection of ADBC; the driver has no types."""

_ARROW_WAIT_SECONDS = 30.0


class Database:
    """One PostgreSQL database. Cheap to create: nothing connects before first use.

    Every session runs in UTC. Not to be shared across a fork; create one per process and `close()` it.
    """

    def __init__(self, dsn: Dsn, *, pool_size: int = 4) -> None:
        """Store where to connect; `pool_size` bounds the idle connections of each of the two pools."""
        self.dsn = dsn
        self.pool_size = pool_size
        self.engine: Engine = _engine(dsn, pool_size)
        self._arrow_pool: Pool | None = None
        self._arrow_source: Any = None
        self._arrow_lock = threading.Lock()

    def __repr__(self) -> str:
        """Name the database, never the password."""
        return f"Database({self.dsn!r})"

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Yield a connection in a transaction: committed at the end of the block, rolled back by an error."""
        with self.engine.begin() as connection:
            yield connection

    @contextmanager
    def snapshot(self) -> Iterator[Connection]:
        """Yield a read-only connection that sees one moment: all its queries agree with one another."""
        options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with self.engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def arrow(self) -> Iterator[ArrowConnection]:
        """Yield a pooled ADBC connection in a transaction: committed at the block's end, rolled back by an error."""
        pooled = self._arrow_connections().connect()
        connection: ArrowConnection = pooled.dbapi_connection
        try:
            yield connection
        except BaseException:
            connection.rollback()
            raise
        else:
            connection.commit()
        finally:
            pooled.close()

    @contextmanager
    def advisory_lock(self, name: str, *, wait: bool) -> Iterator[bool]:
        """Hold the database-wide lock `name` for the block; yields whether it was obtained (always True with `wait`).

        The lock lives on its own connection and ends with it: a killed holder blocks nobody.
        """
        function = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        # The bare driver: an engine of its own would ask the server about itself first, at each lock.
        with closing(psycopg2.connect(self.dsn.adbc())) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute(f"SELECT {function}(%s)", (lock_key(name),))
            result = cursor.fetchone()
            # The waiting form returns void; reaching this line means that it was granted.
            yield wait or result == (True,)

    def close(self) -> None:
        """Close all pooled connections. The object may be used again afterwards and then connects anew."""
        self.engine.dispose()
        with self._arrow_lock:
            if self._arrow_pool is not None:
                self._arrow_pool.dispose()
                self._arrow_source.close()
                self._arrow_pool = self._arrow_source = None

    def _arrow_connections(self) -> Pool:
        with self._arrow_lock:
            if self._arrow_pool is None:
                # Imported here because it brings pandas and pyarrow.dataset (a third of a second).
                from adbc_driver_postgresql import dbapi

                self._arrow_source = dbapi.connect(self.dsn.adbc())
                pool = QueuePool(
                    self._arrow_source.adbc_clone, pool_size=self.pool_size, max_overflow=8, timeout=_ARROW_WAIT_SECONDS
                )
                _check_when_taken(pool)
                self._arrow_pool = pool
            return self._arrow_pool


def lock_key(name: str) -> int:
    """The signed 64-bit number under which PostgreSQL knows the lock `name`."""
    return int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "big", signed=True)


def _engine(dsn: Dsn, pool_size: int) -> Engine:
    options = dict(with_utc(dsn.options))
    engine = create_engine(dsn.sqlalchemy(), pool_size=pool_size, max_overflow=8, connect_args=options)
    check_when_taken(engine)
    return engine


def _check_when_taken(pool: Pool) -> None:
    """Replace pooled ADBC connections that died (the server was restarted) when they are taken out."""
    from adbc_driver_manager import Error
    from sqlalchemy import event

    def ping(connection: ArrowConnection, _record: object, _proxy: object) -> None:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
                cursor.fetchone()
            connection.rollback()
        except Error as error:
            raise exc.DisconnectionError from error

    event.listen(pool, "checkout", ping)
