"""Dagster's PostgreSQL storage over one shared connection pool; what is stored and how stays Dagster's.

Stock storage opens a connection for every planned event and query (7 ms each asset-partition instead of 2). In
`dagster.yaml`:

    storage:
      custom:
        module: quant_pipeline.runtime.dagster_storage
        class: PooledPostgresStorage
        config: {postgres_url: {env: ...}}    # or postgres_db, as for the stock storage
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

import dagster as dg
from dagster import AssetRecordsFilter, EventRecordsResult, Field, IntSource
from dagster._core.storage.config import pg_config
from dagster._serdes import ConfigurableClassData
from dagster_postgres import (
    DagsterPostgresStorage,
    PostgresEventLogStorage,
    PostgresRunStorage,
    PostgresScheduleStorage,
)
from dagster_postgres.utils import get_token_provider_from_config, pg_url_from_config

from quant_pipeline.runtime.engine_pool import PoolSpec, shared_engine, with_driver

if TYPE_CHECKING:
    from dagster import AssetKey, EventLogEntry
    from dagster._config.config_schema import UserConfigSchema
    from dagster_postgres.auth import PgTokenProvider
    from sqlalchemy import Connection

_POOL_SIZE: Final = 4
_MAX_OVERFLOW: Final = 16

_MATERIALIZED_OR_OVER: Final = frozenset(
    {
        dg.DagsterEventType.ASSET_MATERIALIZATION,
        dg.DagsterEventType.STEP_SUCCESS,
        dg.DagsterEventType.STEP_FAILURE,
        dg.DagsterEventType.STEP_UP_FOR_RETRY,
        dg.DagsterEventType.PIPELINE_SUCCESS,
        dg.DagsterEventType.PIPELINE_FAILURE,
        dg.DagsterEventType.PIPELINE_CANCELED,
    }
)

_complete: set[str] = set()
"""URLs whose tables this process has seen; each further instance then starts without a query."""


class _Pooled:
    """What the three storages have in common: their engine is the shared one, also in the webserver."""

    _engine: Any
    _pool: PoolSpec
    _tokens: PgTokenProvider | None

    def use_pool(self, pool: PoolSpec, tokens: PgTokenProvider | None) -> Self:
        """Replace the storage's own engine."""
        self._pool = pool
        self._tokens = tokens
        self._engine.dispose()
        self._engine = shared_engine(pool, tokens)
        return self

    def optimize_for_webserver(self, statement_timeout: int, pool_recycle: int, max_overflow: int) -> None:
        """Take the webserver's limits (ms, seconds, connections), still in one pool for all three storages."""
        pool = replace(self._pool, statement_timeout=statement_timeout, recycle=pool_recycle, overflow=max_overflow)
        self.use_pool(pool, self._tokens)


class PooledRunStorage(_Pooled, PostgresRunStorage):
    """Runs over the shared pool."""


class _OwnMaterialization(threading.local):
    """The answer of this thread's running step to "what did this step materialize last", which its checks ask."""

    asked: AssetRecordsFilter | None = None
    answer: EventRecordsResult | None = None

    def note(self, event: EventLogEntry) -> None:
        """Start to remember with a step's materialization of one partition; forget with anything that ends a step."""
        if event.dagster_event_type in _MATERIALIZED_OR_OVER:
            self.asked = self.answer = None
        if event.dagster_event is None or not event.run_id or not event.step_key:
            return  # somebody reported a materialization by hand: there is no step, and no end of one
        if event.dagster_event_type is dg.DagsterEventType.ASSET_MATERIALIZATION:
            key, partition = event.dagster_event.asset_key, event.dagster_event.partition
            if key is not None and partition is not None:
                self.asked = AssetRecordsFilter(asset_key=key, asset_partitions=[partition])


