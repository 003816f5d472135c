"""Pooled connections and named locks against a real server."""

from __future__ import annotations

import threading
from contextlib import closing, suppress
from typing import Any

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.dialects import registry
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2
from sqlalchemy.pool import QueuePool

from quant_pipeline.storage.database import Database, lock_key
from quant_pipeline.storage.pool_check import check_when_taken
from quant_pipeline.storage.staging import query, run


def test_every_session_runs_in_utc(database: Database) -> None:
    with database.begin() as connection:
        assert connection.execute(text("SHOW TimeZone")).scalar_one() == "UTC"
    with database.arrow() as connection, connection.cursor() as cursor:
        assert query(cursor, "SELECT current_setting('TimeZone') AS zone")["zone"][0].as_py() == "UTC"


def test_begin_commits_at_the_end_and_rolls_back_on_an_error(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
    with suppress(ZeroDivisionError), database.begin() as connection:
        connection.execute(text("INSERT INTO kept VALUES (1)"))
        _ = 1 / 0
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


def test_arrow_commits_at_the_end_and_rolls_back_on_an_error(database: Database) -> None:
    with database.arrow() as connection, connection.cursor() as cursor:
        run(cursor, "CREATE TABLE kept (n int)")
    with suppress(ZeroDivisionError), database.arrow() as connection, connection.cursor() as cursor:
        run(cursor, "INSERT INTO kept VALUES (1)")
        _ = 1 / 0
    with database.begin() as connection:
        assert connection.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0


def test_snapshot_sees_one_moment_and_refuses_writes(database: Database) -> None:
    with database.begin() as connection:
        connection.execute(text("CREATE TABLE kept (n int)"))
    with database.snapshot() as seen:
        assert seen.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0
        with database.begin() as connection:
            connection.execute(text("INSERT INTO kept VALUES (1)"))
        assert seen.execute(text("SELECT count(*) FROM kept")).scalar_one() == 0
    with pytest.raises(Exception, match="read-only"), database.snapshot() as seen:
        seen.execute(text("INSERT INTO kept VALUES (2)"))
    with database.begin() as connection:  # the pooled connection is an ordinary one again
        connection.execute(text("INSERT INTO kept VALUES (3)"))


def test_lock_is_held_by_one_and_free_afterwards(database: Database) -> None:
    lock = database.advisory_lock
    with lock("tick", wait=False) as first, lock("tick", wait=False) as second, lock("other", wait=False) as other:
        assert (first, second, other) == (True, False, True)
    with database.advisory_lock("tick", wait=False) as again:
        assert again


def test_waiting_lock_is_granted_when_the_holder_ends(database: Database) -> None:
    order: list[str] = []
    holding, release = threading.Event(), threading.Event()

    def hold() -> None:
        with database.advisory_lock("tick", wait=True) as granted:
            assert granted
            holding.set()
            release.wait(10)
            order.append("first")

    def wait() -> None:
        with database.advisory_lock("tick", wait=True) as granted:
            assert granted
            order.append("second")

    threads = [threading.Thread(target=hold), threading.Thread(target=wait)]
    threads[0].start()
    assert holding.wait(10)
    threads[1].start()
    release.set()
    for thread in threads:
        thread.join(10)
    assert order == ["first", "second"]


def test_lock_ends_with_the_connection_of_a_killed_holder(database: Database) -> None:
    kill = text(
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    with database.advisory_lock("tick", wait=True):
        with database.begin() as connection:
            assert connection.execute(kill).scalars().all() == [True]
        with database.advisory_lock("tick", wait=True) as taken:  # granted as soon as the server has noticed
            assert taken


def test_pools_replace_connections_that_the_server_dropped(database: Database) -> None:
    with database.arrow() as connection, connection.cursor() as cursor:
        query(cursor, "SELECT 1 AS one")
    with database.begin() as connection:
        before = connection.execute(text("SELECT pg_backend_pid()")).scalar_one()
    with closing(Database(database.dsn)) as other, other.begin() as connection:
        ended = connection.execute(
            text(
                "SELECT pid, pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
        )
        assert (before, True) in [tuple(row) for row in ended]
    with database.arrow() as connection, connection.cursor() as cursor:
        assert query(cursor, "SELECT 1 AS one")["one"][0].as_py() == 1
    with database.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


@pytest.mark.parametrize(("idle_seconds", "asked"), [(30.0, 0), (0.0, 2)])
def test_pool_asks_the_server_only_after_a_long_silence(database: Database, idle_seconds: float, asked: int) -> None:
    pings: list[object] = []

    class Counting(PGDialect_psycopg2):
        supports_statement_cache = True

        def do_ping(self, dbapi_connection: Any) -> bool:
            pings.append(dbapi_connection)
            return super().do_ping(dbapi_connection)

    registry.impls["counting"] = lambda: Counting
    engine = create_engine(database.dsn.sqlalchemy().replace("postgresql+psycopg2", "counting"), poolclass=QueuePool)
    check_when_taken(engine, idle_seconds=idle_seconds)
    for _ in range(3):
        with engine.begin() as connection:
            assert connection.execute(text("SELECT 1")).scalar_one() == 1
    engine.dispose()

    assert len(pings) == asked


def test_closed_database_connects_anew(database: Database) -> None:
    database.close()
    with database.begin() as connection:
        assert connection.execute(text("SELECT 1")).scalar_one() == 1


def test_lock_keys_are_fixed_numbers() -> None:
    # Two versions of the code running side by side must mean the same lock.
    assert lock_key("tick/us_equity") == 7379132667388946201
    assert lock_key("tick/us_equity") != lock_key("tick/krw_crypto")


def test_repr_hides_the_password(database: Database) -> None:
    assert database.dsn.password
    assert database.dsn.password not in repr(database)
