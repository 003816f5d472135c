"""Reading stored bars: a span, the last ones before a time, as they were known at a time, and what is there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from quant_pipeline.storage.sql import as_utc
from quant_pipeline.storage.staging import frame_of, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd

    from quant_pipeline.storage.database import Database

_COLUMNS = "symbol, ts, open, high, low, close, volume"

_NOW = f"""
SELECT {_COLUMNS} FROM bars
WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4
"""

# At most one row of a bar was in force at a time: spans [fetched_at, superseded_at) do not overlap.
_AS_OF = f"""
SELECT {_COLUMNS} FROM (
    SELECT {_COLUMNS} FROM bars
    WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4 AND fetched_at <= $5
    UNION ALL
    SELECT {_COLUMNS} FROM bar_revisions
    WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4 AND fetched_at <= $5 AND superseded_at > $5
) AS known
WHERE true
"""

_LAST = f"""
SELECT {_COLUMNS} FROM unnest($4::text[]) AS wanted (name), LATERAL (
    SELECT {_COLUMNS} FROM bars
    WHERE market = $1 AND interval = $2 AND symbol = wanted.name AND ts < $3
    ORDER BY ts DESC LIMIT $5
) AS bar
ORDER BY symbol, ts
"""


def read_bars(
    db: Database,
    market: str,
    interval: str,
    symbols: Sequence[str] | None,
    start: datetime,
    end: datetime,
    *,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """The bar frame of `symbols` (None: all of the market) with `start <= ts < end`, aware times.

    `symbol` holds Python strings, `ts` is datetime64[ns, UTC], numbers are the doubles that were stored.

    With `as_of` the bars are those that were stored at that time, restatements and deletions undone.
    """
    parameters: list[Any] = [market, interval, as_utc(start, "start"), as_utc(end, "end")]
    sql = _NOW
    if as_of is not None:
        sql = _AS_OF
        parameters.append(as_utc(as_of, "as_of"))
    if symbols is not None:
        parameters.append(list(symbols))
        sql += f" AND symbol = ANY(${len(parameters)}::text[])"
    with db.arrow() as connection, connection.cursor() as cursor:
        return frame_of(query(cursor, f"{sql} ORDER BY symbol, ts", parameters))


def last_bars(
    db: Database, market: str, interval: str, symbols: Sequence[str], count: int, before: datetime
) -> pd.DataFrame:
    """The bar frame of the last `count` bars of each symbol with `ts < before` (aware)."""
    with db.arrow() as connection, connection.cursor() as cursor:
        parameters = (market, interval, as_utc(before, "before"), list(symbols), count)
        return frame_of(query(cursor, _LAST, parameters))


_ADJUSTED = """
SELECT symbol, (ts AT TIME ZONE 'UTC')::date AS session, max(adjustment) AS adjustment,
       (max(fetched_at) AT TIME ZONE 'UTC')::date AS stored
FROM bars
WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4 AND symbol = ANY($5::text[])
GROUP BY symbol, session ORDER BY symbol, session
"""


def bar_adjustments(
    db: Database, market: str, interval: str, symbols: Sequence[str], start: datetime, end: datetime
) -> pd.DataFrame:
    """How the bars with `start <= ts < end` came: `symbol`, `session`, `adjustment`, and the day they were `stored`."""
    parameters = (market, interval, as_utc(start, "start"), as_utc(end, "end"), list(symbols))
    with db.arrow() as connection, connection.cursor() as cursor:
        return frame_of(query(cursor, _ADJUSTED, parameters))


def bar_span(db: Database, market: str, interval: str) -> pd.DataFrame:
    """One row a symbol, sorted: `symbol`, `first` and `last` bar start (UTC), `rows`. It counts: not for ticks."""
    with db.arrow() as connection, connection.cursor() as cursor:
        spans = query(
            cursor,
            "SELECT symbol, min(ts) AS first, max(ts) AS last, count(*) AS rows FROM bars"
            " WHERE market = $1 AND interval = $2 GROUP BY symbol ORDER BY symbol",
            (market, interval),
        )
    return frame_of(spans)
