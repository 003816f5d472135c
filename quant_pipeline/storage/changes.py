"""Small questions about what is stored: ends of history, last sessions, newest decisions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime

from sqlalchemy import text

from quant_pipeline.storage.database import Database

_NEWEST = """
    SELECT DISTINCT ON (symbol, bar_ts) symbol, bar_ts, version, id FROM decisions
    WHERE market = :market AND book = :book AND session BETWEEN :start AND :end
    ORDER BY symbol, bar_ts, version DESC, decided_at DESC, id
"""
_ENDS = """
    SELECT wanted.symbol,
        (SELECT ts FROM bars WHERE market = :market AND symbol = wanted.symbol AND interval = :interval
         ORDER BY ts LIMIT 1) AS first,
        (SELECT ts FROM bars WHERE market = :market AND symbol = wanted.symbol AND interval = :interval
         ORDER BY ts DESC LIMIT 1) AS last
    FROM unnest(CAST(:symbols AS text[])) AS wanted (symbol)
"""
_LAST = "SELECT max(session) FROM lake_pointers WHERE market = :market AND step = :step"


def last_stored_session(db: Database, market: str, step: str) -> date | None:
    """The latest session for which `step` has stored a table, or None."""
    with db.begin() as connection:
        found: date | None = connection.execute(text(_LAST), {"market": market, "step": step}).scalar_one_or_none()
        return found


def latest_decision_ids(
    db: Database, market: str, book: str, start: date, end: date
) -> dict[tuple[str, datetime], tuple[int, str]]:
    """(version, id) of the newest decision about each (symbol, bar start) of the sessions `start` to `end`."""
    with db.begin() as connection:
        rows = connection.execute(text(_NEWEST), {"market": market, "book": book, "start": start, "end": end})
        return {(row.symbol, row.bar_ts): (row.version, row.id) for row in rows}


def count_bars(db: Database, market: str) -> int:
    """How many bars of a market are stored. Counts them, so not for ticks."""
    with db.begin() as connection:
        found: int = connection.execute(
            text("SELECT count(*) FROM bars WHERE market = :market"), {"market": market}
        ).scalar_one()
        return found


def bar_ends(db: Database, market: str, interval: str, symbols: Sequence[str]) -> dict[str, tuple[datetime, datetime]]:
    """First and last bar start of each symbol that has bars; two index look-ups a symbol, whatever the history."""
    with db.begin() as connection:
        rows = connection.execute(text(_ENDS), {"market": market, "interval": interval, "symbols": list(symbols)})
        return {row.symbol: (row.first, row.last) for row in rows if row.first is not None}
