"""Dagster's storage over one shared pool: complete, frugal with connections, discreet, safe when forked or cut off."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path

import dagster as dg
import psycopg2
import pytest
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin,
    RemoteInstigatorOrigin,
    RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState,
    InstigatorStatus,
    InstigatorType,
    SensorInstigatorData,
    TickData,
    TickStatus,
)
from dagster_postgres.utils import DagsterPostgresException
from sqlalchemy import event
from sqlalchemy.engine import Engine

from quant_pipeline.runtime.dagster_storage import PooledPostgresStorage, PooledRunStorage
from quant_pipeline.runtime.engine_pool import PoolSpec, dispose_all, shared_engine, with_driver
from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.runtime import dagster_code
from quant_pipeline_tests.runtime.dagster_homes import POOLED, VARIABLE, write_home
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

pytestmark = pytest.mark.timeout(120)


@pytest.fixture
def home(tmp_path: Path, empty_database: Dsn, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A Dagster home on an empty database with the pooled storage."""
    monkeypatch.setenv(VARIABLE, empty_database.sqlalchemy())
    yield write_home(tmp_path / "home")
    dispose_all()


@pytest.fixture
def instance(home: Path) -> Iterator[dg.DagsterInstance]:
    """An instance of that home."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


@contextmanager
def counted_connects() -> Iterator[list[int]]:
    """Counts every new connection that SQLAlchemy makes in this process."""
    connects: list[int] = []

    def count(connection: psycopg2.extensions.connection, _record: object) -> None:
        connects.append(connection.info.backend_pid)

    event.listen(Engine, "connect", count)
    try:
        yield connects
    finally:
        event.remove(Engine, "connect", count)


@contextmanager
def noted_statements() -> Iterator[list[str]]:
    """Keeps every statement that SQLAlchemy sends in this process."""
    statements: list[str] = []

    def note(_c: object, _u: object, statement: str, *_rest: object) -> None:
        statements.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", note)


def engines_of(instance: dg.DagsterInstance) -> set[Engine]:
    """The engines behind the three storages of an instance."""
    storages = (instance.run_storage, instance.event_log_storage, instance.schedule_storage)
    return {storage._engine for storage in storages}  # type: ignore[union-attr]


def run_range(instance: dg.DagsterInstance, first: str, last: str) -> dg.ExecuteInProcessResult:
    """Materialize both assets over a range in one run."""
    tags = {"dagster/asset_partition_range_start": first, "dagster/asset_partition_range_end": last}
    job = dagster_code.defs.resolve_job_def("assets_job")
    return job.execute_in_process(instance=instance, tags=tags)


def test_the_configured_class_is_used_and_shares_one_engine(instance: dg.DagsterInstance) -> None:
    assert isinstance(instance.run_storage, PooledRunStorage)
    assert len(engines_of(instance)) == 1


def test_a_second_instance_of_a_process_opens_no_connection(home: Path, instance: dg.DagsterInstance) -> None:
    assert instance.get_runs() == []
    with counted_connects() as connects, dg.DagsterInstance.from_config(str(home)) as other:
        assert other.get_runs() == []
    assert connects == []


def test_a_range_run_of_many_partitions_needs_few_connections(instance: dg.DagsterInstance) -> None:
    with counted_connects() as connects:
        result = run_range(instance, "2024-01-01", "2024-04-09")
    assert result.success
    assert len(instance.get_materialized_partitions(dg.AssetKey("signals"))) == 100
    assert len(connects) <= 4


def test_the_stock_storage_needs_many_where_ours_needs_few(
    tmp_path: Path, empty_database: Dsn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, empty_database.sqlalchemy())
    home = write_home(tmp_path / "stock", storage={"postgres": {"postgres_url": {"env": VARIABLE}}})
    with dg.DagsterInstance.from_config(str(home)) as instance, counted_connects() as connects:
        run_range(instance, "2024-01-01", "2024-01-20")
    assert len(connects) > 80


def test_events_of_a_run_reach_a_watcher(instance: dg.DagsterInstance) -> None:
    seen: list[str] = []
    run = instance.create_run_for_job(dagster_code.defs.resolve_job_def("failing_job"))

    def remember(entry: dg.EventLogEntry, _cursor: str) -> None:
        seen.append(entry.message)

    instance.watch_event_logs(run.run_id, None, remember)
    instance.report_engine_event("first sign of life", run)
    assert wait_until(lambda: any("first sign of life" in message for message in seen), timeout=20)
    instance.end_watch_event_logs(run.run_id, remember)


def test_sensor_state_ticks_and_cursors_are_kept(instance: dg.DagsterInstance) -> None:
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("location"), "repository"), "one_run"
    )
    state = InstigatorState(origin, InstigatorType.SENSOR, InstigatorStatus.RUNNING, SensorInstigatorData(cursor="7"))
    instance.add_instigator_state(state)
    tick = instance.create_tick(
        TickData(
            origin.get_id(), "one_run", InstigatorType.SENSOR, TickStatus.STARTED, 1.0, selector_id=state.selector_id
        )
    )
    instance.update_tick(tick.with_status(TickStatus.SUCCESS))
    assert [found.instigator_data for found in instance.all_instigator_state()] == [state.instigator_data]
    assert [found.status for found in instance.get_ticks(origin.get_id(), state.selector_id)] == [TickStatus.SUCCESS]
    instance.daemon_cursor_storage.set_cursor_values({"asset_daemon": "42"})
    assert instance.daemon_cursor_storage.get_cursor_values({"asset_daemon"}) == {"asset_daemon": "42"}


def test_the_webserver_limits_apply_to_the_one_pool(instance: dg.DagsterInstance) -> None:
    instance.optimize_for_webserver(statement_timeout=4_321, pool_recycle=60, max_overflow=7)
    (engine,) = engines_of(instance)
    with engine.connect() as connection:
        assert connection.exec_driver_sql("SHOW statement_timeout").scalar_one() == "4321ms"
    assert instance.get_runs() == []


def test_connections_that_the_server_cut_off_are_replaced(
    instance: dg.DagsterInstance, empty_database: Dsn, postgres: Dsn
) -> None:
    assert instance.get_runs() == []
    cut = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s"
    with closing(psycopg2.connect(postgres.adbc())) as admin, admin.cursor() as cursor:
        cursor.execute(cut, (empty_database.database,))
        assert cursor.rowcount >= 1
    assert instance.get_runs() == []


def test_the_password_is_in_no_log_no_error_and_no_reference(
    home: Path, instance: dg.DagsterInstance, empty_database: Dsn, caplog: pytest.LogCaptureFixture
) -> None:
    password = empty_database.password
    assert password not in str(instance.get_ref())
    assert password not in instance.info_str()
    assert password not in repr(shared_engine(PoolSpec(empty_database.sqlalchemy(), 1, 1)))
    nowhere = replace(empty_database, port=choose_free_port())
    with caplog.at_level(logging.DEBUG), pytest.raises(DagsterPostgresException) as caught:
        PooledPostgresStorage(nowhere.sqlalchemy())
    assert "Retrying" in caplog.text
    assert password not in caplog.text
    assert password not in str(caught.value)


FORKING = """
import os, sys
from dagster import DagsterInstance
instance = DagsterInstance.from_config(sys.argv[1])
engine = instance.run_storage._engine
def backend():
    with engine.connect() as connection:
        return connection.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
