"""Reading stored bars: a span, the last ones before a time, as they were known at a time, and what is there."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from quant_pipeline.storage.sql import as_utc
from quant_pipeline.storage.staging import frame_of, query

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    import pyarrow as pa

    from quant_pipeline.storage.database import Database

_COLUMNS = "symbol, ts, open, high, low, close, volume"

_ORIGIN = ("source", "feed", "adjustment")
_WITH_ORIGIN = f"{_COLUMNS}, {', '.join(_ORIGIN)}"

_NOW = """
SELECT {columns} FROM bars
WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4
"""

# At most one row of a bar was in force at a time: spans [fetched_at, superseded_at) do not overlap.
_AS_OF = """
SELECT {columns} FROM (
    SELECT {columns} FROM bars
    WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4 AND fetched_at <= $5
    UNION ALL
    SELECT {columns} FROM bar_revisions
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

_LAST_AS_OF = f"""
SELECT {_COLUMNS} FROM unnest($4::text[]) AS wanted (name), LATERAL (
    (SELECT {_COLUMNS} FROM bars
     WHERE market = $1 AND interval = $2 AND symbol = wanted.name AND ts < $3 AND fetched_at <= $6
     ORDER BY ts DESC LIMIT $5)
    UNION ALL
    (SELECT {_COLUMNS} FROM bar_revisions
     WHERE market = $1 AND interval = $2 AND symbol = wanted.name AND ts < $3 AND fetched_at <= $6 AND superseded_at > $6
     ORDER BY ts DESC LIMIT $5)
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
    with_origin: bool = False,
) -> pd.DataFrame:
    """The bar frame of `symbols` (None: all of the market) with `start <= ts < end`, aware times.

    `symbol` holds Python strings, `ts` is datetime64[ns, UTC], numbers are the doubles that were stored.

    With `as_of` the bars are those that were stored at that time, restatements and deletions undone. With `with_origin`
    the columns `source`, `feed` and `adjustment` stand behind those of a bar frame.
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
        columns = _WITH_ORIGIN if with_origin else _COLUMNS
        return frame_of(query(cursor, f"{sql.format(columns=columns)} ORDER BY symbol, ts", parameters))


def last_bars(
    db: Database,
    market: str,
    interval: str,
    symbols: Sequence[str],
    count: int,
    before: datetime,
    *,
    as_of: datetime | None = None,
) -> pd.DataFrame:
    """The bar frame of the last `count` bars of each symbol with `ts < before` (aware), with `as_of` as known then."""
    parameters: list[Any] = [market, interval, as_utc(before, "before"), list(symbols), count]
    sql = _LAST
    if as_of is not None:
        sql = _LAST_AS_OF
        parameters.append(as_utc(as_of, "as_of"))
    with db.arrow() as connection, connection.cursor() as cursor:
        return frame_of(query(cursor, sql, parameters))


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


def session_bars(
    db: Database, market: str, interval: str, symbols: Sequence[str], start: datetime, end: datetime
) -> pa.Table:
    """One row for each symbol and UTC date with bars from `start` to `end` (aware, exclusive), sorted.

    Columns `symbol`, `session` (a date), `ts` (the list of bar starts), `source`, `feed`, `adjustment` (several ones
    joined by `+`, sorted), and `fetched_at`, when the newest of those bars became known.
    """
    each = ", ".join(f"string_agg(DISTINCT {name}, '+' ORDER BY {name}) AS {name}" for name in _ORIGIN)
    sql = (
        "SELECT symbol, (ts AT TIME ZONE 'UTC')::date AS session, array_agg(ts ORDER BY ts) AS ts,"
        f" {each}, max(fetched_at) AS fetched_at FROM bars"
        " WHERE market = $1 AND interval = $2 AND ts >= $3 AND ts < $4 AND symbol = ANY($5::text[])"
        " GROUP BY 1, 2 ORDER BY 1, 2"
    )
    with db.arrow() as connection, connection.cursor() as cursor:
        parameters = (market, interval, as_utc(start, "start"), as_utc(end, "end"), list(symbols))
        return query(cursor, sql, parameters)


def adjustments_of(db: Database, market: str, interval: str, symbols: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """How the stored bars of each symbol came (`raw`, `split`, ...), sorted; symbols without bars are left out."""
    sql = (
        "SELECT symbol, array_agg(DISTINCT adjustment ORDER BY adjustment) AS found FROM bars"
        " WHERE market = $1 AND interval = $2 AND symbol = ANY($3::text[]) GROUP BY symbol ORDER BY symbol"
    )
    with db.arrow() as connection, connection.cursor() as cursor:
        rows = query(cursor, sql, (market, interval, list(symbols))).to_pylist()
    return {row["symbol"]: tuple(row["found"]) for row in rows}


def known_span(
    db: Database, market: str, interval: str, symbols: Sequence[str] | None
) -> tuple[datetime, datetime] | None:
    """First and last bar start that was ever stored (also of bars deleted since) of the symbols (None: all), or None."""
    wanted = "WHERE market = $1 AND interval = $2" + ("" if symbols is None else " AND symbol = ANY($3::text[])")
    sql = (
        f"SELECT min(ts), max(ts) FROM (SELECT min(ts) AS ts FROM bars {wanted} UNION ALL SELECT max(ts) FROM bars {wanted}"
        f" UNION ALL SELECT min(ts) FROM bar_revisions {wanted} UNION ALL SELECT max(ts) FROM bar_revisions {wanted}) AS e"
    )
    with db.arrow() as connection, connection.cursor() as cursor:
        first, last = query(cursor, sql, (market, interval, *([] if symbols is None else [list(symbols)]))).columns
    return (first[0].as_py(), last[0].as_py()) if first[0].as_py() is not None else None


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
