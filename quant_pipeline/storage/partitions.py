"""The monthly partitions of `bars`: which exist, and making those that a span of time needs.

They are made on three occasions: by a migration and by each tick's collection for the months to come, so that no tick
waits for a table to be made, or finds at midnight that it cannot; and by each write for the months that it holds.
"""

from __future__ import annotations

from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.database import Database, lock_key
from quant_pipeline.storage.sql import as_utc

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import Connection

MONTHS_AHEAD = 2
"""How many months after the current one are made ahead."""

_LOCK = "quant_pipeline.bars.partitions"
_EXISTING = """
SELECT child.relname FROM pg_inherits
JOIN pg_class child ON child.oid = pg_inherits.inhrelid
WHERE pg_inherits.inhparent = 'bars'::regclass
"""


def ensure_month_partitions(db: Database, start: datetime, end: datetime) -> tuple[str, ...]:
    """Make the monthly partitions of `bars` for the UTC months that [start, end] touches; returns the names made.

    Safe to run from several processes at once, and while others read and write bars.

    Raises:
        ValueError: `end` is before `start`, or a time has no zone.
    """
    first, last = as_utc(start, "start"), as_utc(end, "end")
    if last < first:
        msg = f"end {last.isoformat()} is before start {first.isoformat()}"
        raise ValueError(msg)
    months = [first.date().replace(day=1)]
    while (following := _next_month(months[-1])) <= last.date():
        months.append(following)
    return ensure_months(db, months)


def ensure_months_ahead(db: Database, at: datetime) -> tuple[str, ...]:
    """`ensure_month_partitions` for the UTC month of `at` and the `MONTHS_AHEAD` months after it."""
    months = [as_utc(at, "at").date().replace(day=1)]
    for _ in range(MONTHS_AHEAD):
        months.append(_next_month(months[-1]))
    return ensure_months(db, months)


def ensure_months(db: Database, months: Iterable[date]) -> tuple[str, ...]:
    """`ensure_month_partitions` for the months that begin on these days."""
    wanted = {f"bars_{month.year:04d}_{month.month:02d}": month for month in sorted(months)}
    with db.begin() as connection:
        if not _missing(connection, wanted):
            return ()
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(_LOCK)})
        made = _missing(connection, wanted)
        for name, month in made.items():
            # Attaching a finished table takes a lock that readers and writers of the other months do not notice;
            # CREATE TABLE ... PARTITION OF would wait for all of them, and make them wait.
            span = f"FROM ('{month} 00:00+00') TO ('{_next_month(month)} 00:00+00')"
            connection.exec_driver_sql(f"CREATE TABLE {name} (LIKE bars INCLUDING ALL)")
            connection.exec_driver_sql(f"ALTER TABLE bars ATTACH PARTITION {name} FOR VALUES {span}")
        return tuple(made)


def _missing(connection: Connection, wanted: dict[str, date]) -> dict[str, date]:
    existing = set(connection.execute(text(_EXISTING)).scalars())
    return {name: month for name, month in wanted.items() if name not in existing}


def _next_month(month: date) -> date:
    return date(month.year + month.month // 12, month.month % 12 + 1, 1)
