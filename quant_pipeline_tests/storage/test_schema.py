"""Rules that hold for every table: append-only where promised, UTC times, columns as the code names them."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from quant_pipeline.storage.bar_quality import BarQuality
from quant_pipeline.storage.cash import CashFlow
from quant_pipeline.storage.control import Control
from quant_pipeline.storage.corporate_actions import CorporateAction
from quant_pipeline.storage.coverage import Coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import Decision
from quant_pipeline.storage.fills import LedgerFill
from quant_pipeline.storage.hyperparameters import Hyperparameters
from quant_pipeline.storage.intents import Intent
from quant_pipeline.storage.models import ModelEvent, ModelVersion
from quant_pipeline.storage.orders import LedgerOrder, OrderEvent
from quant_pipeline.storage.outbox import Notification
from quant_pipeline.storage.positions import Holding
from quant_pipeline.storage.repairs import BarRepair
from quant_pipeline.storage.restatements import Restatement
from quant_pipeline.storage.risk import RiskEvent, RiskState
from quant_pipeline.storage.sql import columns_of
from quant_pipeline.storage.ticker_spans import TickerSpan
from quant_pipeline.storage.touched import Touched
from quant_pipeline.storage.versions import Version
from quant_pipeline_tests.storage.builders import REPOSITORY

_DECISION = """
INSERT INTO decisions (id, market, book, symbol, session, bar_ts, bar_close, origin, version, action, reason, vote,
                       settings_hash, code_hash, platform_hash, inputs, decided_at, run_id)
VALUES ('d', 'm', 'b', 's', now(), now(), now(), 'live', 1, 0, '', 0, '', '', '', '{}', now(), '');
"""
_ORDER = f"""{_DECISION}
INSERT INTO intents
VALUES ('i', 'd', 'm', 'b', 's', 'buy', 'entry', 1, NULL, NULL, now(), 'infinity', 'open', '', now(), now());
INSERT INTO orders (client_id, intent_id, attempt, market, book, venue, symbol, side, order_type, qty, state,
                    planned_at, updated_at)