class PooledEventLogStorage(_Pooled, PostgresEventLogStorage):
    """Event log over the shared pool, which asks once what cannot change.

    The stock storage looks up whether a table exists with each event, and for each check of an asset which
    materialization it judges: in the bars of a tick that is the same question ten times, 5 ms each.
    """

    _has_column: frozenset[str] = frozenset()
    _tables: frozenset[str] = frozenset()

    def __init__(self, *arguments: Any, **named: Any) -> None:  # noqa: ANN401 - the base class's
        """As the base class."""
        self._own = _OwnMaterialization()
        super().__init__(*arguments, **named)

    def has_table(self, table_name: str) -> bool:
        """Whether a table exists: asked until it does, as tables do not go away."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables |= {table_name}
        return table_name in self._tables

    def store_event(self, event: EventLogEntry) -> None:
        """Store it; from a materialization to the end of its step, the checks' question has one answer."""
        super().store_event(event)
        self._own.note(event)

    def fetch_materializations(
        self,
        records_filter: AssetKey | AssetRecordsFilter,
        limit: int,
        cursor: str | None = None,
        ascending: bool = False,  # noqa: FBT001, FBT002 - the base class's signature
    ) -> EventRecordsResult:
        """As the base class; a step's checks get the materialization of their own step with one query."""
        own = limit == 1 and cursor is None and not ascending and records_filter == self._own.asked
        if not own:
            return super().fetch_materializations(records_filter, limit, cursor, ascending)
        if self._own.answer is None:
            self._own.answer = super().fetch_materializations(records_filter, limit, cursor, ascending)
        return self._own.answer

    def _has_asset_key_col_on_connection(self, conn: Connection, column_name: str) -> bool:
        """Whether the asset table has a column: asked until it has, as columns do not go away.

        The stock storage reads the table's definition anew whenever it looks at an asset, 3 ms each time.
        """
        if column_name not in self._has_column and super()._has_asset_key_col_on_connection(conn, column_name):
            self._has_column |= {column_name}
        return column_name in self._has_column


class PooledScheduleStorage(_Pooled, PostgresScheduleStorage):
    """Schedules, sensors and automation over the shared pool."""


class PooledPostgresStorage(DagsterPostgresStorage):
    """Runs, events and schedules over the connection pool of this process.

    Args:
        postgres_url: With or without a driver; psycopg2 is used.
        should_autocreate_tables: As for the stock storage.
        inst_data: What Dagster hands on to other processes (the configuration as written, secrets unresolved).
        token_provider: Cloud logins, as for the stock storage.
        pool_size: Connections kept open.
        max_overflow: Further connections at peaks.
        auth: A text that differs between token providers.
    """

    def __init__(
        self,
        postgres_url: str,
        should_autocreate_tables: bool = True,  # noqa: FBT001, FBT002 - the base class's signature
        inst_data: ConfigurableClassData | None = None,
        token_provider: PgTokenProvider | None = None,
        *,
        pool_size: int = _POOL_SIZE,
        max_overflow: int = _MAX_OVERFLOW,
        auth: str = "",
    ) -> None:
        """Make the three storages; creates missing tables."""
        url = with_driver(postgres_url)
        self.postgres_url = url
        self.should_autocreate_tables = should_autocreate_tables
        self._inst_data = inst_data
        pool = PoolSpec(url, pool_size, max_overflow, auth=auth)
        create = should_autocreate_tables and url not in _complete
        arguments: dict[str, Any] = {"should_autocreate_tables": create, "token_provider": token_provider}
        # Each storage makes an unpooled engine for looking at the tables, and gets the shared one then.
        self._run_storage = PooledRunStorage(url, **arguments).use_pool(pool, token_provider)
        self._event_log_storage = PooledEventLogStorage(url, **arguments).use_pool(pool, token_provider)
        self._schedule_storage = PooledScheduleStorage(url, **arguments).use_pool(pool, token_provider)
        if should_autocreate_tables:
            _complete.add(url)
        # Past the direct base class, which would make three storages of its own.
        super(DagsterPostgresStorage, self).__init__()  # type: ignore[no-untyped-call]

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """The stock configuration plus the limits of the pool."""
        return {
            **cast("dict[str, Any]", pg_config()),
            "pool_size": Field(IntSource, is_required=False, default_value=_POOL_SIZE),
            "max_overflow": Field(IntSource, is_required=False, default_value=_MAX_OVERFLOW),
        }

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> PooledPostgresStorage:
        """Build from `dagster.yaml`; without this override the base class would build itself."""
        return cls(
            postgres_url=pg_url_from_config(config_value),
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            inst_data=inst_data,
            token_provider=get_token_provider_from_config(config_value),
            pool_size=config_value.get("pool_size", _POOL_SIZE),
            max_overflow=config_value.get("max_overflow", _MAX_OVERFLOW),
            auth=json.dumps(config_value.get("auth_provider"), sort_keys=True),
        )
