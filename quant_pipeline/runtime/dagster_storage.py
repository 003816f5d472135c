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
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, Self, cast

from dagster import Field, IntSource
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
    from dagster._config.config_schema import UserConfigSchema
    from dagster_postgres.auth import PgTokenProvider
    from sqlalchemy import Connection

_POOL_SIZE: Final = 4
_MAX_OVERFLOW: Final = 16

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


class PooledEventLogStorage(_Pooled, PostgresEventLogStorage):
    """Event log over the shared pool."""

    _has_column: frozenset[str] = frozenset()

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
