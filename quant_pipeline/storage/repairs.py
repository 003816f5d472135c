"""Tries to fill the holes of sessions: how many, when, and what came of the last one. Deciding on one belongs to steps."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, records, select_list

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

Hole = tuple[date, str, str]
"""(session, symbol, interval)."""

_TRIED = """
INSERT INTO bar_repairs (market, session, symbol, interval, tries, first_try, last_try, reason)
VALUES (:market, :session, :symbol, :interval, 1, :at, :at, :reason)
ON CONFLICT (market, session, symbol, interval) DO UPDATE
SET tries = bar_repairs.tries + 1, last_try = excluded.last_try, reason = excluded.reason
"""
_SAID = """
UPDATE bar_repairs SET reason = :reason
WHERE market = :market AND session = :session AND symbol = :symbol AND interval = :interval
"""
_DONE = """
DELETE FROM bar_repairs
WHERE market = :market AND session = :session AND symbol = :symbol AND interval = :interval
"""


@dataclass(frozen=True, slots=True)
class BarRepair:
    """The tries so far on a hole that is still there. Times are aware; `reason` is why the last try did not fill it."""

    market: str
    session: date
    symbol: str
    interval: str
    tries: int
    first_try: datetime
    last_try: datetime
    reason: str


def begin_tries(db: Database, market: str, holes: Iterable[Hole], *, at: datetime, reason: str) -> None:
    """Count a try on each hole before the venue is asked, so that one that kills its process counts too."""
    _each(db, _TRIED, market, holes, at=as_utc(at), reason=reason)


def note_reason(db: Database, market: str, holes: Iterable[Hole], reason: str) -> None:
    """Say why the last try did not fill these holes."""
    _each(db, _SAID, market, holes, reason=reason)


def forget_tries(db: Database, market: str, holes: Iterable[Hole]) -> None:
    """Drop the tries of holes that are filled or explained, or that shall be tried again from the start."""
    _each(db, _DONE, market, holes)


def read_repairs(db: Database, market: str, start: date, end: date) -> tuple[BarRepair, ...]:
    """The tries on sessions `start` to `end`, by (session, symbol, interval)."""
    sql = (
        f"SELECT {select_list(BarRepair)} FROM bar_repairs WHERE market = :market AND session BETWEEN :start AND :end"
        " ORDER BY session, symbol, interval"
    )
    with db.begin() as connection:
        return records(connection, BarRepair, sql, {"market": market, "start": start, "end": end})


def _each(db: Database, sql: str, market: str, holes: Iterable[Hole], **more: object) -> None:
    rows = [{"market": market, "session": s, "symbol": y, "interval": i, **more} for s, y, i in holes]
    if rows:
        with db.begin() as connection:
            connection.execute(text(sql), rows)
