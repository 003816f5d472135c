"""Bulk writes: Arrow rows into a temporary table by COPY, then set-based SQL; knows no domain table."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from quant_pipeline.storage.database import lock_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import pyarrow as pa

type Cursor = Any
"""A cursor of an ADBC connection (`Database.arrow`); the driver has no types."""


def stage(cursor: Cursor, name: str, columns: str, table: pa.Table) -> None:
    """Create temporary table `name` (gone at the end of the transaction) and copy `table` into it.

    `columns` are column definitions as SQL; names and order are those of `table`.
    """
    cursor.execute(f"CREATE TEMP TABLE {name} ({columns}) ON COMMIT DROP")
    if table.num_rows > 0:
        cursor.adbc_ingest(name, table, mode="append", temporary=True)
    # Without statistics the planner guesses a size and may scan a whole partition for three rows.
    cursor.execute(f"ANALYZE {name}")


def query(cursor: Cursor, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
    """Run a query with `$1`, `$2`, ... and return all of its rows."""
    cursor.execute(sql, parameters=tuple(parameters) or None)
    return cursor.fetch_arrow_table()


def frame_of(table: pa.Table) -> pd.DataFrame:
    """A result as a pandas frame, times as datetime64[ns, UTC] as everywhere in core."""
    import pyarrow as pa

    for position, field in enumerate(table.schema):
        if pa.types.is_timestamp(field.type):
            table = table.set_column(position, field.name, table.column(position).cast(pa.timestamp("ns", "UTC")))
    frame: pd.DataFrame = table.to_pandas()
    return frame


def run(cursor: Cursor, sql: str, parameters: Sequence[Any] = ()) -> None:
    """Run a statement with `$1`, `$2`, ... that returns nothing."""
    cursor.execute(sql, parameters=tuple(parameters) or None)


def lock(cursor: Cursor, name: str) -> None:
    """Wait for the lock `name` and keep it until the end of the transaction."""
    query(cursor, "SELECT pg_advisory_xact_lock($1)::text", (lock_key(name),))
