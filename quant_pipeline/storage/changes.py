"""Which sessions have bars that were touched after their data version was recorded; whether they differ is not said."""

from __future__ import annotations

from datetime import date

from sqlalchemy import text

from quant_pipeline.storage.database import Database

_TOUCHED = """
    SELECT DISTINCT c.session
    FROM coverage c
    LEFT JOIN data_versions v
      ON v.market = c.market AND v.step = :step AND v.session = c.session AND v.symbol = c.symbol AND v.is_current
    WHERE c.market = :market AND c.session >= :first AND c.present > 0
      AND (v.id IS NULL OR c.checked_at > v.created_at)
    ORDER BY c.session
"""
_LAST = "SELECT max(session) FROM lake_pointers WHERE market = :market AND step = :step"


def touched_sessions(db: Database, market: str, step: str, first: date) -> tuple[date, ...]:
    """Sessions from `first` on whose bars were fetched or imported after `step` was last recorded for them."""
    with db.begin() as connection:
        rows = connection.execute(text(_TOUCHED), {"market": market, "step": step, "first": first})
        return tuple(row[0] for row in rows)


def last_stored_session(db: Database, market: str, step: str) -> date | None:
    """The latest session for which `step` has stored a table, or None."""
    with db.begin() as connection:
        found: date | None = connection.execute(text(_LAST), {"market": market, "step": step}).scalar_one_or_none()
        return found
