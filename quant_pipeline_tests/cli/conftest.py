"""Fixtures of the CLI tests: desks of their own, on the session's PostgreSQL or with an embedded one."""

from __future__ import annotations

import shutil
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from psycopg2 import sql

from quant_pipeline.runtime.ports import choose_free_port
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import ensure_databases, upgrade
from quant_pipeline_tests.cli.quant_process import SETTINGS, QuantDesk, wait_until_gone

_PORTS = ("api", "mlflow", "dagster", "dagster_readonly", "exchange_alpaca", "exchange_upbit")


@pytest.fixture
def embedded_desk() -> Iterator[QuantDesk]:
    """A desk that starts its own PostgreSQL; the test fails if a process outlives it."""
    folder = Path(tempfile.mkdtemp(prefix="quant-cli-"))
    folder.chmod(0o711)  # root's server runs under another account, which has to get through
    write_settings(folder)
    yield QuantDesk(folder, {})
    left = wait_until_gone(folder, seconds=30)
    shutil.rmtree(folder, ignore_errors=True)
    assert not left, "left running"


@pytest.fixture
def desk(postgres: Dsn, tmp_path: Path) -> Iterator[QuantDesk]:
    """A desk on the session's server, in databases of its own that are dropped after the test; not migrated."""
    write_settings(tmp_path)
    name = f"quant_cli_{uuid.uuid4().hex[:12]}"
    server = {"POSTGRES_HOST": postgres.host, "POSTGRES_PORT": str(postgres.port), "POSTGRES_USER": postgres.user}
    yield QuantDesk(tmp_path, {**server, "POSTGRES_PASSWORD": postgres.password, "POSTGRES_DB": name})
    with closing(psycopg2.connect(postgres.adbc())) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for ending in ("", "_dagster", "_mlflow", "_optuna"):
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                cursor.execute(drop.format(sql.Identifier(name + ending)))


@pytest.fixture
def migrated_desk(desk: QuantDesk, postgres: Dsn) -> QuantDesk:
    """A desk whose own database is ready; those of Dagster and MLflow are made at first use."""
    ensure_databases(postgres, [desk.env["POSTGRES_DB"]])
    upgrade(postgres.with_database(desk.env["POSTGRES_DB"]))
    return desk


def write_settings(folder: Path) -> None:
    """A settings file with few symbols and free ports."""
    taken: set[int] = set()
    lines = []
    for name in _PORTS:
        port = choose_free_port(frozenset(taken))
        taken.add(port)
        lines.append(f"{name} = {port}")
    (folder / "quant.toml").write_text(SETTINGS + "\n".join(lines) + "\n", encoding="utf-8")