mine = backend()
child = os.fork()
if child == 0:
    theirs = backend()
    assert instance.get_runs() == []
    os._exit(0 if theirs != mine else 9)
status = os.waitpid(child, 0)[1]
assert status == 0, status
assert backend() == mine
assert instance.get_runs() == []
print("both work")
"""


def test_a_forked_child_has_connections_of_its_own(home: Path, empty_database: Dsn) -> None:
    environment = {**environment_of_tests(), VARIABLE: empty_database.sqlalchemy()}
    command = [sys.executable, "-W", "ignore", "-c", FORKING, str(home)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90, check=False)
    assert (done.stdout, done.returncode) == ("both work\n", 0), done.stderr


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        ("postgresql://u:p%40ss@h:1/d", "postgresql+psycopg2://u:p%40ss@h:1/d"),
        ("postgresql+psycopg2://u:p@h:1/d?sslmode=require", "postgresql+psycopg2://u:p@h:1/d?sslmode=require"),
    ],
)
def test_a_url_without_a_driver_gets_psycopg2(given: str, wanted: str) -> None:
    assert with_driver(given) == wanted


def test_the_stock_form_of_the_configuration_works(tmp_path: Path, empty_database: Dsn) -> None:
    parts = {
        "hostname": empty_database.host,
        "port": empty_database.port,
        "username": empty_database.user,
        "password": empty_database.password,
        "db_name": empty_database.database,
    }
    config = {"postgres_db": parts, "pool_size": 2, "max_overflow": 3}
    home = write_home(tmp_path / "home", storage={"custom": {**POOLED, "config": config}})
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs() == []
        (engine,) = engines_of(instance)
        assert engine.url.render_as_string(hide_password=False) == empty_database.sqlalchemy()
        assert engine.pool.size() == 2  # type: ignore[attr-defined]
    dispose_all()


def test_the_definition_of_a_table_is_not_read_anew_by_each_look_at_an_asset(instance: dg.DagsterInstance) -> None:
    instance.report_runless_asset_event(dg.AssetMaterialization("a"))
    with noted_statements() as statements:
        found = [instance.get_asset_records([dg.AssetKey("a")]) for _ in range(3)]
    assert [len(records) for records in found] == [1, 1, 1]
    assert any("FROM asset_keys" in statement for statement in statements)
    assert sum("pg_attribute" in statement for statement in statements) <= 2, "once for each of the columns in question"


def judge(instance: dg.DagsterInstance, session: str) -> tuple[str, set[str | None]]:
    """Materialize a session; the run's id and the runs that its five checks say they judged."""
    result = dg.materialize([dagster_code.judged], instance=instance, partition_key=session)
    targets = [evaluation.target_materialization_data for evaluation in result.get_asset_check_evaluations()]
    assert len(targets) == 5
    return result.run_id, {None if target is None else target.run_id for target in targets}


