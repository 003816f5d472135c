"""One small pool of PostgreSQL connections per process and database, safe across `fork`. No queries here.

Dagster makes a new instance for every sensor tick, run and evaluation, each with three storages. A pool of their own
would grow without bound, none at all costs a connection per event; so they share the pool that their process has.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dagster_postgres.utils import create_pg_engine, set_pg_statement_timeout
from sqlalchemy import event
from sqlalchemy.engine import Engine, make_url

from quant_pipeline.storage.pool_check import check_when_taken

if TYPE_CHECKING:
    from dagster_postgres.auth import PgTokenProvider


@dataclass(frozen=True, slots=True)
class PoolSpec:
    """What connections are for and how many there may be; processes share a pool between equal ones.

    `url` holds the password: never log it. `size` connections are kept, `overflow` more are opened at peaks and closed
    again. `recycle` is the age in seconds after which one is replaced; `statement_timeout` is in ms.
    """

    url: str
    size: int
    overflow: int
    recycle: int = 300
    statement_timeout: int | None = None
    auth: str = ""


_engines: dict[PoolSpec, Engine] = {}
_lock = threading.Lock()


def shared_engine(spec: PoolSpec, token_provider: PgTokenProvider | None = None) -> Engine:
    """The engine of this process for `spec`; connections open when they are first needed and stay for the next user."""
    with _lock:
        engine = _engines.get(spec)
        if engine is None:
            engine = _engines[spec] = _create(spec, token_provider)
        return engine


def dispose_all() -> None:
    """Close the idle connections of all pools of this process; they open again when needed."""
    with _lock:
        for engine in _engines.values():
            engine.dispose()


def with_driver(url: str) -> str:
    """The URL with its driver: SQLAlchemy 2.1 takes psycopg 3 for a bare `postgresql://`, and that breaks Dagster."""
    parsed = make_url(url)
    if parsed.drivername in ("postgresql", "postgres"):
        parsed = parsed.set(drivername="postgresql+psycopg2")
    return parsed.render_as_string(hide_password=False)


def _create(spec: PoolSpec, token_provider: PgTokenProvider | None) -> Engine:
    engine: Engine = create_pg_engine(
        spec.url,
        token_provider,
        isolation_level="AUTOCOMMIT",
        pool_size=spec.size,
        max_overflow=spec.overflow,
        pool_recycle=spec.recycle,
        hide_parameters=True,
    )
    # The server may have been restarted since a connection was last used.
    check_when_taken(engine)
    timeout = spec.statement_timeout
    if timeout is not None:

        def limit(connection: Any, _record: object) -> None:  # noqa: ANN401 - a DBAPI connection
            set_pg_statement_timeout(connection, timeout)

        event.listen(engine, "connect", limit)
    return engine


def _forget_in_child() -> None:
    """A forked child must not use, and must not close, the connections of its parent."""
    global _lock  # noqa: PLW0603 - the parent's lock may be held for ever in the child
    _lock = threading.Lock()
    for engine in _engines.values():
        engine.dispose(close=False)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_in_child)
