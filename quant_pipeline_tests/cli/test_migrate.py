"""`quant migrate`: from nothing to databases that every part of the desk can use, as often as one likes."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime

import pandas as pd
import psycopg2

from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import newest_revision
from quant_pipeline_tests.cli.quant_process import QuantDesk


def tables(desk: QuantDesk, postgres: Dsn, ending: str) -> set[str]:
    """The tables of one of the desk's databases."""
    dsn = postgres.with_database(desk.env["POSTGRES_DB"] + ending)
    with closing(psycopg2.connect(dsn.adbc())) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {row[0] for row in cursor.fetchall()}


def test_all_databases_are_made_and_a_second_time_changes_nothing(desk: QuantDesk, postgres: Dsn) -> None:
    now = datetime.now(UTC).replace(tzinfo=None)
    first = desk.run("migrate", "--json")
    assert first.code == 0, first.stderr
    content = first.json()
    name = desk.env["POSTGRES_DB"]
    assert content["databases"] == [name, f"{name}_dagster", f"{name}_mlflow", f"{name}_optuna"]
    assert content["revision"] == newest_revision()
    assert content["embedded"] is False
    following = pd.Timestamp(now).to_period("M") + 1
    ahead = {f"bars_{month.year}_{month.month:02d}" for month in (following, following + 1)}
    assert {"bars", "orders", "decisions", *ahead} <= tables(desk, postgres, "")
    assert {"runs", "event_logs", "instigators"} <= tables(desk, postgres, "_dagster")
    assert {"registered_models", "experiments"} <= tables(desk, postgres, "_mlflow")
    assert desk.run("migrate", "--json").json() == content


def test_a_server_that_is_not_there_is_named_with_the_settings_behind_it(desk: QuantDesk) -> None:
    done = desk.run("migrate", env={"POSTGRES_PORT": "1"})
    assert (done.code, done.stdout) == (1, "")
    assert "PostgreSQL at 127.0.0.1:1 cannot be used" in done.stderr
    assert "postgres.host" in done.stderr
    assert "Traceback" not in done.stderr
    assert desk.env["POSTGRES_PASSWORD"] not in done.stderr


def test_commands_that_need_the_database_name_the_command_that_makes_it(desk: QuantDesk) -> None:
    done = desk.run("status", "--json")
    assert (done.code, done.stdout) == (1, "")
    assert "run `quant migrate`" in done.stderr
