"""Bars in PostgreSQL: bulk upsert with revisions, and deleting. Reading is in `bars_read`, months in `partitions`.

The reading functions are importable from here too, as the one address of everything about stored bars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from quant_pipeline.storage.bar_rows import BAR_VALUES, bar_rows
from quant_pipeline.storage.bars_read import bar_adjustments, bar_span, last_bars, read_bars
from quant_pipeline.storage.errors import BarsInUseError
from quant_pipeline.storage.partitions import ensure_month_partitions, ensure_months
from quant_pipeline.storage.sql import as_utc
from quant_pipeline.storage.staging import Cursor, lock, query, run, stage
from quant_pipeline.storage.touched import note_touched

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

    from quant_pipeline.storage.database import Database

__all__ = [
    "BarChange", "BarPart", "Origin", "Prefer", "bar_adjustments", "bar_span", "delete_bars", "ensure_month_partitions",
    "last_bars", "read_bars", "upsert_bars", "upsert_parts",
]  # fmt: skip

type Origin = tuple[str, str, str]
"""Where bars come from: source, feed, adjustment."""

type Prefer = Callable[[Origin, Origin], Literal["stored", "given"] | None]
"""Which of two different origins (stored, given) a bar is kept of; None: the given one where its numbers differ."""

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

# The same beside bars of other origins: `origin` is where the stored bar came from, `same` whether its numbers are equal.
_DIFFERENT_BY_ORIGIN = """
INSERT INTO different
SELECT s.symbol, s.ts, s.open, s.high, s.low, s.close, s.volume, b.ts IS NOT NULL, greatest($3, b.fetched_at),
       concat_ws(chr(31), b.source, b.feed, b.adjustment),
       (b.open, b.high, b.low, b.close, b.volume) IS NOT DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume)
FROM staged s LEFT JOIN bars b
  ON b.market = $1 AND b.interval = $2 AND b.symbol = s.symbol AND b.ts = s.ts AND b.ts BETWEEN $4 AND $5
WHERE b.ts IS NULL OR (b.source, b.feed, b.adjustment) IS DISTINCT FROM ($6, $7, $8)
   OR (b.open, b.high, b.low, b.close, b.volume) IS DISTINCT FROM (s.open, s.high, s.low, s.close, s.volume)
"""
_KEEP_STORED = """
WITH gone AS (DELETE FROM different WHERE known AND origin = $1 AND (same OR $2) RETURNING same)
SELECT count(*) FILTER (WHERE NOT same) FROM gone
"""

# A bar that comes back is known from its deletion on at the earliest, also by a clock that went back.
_AFTER_DELETION = """
UPDATE different d SET at = greatest(d.at, gone.at) FROM (
    SELECT symbol, ts, max(superseded_at) AS at FROM bar_revisions
    WHERE market = $1 AND interval = $2 AND kind = 'deleted' AND ts BETWEEN $3 AND $4 GROUP BY symbol, ts
) AS gone
WHERE NOT d.known AND d.symbol = gone.symbol AND d.ts = gone.ts
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
    kept: int = 0
    """Bars that were given with other numbers and left as they are stored, because their origin is preferred."""


@dataclass(frozen=True, slots=True)
class BarPart:
    """Bars of one origin: a bar frame in any order with whole microseconds, finite numbers, no bar twice."""

    frame: pd.DataFrame
    source: str
    feed: str
    adjustment: str


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
    part = BarPart(frame, source, feed, adjustment)
    return upsert_parts(db, market, interval, (part,), at=at, session_zone=session_zone)


def upsert_parts(
    db: Database,
    market: str,
    interval: str,
    parts: Sequence[BarPart],
    *,
    at: datetime,
    session_zone: str = "UTC",
    prefer: Prefer | None = None,
) -> BarChange:
    """`upsert_bars` for bars of several origins, all or nothing; `prefer` says which origin a bar is kept of.

    Raises:
        ValueError: a frame is not as described; nothing is stored.
    """
    wanted = [(part, bar_rows(part.frame)) for part in parts if not part.frame.empty]
    if not wanted:
        return BarChange(0, 0, 0, ())
    ensure_months(db, sorted({month for part, _ in wanted for month in _months(part.frame)}))
    changes = []
    with db.arrow() as connection, connection.cursor() as cursor:
        lock(cursor, f"bars/{market}/{interval}")
        for part, staged in wanted:
            changes.append(_write(cursor, (market, interval), part, staged, as_utc(at), session_zone, prefer))
            run(cursor, "DROP TABLE staged, different")
    return BarChange(
        sum(change.inserted for change in changes),
        sum(change.changed for change in changes),
        sum(change.unchanged for change in changes),
        tuple(sorted({session for change in changes for session in change.sessions})),
        kept=sum(change.kept for change in changes),
    )


