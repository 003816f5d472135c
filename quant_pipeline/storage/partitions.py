"""The monthly partitions of `bars`: which exist, and making those that a span of time needs."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.database import Database, lock_key
from quant_pipeline.storage.sql import as_utc

if TYPE_CHECKING:
    from sqlalchemy import Connection

_LOCK = "quant_pipeline.bars.partitions"
_EXISTING = """
SELECT child.relname FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'bars'::regclass
"""


def ensure_month_partitions(db: Database, start: datetime, end: datetime) -> tuple[str, ...]:
    """Make the monthly partitions of `bars` for the UTC months that [start, end] touches; returns the names made.

    Safe to run from several processes at once, and while others read and write bars.
    """
    wanted = _months(as_utc(start, "start"), as_utc(end, "end"))
    with db.begin() as connection:
        missing = _missing(connection, wanted)
        if not missing:
            return ()
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(_LOCK)})
        made = _missing(connection, wanted)
        for name, first, following in made:
            # Attaching a finished table takes a lock that readers and writers of the other months do not notice;
            # CREATE TABLE ... PARTITION OF would wait for all of them, and make them wait.
            connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE bars INCLUDING ALL)")
            span = f"FROM ('{first} 00:00+00') TO ('{following} 00:00+00')"
            connection.exec_driver_sql(f"ALTER TABLE bars ATTACH PARTITION {name} FOR VALUES {span}")
        return tuple(name for name, _, _ in made)


def _missing(connection: Connection, wanted: list[tuple[str, date, date]]) -> list[tuple[str, date, date]]:
    existing = set(connection.execute(text(_EXISTING)).scalars())
    return [month for month in wanted if month[0] not in existing]


def _months(start: datetime, end: datetime) -> list[tuple[str, date, date]]:
    """(partition name, first day, first day of the next month) of each UTC month touched."""
    if end < start:
        msg = f"end {end.isoformat()} is before start {start.isoformat()}"
        raise ValueError(msg)
    months = []
    month = datetime(start.year, start.month, 1, tzinfo=UTC).date()
    while month <= end.date():
        following = date(month.year + month.month // 12, month.month % 12 + 1, 1)
        months.append((f"bars_{month.year:04d}_{month.month:02d}", month, following))
        month = following
    return months
