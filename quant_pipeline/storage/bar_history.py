"""How far back a symbol's bars reach, from coverage alone: sessions with bars, and changes of feed.

Counting bars themselves would read all of them. What follows from the answers belongs to the steps.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.staging import query

# The last sessions before the span and all of the span, symbol by symbol out of one index.
_SESSIONS = """
SELECT wanted.symbol, found.session FROM unnest($1::text[]) AS wanted (symbol), LATERAL (
    (SELECT DISTINCT session FROM coverage
     WHERE market = $2 AND symbol = wanted.symbol AND present > 0 AND session < $4 AND interval = ANY($3::text[])
     ORDER BY session DESC LIMIT $6)
    UNION ALL
    (SELECT DISTINCT session FROM coverage
     WHERE market = $2 AND symbol = wanted.symbol AND present > 0 AND session BETWEEN $4 AND $5
       AND interval = ANY($3::text[]))
) AS found
ORDER BY wanted.symbol, found.session
"""

_FEEDS = """
SELECT symbol, session, before, feed FROM (
    SELECT symbol, session, feed, lag(feed) OVER (PARTITION BY symbol ORDER BY session) AS before FROM (
        SELECT DISTINCT ON (symbol, session) symbol, session, feed FROM coverage
        WHERE market = :market AND session BETWEEN :first AND :last AND present > 0
          AND symbol = ANY(CAST(:symbols AS text[])) AND interval = ANY(CAST(:intervals AS text[]))
        ORDER BY symbol, session, array_position(CAST(:intervals AS text[]), interval)
    ) AS used
) AS changes
WHERE before <> feed ORDER BY symbol, session
"""


@dataclass(frozen=True, slots=True)
class FeedChange:
    """A symbol whose bars come from another feed than before, from `session` on."""

    symbol: str
    session: date
    before: str
    feed: str


def bar_sessions(
    db: Database, market: str, intervals: Sequence[str], symbols: Sequence[str], first: date, last: date, *, before: int
) -> dict[str, list[date]]:
    """Sessions that have bars at one of `intervals`, ascending: those of `first` to `last` and up to `before` earlier.

    A symbol without any has an empty list.
    """
    with db.arrow() as connection, connection.cursor() as cursor:
        parameters = (list(symbols), market, list(intervals), first, last, before)
        rows = query(cursor, _SESSIONS, parameters)
    found: dict[str, list[date]] = {symbol: [] for symbol in symbols}
    for symbol, session in zip(rows["symbol"].to_pylist(), rows["session"].to_pylist(), strict=True):
        found[symbol].append(session)
    return found


def feed_changes(
    db: Database, market: str, intervals: Sequence[str], symbols: Sequence[str], first: date, last: date
) -> tuple[FeedChange, ...]:
    """Sessions of `first` to `last` whose bars are of another feed than the session with bars before, by symbol.

    Where a session has bars at several of `intervals`, the first of them that it has counts.
    """
    parameters = {
        "market": market,
        "symbols": list(symbols),
        "intervals": list(intervals),
        "first": first,
        "last": last,
    }
    with db.begin() as connection:
        rows = connection.execute(text(_FEEDS), parameters)
        return tuple(FeedChange(row.symbol, row.session, row.before, row.feed) for row in rows)
