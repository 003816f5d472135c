"""Bars in PostgreSQL: bulk upsert with revisions, and deleting. Reading is in `bars_read`, months in `partitions`.

The reading functions are importable from here too, as the one address of everything about stored bars.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.storage.bars_read import bar_adjustments, bar_span, last_bars, read_bars
from quant_pipeline.storage.errors import BarsInUseError
from quant_pipeline.storage.partitions import ensure_month_partitions, ensure_months
from quant_pipeline.storage.sql import as_utc
from quant_pipeline.storage.staging import Cursor, lock, query, run, stage

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from quant_pipeline.storage.database import Database

__all__ = [
    "BarChange", "bar_adjustments", "bar_span", "delete_bars", "ensure_month_partitions", "last_bars", "read_bars",
    "upsert_bars",
]  # fmt: skip

_VALUES = ("open", "high", "low", "close", "volume")
_STAGED = "symbol text, ts timestamptz, open float8, high float8, low float8, close float8, volume float8"

# A staged row differs if there is no such bar yet, or if one of its numbers is another one.
_DIFFERENT = """
INSERT INTO different
SELECT s.symbol, s.ts, s.open, s.high, s.low, s.close, s.volume, b.ts IS NOT NULL, greatest($3, b.fetched_at)
FROM staged s LEFT JOIN bars b
  ON b.market = $1 AND b.interval = $2 AND b.symbol = s.symbol AND b.ts = s.ts AND b.ts BETWEEN $4 AND $5
WHERE b.ts IS NULL
   OR (b.open, b.high, b.low, b.close, b.volume) IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume)
"""

# The rows stay locked to the end: what is kept here is what is replaced, also beside a writer that takes no turn.
_KEEP_OLD = """
WITH kept AS (
INSERT INTO bar_revisions (market, symbol, interval, ts, open, high, low, close, volume, source, feed, adjustment,
                           fetched_at, superseded_at, kind)
SELECT b.market, b.symbol, b.interval, b.ts, b.open, b.high, b.low, b.close, b.volume, b.source, b.feed, b.adjustment,
       b.fetched_at, d.at, $3
FROM different d JOIN bars b
  ON b.market = $1 AND b.interval = $2 AND b.symbol = d.symbol AND b.ts = d.ts AND b.ts BETWEEN $4 AND $5
WHERE d.known ORDER BY d.symbol, d.ts FOR NO KEY UPDATE OF b
RETURNING 1)
SELECT count(*) FROM kept
"""

# Not one INSERT ... ON CONFLICT DO UPDATE: that locks each row that it then leaves as it is, which writes it. A million
# bars again, unchanged, take two to three times as long, new ones a fifth longer (benchmarks/bulk_bars.py); and it does not
# say what was there before. The lock that is held makes `known` reliable; a new bar of a writer that went past the lock
# meets the primary key, a bar that it removed is missed in `kept`: either way nothing is stored and the caller is told.
_INSERT = """
INSERT INTO bars (market, symbol, interval, ts, open, high, low, close, volume, source, feed, adjustment, fetched_at)
SELECT $1, d.symbol, $2, d.ts, d.open, d.high, d.low, d.close, d.volume, $3, $4, $5, d.at
FROM different d WHERE NOT d.known ORDER BY d.symbol, d.ts
"""

_UPDATE = """
UPDATE bars b SET
    open = d.open, high = d.high, low = d.low, close = d.close, volume = d.volume,
    source = $3, feed = $4, adjustment = $5, fetched_at = d.at