VALUES ('o', 'i', 1, 'm', 'b', 'v', 's', 'buy', 'market', 1, 'pending', now(), now());
"""
_APPEND_ONLY = {
    "bar_revisions": """
        INSERT INTO bar_revisions (market, symbol, interval, ts, open, high, low, close, volume, source, feed,
                                   adjustment, fetched_at, superseded_at, kind)
        VALUES ('m', 's', '1d', now(), 1, 1, 1, 1, 1, '', '', '', now(), now(), 'changed')
    """,
    "corporate_actions": """
        INSERT INTO corporate_actions VALUES ('m', 's', now(), 'split', 2, NULL, NULL, 'x', now())
    """,
    "ticker_spans": """
        INSERT INTO ticker_spans VALUES ('m', 's', 't', '2020-01-01', '2050-12-31', 'x', now())
    """,
    "control_state": """
        INSERT INTO control_state (market, state, actor, note, at) VALUES ('m', 'paused', 'me', '', now())
    """,
    "risk_events": """
        INSERT INTO risk_events (market, book, at, kind, level, detail) VALUES ('m', 'b', now(), 'k', 'l', '{}')
    """,
    "cash_flows": """
        INSERT INTO cash_flows (market, book, at, amount, kind, ref) VALUES ('m', 'b', now(), 1, 'k', 'r')
    """,
    "hyperparameters": """
        INSERT INTO hyperparameters (market, symbol, month, params, params_hash, study, trials, value, created_at)
        VALUES ('m', 's', now(), '{}', '', '', 1, 1, now())
    """,
    "decisions": _DECISION,
    "restatements": """
        INSERT INTO data_versions (market, step, session, symbol, content_hash, inputs_hash, code_hash, settings_hash,
                                   created_at, confirmed_at, run_id, is_current)
        VALUES ('m', 'bars', '2024-05-01', 's', '', '', '', '', now(), now(), '', true);
        INSERT INTO restatements (market, symbol, interval, session, kind, bars, first_ts, old_version, new_version,
                                  old_hash, new_hash, detected_at, run_id)
        SELECT 'm', 's', '1d', '2024-05-01', 'changed', 1, now(), max(id), max(id), '', '', now(), '' FROM data_versions
    """,
    "model_events": """
        INSERT INTO model_versions
        VALUES ('v', 'm', 's', '2024-05-01', 'n', '', '', '2024-01-01', '2024-04-01', '2024-05-01', '2024-06-01',
                '{}', 'trained', NULL, now());
        INSERT INTO model_events (model_version_id, event, at, actor, note) VALUES ('v', 'trained', now(), '', '')
    """,
    "order_events": f"""{_ORDER}
        INSERT INTO order_events (client_id, at, state, filled_qty, fee, venue_status, note)
        VALUES ('o', now(), 'pending', 0, 0, '', '')
    """,
    "fills": f"""{_ORDER}
        INSERT INTO fills VALUES ('o', 'f', 'm', 'b', 's', 'buy', 1, 1, 0, now(), false, now())
    """,
}
_A_COLUMN = """
SELECT column_name FROM information_schema.columns WHERE table_name = :table AND is_identity = 'NO' LIMIT 1
"""
_RECORDS: dict[str, tuple[type[Any], ...]] = {
    "bar_quality": (BarQuality,),
    "bar_repairs": (BarRepair,),
    "cash_flows": (CashFlow,),
    "control_state": (Control,),
    "corporate_actions": (CorporateAction,),
    "coverage": (Coverage,),
    "bars_touched": (Touched,),
    "data_versions": (Version,),
    "decisions": (Decision,),
    "fills": (LedgerFill,),
    "hyperparameters": (Hyperparameters,),
    "intents": (Intent,),
    "model_events": (ModelEvent,),
    "model_versions": (ModelVersion,),
    "order_events": (OrderEvent,),
    "orders": (LedgerOrder,),
    "outbox": (Notification,),
    "positions": (Holding,),
    "restatements": (Restatement,),
    "risk_events": (RiskEvent,),
    "risk_state": (RiskState,),
    "ticker_spans": (TickerSpan,),
}
# What the database keeps for itself beside the fields of the value.
_OWN = {"id", "updated_at", "is_current", "confirmed_at", "params_hash", "client_id", "due_at", "sent_at", "content_id"}


@pytest.mark.parametrize("table", sorted(_APPEND_ONLY))
@pytest.mark.parametrize("change", ["UPDATE {} SET {} = {}", "DELETE FROM {}", "TRUNCATE {} CASCADE"])
def test_append_only_table_refuses_changes(database: Database, table: str, change: str) -> None:
    with database.begin() as connection:
        connection.exec_driver_sql(_APPEND_ONLY[table])
        column = connection.execute(text(_A_COLUMN), {"table": table}).scalar_one()
    with pytest.raises(SQLAlchemyError, match=f"{table} is append-only"), database.begin() as connection:
        connection.exec_driver_sql(change.format(table, column, column))
    with database.begin() as connection:
        assert connection.execute(text(f"SELECT count(*) FROM {table}")).scalar_one() == 1


def test_every_time_has_a_zone_and_every_amount_is_exact(database: Database) -> None:
    sql = text(
        "SELECT table_name, column_name, data_type, domain_name FROM information_schema.columns"
        " WHERE table_schema = 'public'"
    )
    with database.begin() as connection:
        columns = connection.execute(sql).all()
    assert {row.data_type for row in columns} <= {
        "bigint", "boolean", "bytea", "character varying", "date", "double precision", "integer", "json", "jsonb",
        "numeric", "text", "timestamp with time zone",
    }  # fmt: skip
    money = {"intents", "orders", "order_events", "fills", "positions", "cash_flows", "equity", "risk_state"}
    assert not [row for row in columns if row.table_name in money and row.data_type == "double precision"]
    assert not [row for row in columns if row.data_type == "numeric" and row.domain_name != "exact"]


@pytest.mark.parametrize("table", sorted(_RECORDS))
def test_values_have_the_columns_of_their_table(database: Database, table: str) -> None:
    with database.begin() as connection:
        sql = text("SELECT column_name FROM information_schema.columns WHERE table_name = :table")
        columns = set(connection.execute(sql, {"table": table}).scalars())
    for record in _RECORDS[table]:
        assert set(columns_of(record)) <= columns
        assert columns - set(columns_of(record)) <= _OWN


def test_amounts_refuse_what_is_no_number(database: Database) -> None:
    for value in ("NaN", "Infinity", "-Infinity"):
        with pytest.raises(SQLAlchemyError, match="exact"), database.begin() as connection:
            connection.execute(text("SELECT CAST(:value AS exact)"), {"value": value})


def test_importing_storage_stays_light() -> None:
    """A tick and the command line import all of storage: the heavy readers must wait until they are needed."""
    code = (
        "import importlib, pkgutil, sys, quant_pipeline.storage as s\n"
        "for m in pkgutil.iter_modules(s.__path__):\n"
        "    if m.name != 'migrations': importlib.import_module(f'quant_pipeline.storage.{m.name}')\n"
        "print(sorted({'dagster', 'mlflow', 'pyarrow.dataset', 'pyarrow.parquet', 'alembic', 'fsspec',"
        " 'adbc_driver_manager.dbapi'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"
