"""What was fetched of each session: bars expected, there, or without a trade; judging it belongs to checks."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, columns_of, records, select_list
from quant_pipeline.storage.staging import lock, run, stage
from quant_pipeline.storage.touched import note_facts

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quant_pipeline.storage.database import Database

_STAGED = """
market text, symbol text, interval text, session date, expected int, present int, no_trade int,
first_ts timestamptz, last_ts timestamptz, source text, feed text, adjustment text, status text, checked_at timestamptz,
fetched_to timestamptz
"""
_KEY = ("market", "interval", "session", "symbol")
# What the venue was asked for stays asked for, whoever looks next.
_MERGED = {"fetched_to": "greatest(coverage.fetched_to, excluded.fetched_to)"}
# Features mix no volumes of two feeds: what names another feed than before for bars that are there is told.
_OTHER_FEED = """
SELECT s.market, s.session, s.symbol FROM staged s
LEFT JOIN coverage c
  ON c.market = s.market AND c.interval = s.interval AND c.session = s.session AND c.symbol = s.symbol
WHERE coalesce(c.checked_at <= s.checked_at, true)
  AND (CASE WHEN c.present > 0 THEN c.feed END) IS DISTINCT FROM (CASE WHEN s.present > 0 THEN s.feed END)
"""
# A session counts as settled by the base bars where there are any, else by any interval that explains all of it.
_OPEN = """
SELECT session, symbol
FROM unnest(CAST(:sessions AS date[])) AS session, unnest(CAST(:symbols AS text[])) AS symbol
WHERE NOT EXISTS (
    SELECT FROM coverage c WHERE c.market = :market AND c.session = session.session AND c.symbol = symbol.symbol
      AND c.interval = ANY(CAST(:intervals AS text[])) AND c.status = 'complete'
) OR EXISTS (
    SELECT FROM coverage c WHERE c.market = :market AND c.session = session.session AND c.symbol = symbol.symbol
      AND c.interval = :base AND c.present > 0 AND c.status <> 'complete'
)
ORDER BY session, symbol
"""
_FIRST = """
SELECT min(session) FROM coverage WHERE market = :market AND session >= :since AND symbol = ANY(CAST(:symbols AS text[]))
"""


@dataclass(frozen=True, slots=True)
class Coverage:
    """One symbol's session at one interval, as last checked. Times are aware; `expected` counts a full session.

    The venue was asked for the session from its beginning up to `fetched_to` without a gap: a slot that is over by
    then and has no bar had no trade (`no_trade` counts them). A later one is not fetched yet, or, where the status is
    `partial` (an import, which cannot tell an absent trade from a lost page), unknown. None: the venue was never asked.
    """

    market: str
    symbol: str
    interval: str
    session: date
    expected: int
    present: int
    no_trade: int
    first_ts: datetime | None
    last_ts: datetime | None
    source: str
    feed: str
    adjustment: str
    status: str
    checked_at: datetime
    fetched_to: datetime | None = None


def record_coverage(db: Database, rows: Iterable[Coverage]) -> int:
    """Store the rows, each replacing an earlier check's row, never a later one's; returns how many were given.

    Another feed of bars that are there is noted in `bars_touched`.
    """
    given = {(row.market, row.interval, row.session, row.symbol): row for row in rows}
    if not given:
        return 0
    names = columns_of(Coverage)
    replaced = ", ".join(f"{name} = {_MERGED.get(name, f'excluded.{name}')}" for name in names if name not in _KEY)
    with db.arrow() as connection, connection.cursor() as cursor:
        for market in sorted({row.market for row in given.values()}):
            lock(cursor, f"coverage/{market}")
        stage(cursor, "staged", _STAGED, _arrow([given[key] for key in sorted(given)]))
        note_facts(cursor, _OTHER_FEED)
        run(
            cursor,
            f"INSERT INTO coverage ({', '.join(names)}) SELECT {', '.join(names)} FROM staged"
            f" ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {replaced}"
            " WHERE coverage.checked_at <= excluded.checked_at",
        )
    return len(given)


def read_coverage(
    db: Database,
    market: str,
    symbols: Sequence[str] | None,
    start: date,
    end: date,
    *,
    interval: str | None = None,
) -> tuple[Coverage, ...]:
    """Rows of the sessions `start` to `end` (both included), by (session, symbol, interval); None means all."""
    sql = f"SELECT {select_list(Coverage)} FROM coverage WHERE market = :market AND session BETWEEN :start AND :end"
    if symbols is not None:
        sql += " AND symbol = ANY(:symbols)"
    if interval is not None:
        sql += " AND interval = :interval"
    parameters = {
        "market": market,
        "start": start,
        "end": end,
        "symbols": list(symbols) if symbols is not None else None,
        "interval": interval,
    }
    with db.begin() as connection:
        return records(connection, Coverage, f"{sql} ORDER BY session, symbol, interval", parameters)


def open_sessions(
    db: Database, market: str, symbols: Sequence[str], sessions: Sequence[date], *, intervals: Sequence[str]
) -> tuple[tuple[date, str], ...]:
    """The (session, symbol) pairs that are not completely explained: never asked for, half fetched, or a file's holes.

    `intervals` are those that decisions are made from, the preferred one first.
    """
    parameters = {
        "market": market,
        "symbols": list(symbols),
        "sessions": list(sessions),
        "intervals": list(intervals),
        "base": intervals[0],
    }
    with db.begin() as connection:
        return tuple((row.session, row.symbol) for row in connection.execute(text(_OPEN), parameters))


def first_covered(db: Database, market: str, symbols: Sequence[str], since: date) -> date | None:
    """The first session from `since` on of which anything is known, or None."""
    with db.begin() as connection:
        found: date | None = connection.execute(
            text(_FIRST), {"market": market, "symbols": list(symbols), "since": since}
        ).scalar_one_or_none()
        return found


def forget_coverage(db: Database, market: str, symbol: str, interval: str, *, before: date) -> int:
    """Remove the rows of a symbol's sessions before `before`, which turned out not to be its own; returns how many."""
    sql = "DELETE FROM coverage WHERE market = :market AND symbol = :symbol AND interval = :interval AND session < :before"
    parameters = {"market": market, "symbol": symbol, "interval": interval, "before": before}
    with db.begin() as connection:
        return connection.execute(text(sql), parameters).rowcount


def _arrow(rows: list[Coverage]) -> object:
    import pyarrow as pa

    stamp = pa.timestamp("us", "UTC")
    types = {"session": pa.date32()} | dict.fromkeys(("first_ts", "last_ts", "checked_at", "fetched_to"), stamp)
    types |= dict.fromkeys(("expected", "present", "no_trade"), pa.int32())
    columns = {}
    for name in columns_of(Coverage):
        values = [getattr(row, name) for row in rows]
        if types.get(name) == stamp:
            values = [as_utc(value, name) if value is not None else None for value in values]
        columns[name] = pa.array(values, types.get(name, pa.string()))
    return pa.table(columns)