def _write(
    cursor: Cursor,
    where: tuple[str, str],
    part: BarPart,
    staged: pa.Table,
    at: datetime,
    session_zone: str,
    prefer: Prefer | None,
) -> BarChange:
    """Write one part under the lock of its market and interval (`where`); leaves the tables staged and different."""
    span, origin = _span(part.frame), (part.source, part.feed, part.adjustment)
    stage(cursor, "staged", _STAGED, staged)
    columns = f"{_STAGED}, known bool, at timestamptz" + (", origin text, same bool" if prefer else "")
    run(cursor, f"CREATE TEMP TABLE different ({columns}) ON COMMIT DROP")
    kept = 0
    if prefer is None:
        run(cursor, _DIFFERENT, (*where, at, *span))
    else:
        run(cursor, _DIFFERENT_BY_ORIGIN, (*where, at, *span, *origin))
        kept = _keep_preferred(cursor, origin, prefer)
    known, new, sessions = _summary(cursor, session_zone)
    if known or new:
        note_touched(cursor, *where, session_zone, deleted=False)
    if known:
        _keep_old(cursor, known, (*where, "changed", *span))
        run(cursor, _UPDATE, (*where, *origin, *span))
    if new:
        run(cursor, _AFTER_DELETION, (*where, *span))
        run(cursor, _INSERT, (*where, *origin))
    return BarChange(new, known, len(part.frame) - known - new - kept, sessions, kept=kept)


def _keep_preferred(cursor: Cursor, given: Origin, prefer: Prefer) -> int:
    """Take the bars that stay as they are out of `different`; returns how many of them have other numbers."""
    kept = 0
    origins = query(cursor, "SELECT DISTINCT origin FROM different WHERE known").column(0).to_pylist()
    for key in origins:
        source, feed, adjustment = key.split("\x1f")
        choice = prefer((source, feed, adjustment), given)
        if choice != "given":
            kept += query(cursor, _KEEP_STORED, (key, choice == "stored")).column(0)[0].as_py()
    return kept


def delete_bars(
    db: Database,
    market: str,
    interval: str,
    keys: pd.DataFrame,
    *,
    at: datetime,
    origin: Origin | None = None,
    session_zone: str = "UTC",
) -> BarChange:
    """Remove bars that the venue has withdrawn; their rows go to `bar_revisions` as `deleted`. Absent ones are ignored.

    `keys` has `symbol` and `ts`; `at` (aware) is when the venue was seen not to have them any more. With `origin` only
    bars that are still of it are removed: somebody may have stored another one since `keys` were read.
    """
    if keys.empty:
        return BarChange(0, 0, 0, ())
    first, last = _span(keys)
    staged = bar_rows(keys.loc[:, ["symbol", "ts"]].assign(**dict.fromkeys(BAR_VALUES, 0.0)))
    with db.arrow() as connection, connection.cursor() as cursor:
        lock(cursor, f"bars/{market}/{interval}")
        stage(cursor, "staged", _STAGED, staged)
        run(cursor, f"CREATE TEMP TABLE different ({_STAGED}, known bool, at timestamptz) ON COMMIT DROP")
        found = _DIFFERENT.replace("LEFT JOIN", "JOIN").split("WHERE b.ts IS NULL", maxsplit=1)[0]
        if origin is not None:
            found += "WHERE (b.source, b.feed, b.adjustment) = ($6, $7, $8)"
        run(cursor, found, (market, interval, as_utc(at), first, last, *(origin or ())))
        deleted, _, sessions = _summary(cursor, session_zone)
        _keep_old(cursor, deleted, (market, interval, "deleted", first, last))
        run(cursor, _DELETE, (market, interval, first, last))
        note_touched(cursor, market, interval, session_zone, deleted=True)
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