def test_checks_judge_the_materialization_of_their_own_step_and_look_it_up_once(instance: dg.DagsterInstance) -> None:
    judge(instance, "2024-03-04")
    with noted_statements() as statements:
        again, judged_again = judge(instance, "2024-03-04")
    lookups = [text for text in statements if "FROM event_logs" in text and "event_logs.partition IN" in text]
    assert judged_again == {again}, "the earlier run materialized the same session"
    assert len(lookups) == 1, lookups
    assert not [text for text in statements if text.startswith("SELECT pg_catalog.pg_class.relname")], (
        "tables are known"
    )
    other, judged_other = judge(instance, "2024-03-05")
    assert judged_other == {other}


def test_a_materialization_that_somebody_reports_is_remembered_by_nobody(instance: dg.DagsterInstance) -> None:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey("a"), asset_partitions=["2024-03-04"])

    def newest() -> int:
        (record,) = instance.fetch_materializations(wanted, limit=1).records
        return record.storage_id

    instance.report_runless_asset_event(dg.AssetMaterialization("a", partition="2024-03-04"))
    before = newest()
    with ThreadPoolExecutor(1) as another:
        report = dg.AssetMaterialization("a", partition="2024-03-04")
        another.submit(instance.report_runless_asset_event, report).result()
    assert newest() > before


def test_what_a_step_found_out_is_forgotten_at_its_end(instance: dg.DagsterInstance) -> None:
    judge(instance, "2024-03-04")
    wanted = dg.AssetRecordsFilter(asset_key=dagster_code.judged.key, asset_partitions=["2024-03-04"])
    assert len(instance.fetch_materializations(wanted, limit=1).records) == 1
    instance.wipe_assets([dagster_code.judged.key])
    assert instance.fetch_materializations(wanted, limit=1).records == []
