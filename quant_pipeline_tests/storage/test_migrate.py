"""Databases and schema revisions."""

from __future__ import annotations

import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace

import pytest
from alembic import command
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.errors import DatabaseOrderError, SchemaVersionError
from quant_pipeline.storage.migrate import (
    _config,
    check_revision,
    current_revision,
    ensure_databases,
    newest_revision,
    upgrade,
)
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.storage.builders import REPOSITORY


def _tables(dsn: Dsn) -> set[str]:
    sql = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'"
    with create_engine(dsn.sqlalchemy(), poolclass=NullPool).connect() as connection:
        return set(connection.execute(text(sql)).scalars())


def test_upgrade_from_empty_reaches_the_newest_revision(empty_database: Dsn) -> None:
    assert current_revision(empty_database) is None
    with pytest.raises(SchemaVersionError, match="quant migrate"):
        check_revision(empty_database)
    upgrade(empty_database)
    assert current_revision(empty_database) == newest_revision()
    check_revision(empty_database)
    assert {"bars", "decisions", "orders", "fills", "lake_objects", "outbox", "risk_state"} <= _tables(empty_database)


def test_second_upgrade_changes_nothing(empty_database: Dsn) -> None:
    upgrade(empty_database)
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        connection.execute(text("INSERT INTO code_versions (hash, description) VALUES ('h', 'd')"))
        connection.commit()
        before = connection.execute(text("SELECT oid, relname FROM pg_class ORDER BY oid")).all()
        connection.commit()
        upgrade(empty_database)
        assert connection.execute(text("SELECT oid, relname FROM pg_class ORDER BY oid")).all() == before
        assert connection.execute(text("SELECT count(*) FROM code_versions")).scalar_one() == 1


def test_upgrades_by_several_processes_do_not_disturb_each_other(empty_database: Dsn) -> None:
    code = "import sys; from quant_pipeline.storage.dsn import Dsn; from quant_pipeline.storage.migrate import upgrade;"
    code += (
        "dsn = Dsn.parse(sys.stdin.readline().strip()); print('ready', flush=True); sys.stdin.readline(); upgrade(dsn)"
    )
    command = [sys.executable, "-W", "error", "-c", code]
    pipe = subprocess.PIPE
    workers = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=REPOSITORY) for _ in range(3)
    ]
    for worker in workers:
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(f"{empty_database.adbc()}\n")
        worker.stdin.flush()
        worker.stdout.readline()
    for worker in workers:
        assert worker.stdin is not None
        worker.stdin.write("go\n")
        worker.stdin.flush()
    ended = [worker.communicate(timeout=60) for worker in workers]
    assert [worker.returncode for worker in workers] == [0, 0, 0], ended
    check_revision(empty_database)


def test_upgrades_in_threads_keep_to_their_own_database(postgres: Dsn, empty_database: Dsn) -> None:
    with new_database(postgres) as other, ThreadPoolExecutor(4) as pool:
        for done in [pool.submit(upgrade, dsn) for dsn in (empty_database, other) * 2]:
            done.result(60)
        check_revision(empty_database)
        check_revision(other)


def test_failed_upgrade_leaves_nothing_behind(empty_database: Dsn) -> None:
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        connection.execute(text("CREATE TABLE outbox (mine int)"))  # in the way of the last table of the revision
        connection.commit()
    with pytest.raises(Exception, match="outbox"):
        upgrade(empty_database)
    assert current_revision(empty_database) is None
    assert _tables(empty_database) <= {"outbox", "alembic_version"}


def test_database_from_a_newer_version_is_refused(empty_database: Dsn) -> None:
    upgrade(empty_database)
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        connection.commit()
    with pytest.raises(SchemaVersionError, match="9999") as refused:
        upgrade(empty_database)
    assert empty_database.password not in str(refused.value)


def test_databases_are_made_once_even_by_several_at_a_time(postgres: Dsn, empty_database: Dsn) -> None:
    names = [f"{empty_database.database}_a", f'{empty_database.database}_B "x"']
    try:
        with ThreadPoolExecutor(4) as pool:
            made = [done.result() for done in [pool.submit(ensure_databases, postgres, names) for _ in range(4)]]
        assert sorted(name for one in made for name in one) == sorted(names)
        for name in names:
            assert current_revision(replace(postgres, database=name)) is None
    finally:
        engine = create_engine(postgres.sqlalchemy(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            for name in names:
                quoted = name.replace('"', '""')
                connection.exec_driver_sql(f'DROP DATABASE IF EXISTS "{quoted}" WITH (FORCE)')


def test_database_that_sorts_by_a_language_is_refused_with_the_command_that_makes_a_sound_one(
    separate_postgres: Dsn,
) -> None:
    """A server that was not made for the desk gives its databases the order of its own language."""
    other = separate_postgres.with_database("quant_test_other_order")
    engine = create_engine(separate_postgres.sqlalchemy(), poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {other.database}")
        with pytest.raises(DatabaseOrderError, match="language") as refused:
            upgrade(other)
        assert current_revision(other) is None
        assert other.password not in str(refused.value)
        connection.exec_driver_sql(f"DROP DATABASE {other.database}")
        remedy = re.search(r"CREATE DATABASE .* LC_COLLATE 'C'", str(refused.value))
        assert remedy is not None
        connection.exec_driver_sql(remedy.group())
        upgrade(other)
        connection.exec_driver_sql(f"DROP DATABASE {other.database} WITH (FORCE)")


def test_databases_sort_by_bytes_whatever_the_server_does(empty_database: Dsn) -> None:
    names = ["BRKA", "BRK.B", "brk", "KRW-BTC", "KRW", "KRWB", "Ünit", "하나", "Z"]
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        listed = connection.execute(
            text("SELECT unnest(CAST(:names AS text[])) AS name ORDER BY name"), {"names": names}
        )
        assert listed.scalars().all() == sorted(names)


def test_coverage_of_earlier_revisions_keeps_its_meaning(empty_database: Dsn) -> None:
    """A row of a collection meant: asked for up to the time of the check; one of an import says nothing about that."""
    rows = """
        INSERT INTO coverage VALUES
        ('m', 'A', '1m', '2024-05-01', 390, 389, 1, NULL, NULL, 'v', 'f', 'raw', 'complete', '2024-05-03 12:00+00'),
        ('m', 'B', '1m', '2024-05-01', 390, 40, 0, NULL, NULL, 'v', 'f', 'raw', 'forming', '2024-05-01 15:00+00'),
        ('m', 'C', '1m', '2024-05-01', 390, 40, 0, NULL, NULL, 'file', 'f', 'raw', 'partial', '2024-05-03 12:00+00')
    """
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        command.upgrade(_config(connection), "0003")
        connection.exec_driver_sql(rows)
        connection.commit()
    upgrade(empty_database)
    with closing(create_engine(empty_database.sqlalchemy(), poolclass=NullPool).connect()) as connection:
        found = connection.execute(text("SELECT symbol, fetched_to AT TIME ZONE 'UTC' FROM coverage ORDER BY symbol"))
        assert [(symbol, None if at is None else f"{at:%m-%d %H:%M}") for symbol, at in found] == [
            ("A", "05-02 00:00"),
            ("B", "05-01 15:00"),
            ("C", None),
        ]