FROM different d
WHERE d.known AND b.market = $1 AND b.interval = $2 AND b.symbol = d.symbol AND b.ts = d.ts AND b.ts BETWEEN $6 AND $7
"""

_DELETE = """
DELETE FROM bars b USING different d
WHERE b.market = $1 AND b.interval = $2 AND b.symbol = d.symbol AND b.ts = d.ts AND b.ts BETWEEN $3 AND $4
"""


@dataclass(frozen=True, slots=True)
class BarChange:
    """What a write did: numbers of bars, and the (symbol, session) pairs whose bytes changed, sorted."""

    inserted: int
    changed: int
    unchanged: int
    sessions: tuple[tuple[str, date], ...]
    deleted: int = 0


def upsert_bars(
    db: Database,
    market: str,
    interval: str,
    frame: pd.DataFrame,
    *,
    source: str,
    feed: str,
    adjustment: str,
    at: datetime,
    session_zone: str = "UTC",
) -> BarChange:
    """Store a bar frame; a bar that is there with other numbers is replaced and its old row goes to `bar_revisions`.

    All or nothing; writers of one market and interval take turns; months are made on demand. A bar that is there with
    equal numbers keeps its row, with the source, feed and `fetched_at` under which it was first seen.

    `frame` is a bar frame in any order: whole microseconds, finite numbers, no bar twice. `at` (aware) is when the
    venue gave these bars; a replaced bar is superseded then. The date of a bar in `session_zone` is its session in
    the result, for markets whose bars may lie past midnight UTC.

    Raises:
        ValueError: the frame is not as described; nothing is stored.
        BarsInUseError: somebody removed bars past the lock meanwhile; nothing is stored.
    """
    if frame.empty:
        return BarChange(0, 0, 0, ())
    staged, (first, last) = _arrow(frame), _span(frame)
    ensure_months(db, _months(frame))
    with db.arrow() as connection, connection.cursor() as cursor:
        lock(cursor, f"bars/{market}/{interval}")
        stage(cursor, "staged", _STAGED, staged)
        run(cursor, f"CREATE TEMP TABLE different ({_STAGED}, known bool, at timestamptz) ON COMMIT DROP")
        run(cursor, _DIFFERENT, (market, interval, as_utc(at), first, last))
        known, new, sessions = _summary(cursor, session_zone)
        if known:
            _keep_old(cursor, known, (market, interval, "changed", first, last))
            run(cursor, _UPDATE, (market, interval, source, feed, adjustment, first, last))
        if new:
            run(cursor, _INSERT, (market, interval, source, feed, adjustment))
    return BarChange(new, known, len(frame) - known - new, sessions)


def delete_bars(
    db: Database, market: str, interval: str, keys: pd.DataFrame, *, at: datetime, session_zone: str = "UTC"
) -> BarChange:
    """Remove bars that the venue has withdrawn; their rows go to `bar_revisions` as `deleted`. Absent ones are ignored.

    `keys` has `symbol` and `ts`; `at` (aware) is when the venue was seen not to have them any more.
    """
    if keys.empty:
        return BarChange(0, 0, 0, ())
    first, last = _span(keys)
    staged = _arrow(keys.loc[:, ["symbol", "ts"]].assign(**dict.fromkeys(_VALUES, 0.0)))
    with db.arrow() as connection, connection.cursor() as cursor:
        lock(cursor, f"bars/{market}/{interval}")
        stage(cursor, "staged", _STAGED, staged)
        run(cursor, f"CREATE TEMP TABLE different ({_STAGED}, known bool, at timestamptz) ON COMMIT DROP")
        found = _DIFFERENT.replace("LEFT JOIN", "JOIN").split("WHERE b.ts IS NULL", maxsplit=1)[0]
        run(cursor, found, (market, interval, as_utc(at), first, last))
        deleted, _, sessions = _summary(cursor, session_zone)
        _keep_old(cursor, deleted, (market, interval, "deleted", first, last))
        run(cursor, _DELETE, (market, interval, first, last))
    return BarChange(0, 0, 0, sessions, deleted)


def _keep_old(cursor: Cursor, known: int, parameters: tuple[Any, ...]) -> None:
    kept = query(cursor, _KEEP_OLD, parameters).column(0)[0].as_py()
    if kept != known:
        msg = (
            f"{known - kept} bars of {parameters[0]} {parameters[1]} vanished while they were being replaced, by a writer "
            "that does not take turns (the lock in `upsert_bars`); nothing was stored, write them again"
        )
        raise BarsInUseError(msg)


def _summary(cursor: Cursor, session_zone: str) -> tuple[int, int, tuple[tuple[str, date], ...]]:
    """(bars known before, bars new, sessions touched) of the table `different`."""
    counts = query(cursor, "SELECT count(*) FILTER (WHERE known), count(*) FILTER (WHERE NOT known) FROM different")
    known, new = (column[0].as_py() for column in counts.columns)
    touched = query(
        cursor,
        "SELECT DISTINCT symbol, (ts AT TIME ZONE $1)::date AS session FROM different ORDER BY symbol, session",
        (session_zone,),
    )
    return known, new, tuple((row["symbol"], row["session"]) for row in touched.to_pylist())


def _span(frame: pd.DataFrame) -> tuple[datetime, datetime]:
    return frame["ts"].min().to_pydatetime(), frame["ts"].max().to_pydatetime()


def _months(frame: pd.DataFrame) -> list[date]:
    """The first day of each UTC month in which a bar starts; one stray bar does not make the months up to it."""
    starts = frame["ts"].to_numpy(dtype="datetime64[ns]").astype("datetime64[M]")
    days: list[date] = np.unique(starts).astype("datetime64[D]").tolist()
    return days


def _arrow(frame: pd.DataFrame) -> pa.Table:
    """The frame as Arrow columns in staging order, refused if it is not a sound bar frame."""
    import pyarrow as pa

    missing = [name for name in BAR_COLUMNS if name not in frame.columns]
    if missing:
        msg = f"bar frame lacks the columns {missing}; it needs {list(BAR_COLUMNS)}"
        raise ValueError(msg)
    columns = {"symbol": pa.array(frame["symbol"].to_numpy(dtype=object), pa.string()), "ts": _microseconds(frame)}
    for name in _VALUES:
        values = frame[name].to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            row = frame.iloc[int(np.flatnonzero(~np.isfinite(values))[0])]
            msg = f"bar {row['symbol']} {row['ts']} has {name}={row[name]}; leave out bars without numbers"
            raise ValueError(msg)
        columns[name] = pa.array(values)
    doubled = frame.duplicated(["symbol", "ts"]).to_numpy()
    if doubled.any():
        row = frame.iloc[int(np.flatnonzero(doubled)[0])]
        msg = f"bar {row['symbol']} {row['ts']} is in the frame twice; keep one of them"
        raise ValueError(msg)
    return pa.table(columns)


def _microseconds(frame: pd.DataFrame) -> pa.Array:
    import pyarrow as pa

    zone = getattr(frame["ts"].dtype, "tz", None)
    if zone is None:
        msg = f"column ts is {frame['ts'].dtype}; it must be datetime64 with a time zone"
        raise ValueError(msg)
    nanoseconds = frame["ts"].to_numpy(dtype="datetime64[ns]").astype(np.int64)
    if (nanoseconds % 1000).any():
        msg = "column ts has fractions of a microsecond, which PostgreSQL cannot keep; bars start on whole seconds"
        raise ValueError(msg)
    return pa.array(nanoseconds // 1000).cast(pa.timestamp("us", "UTC"))
