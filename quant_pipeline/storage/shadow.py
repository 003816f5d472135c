"""The shadow book's state at the end of each session, as bytes that the kernel made and understands."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

_COLUMNS = "market, session, state, content_hash"


def put_shadow_state(db: Database, market: str, session: date, state: bytes, content_hash: str) -> bool:
    """Store the state after a session, replacing an older one; returns whether its hash (the caller's) is new."""
    sql = (
        f"INSERT INTO shadow_states ({_COLUMNS}) VALUES (:market, :session, :state, :hash)"
        " ON CONFLICT (market, session) DO UPDATE SET state = excluded.state, content_hash = excluded.content_hash,"
        " updated_at = now() WHERE shadow_states.content_hash <> excluded.content_hash RETURNING market"
    )
    values = {"market": market, "session": session, "state": state, "hash": content_hash}
    with db.begin() as connection:
        return connection.execute(text(sql), values).first() is not None


def get_shadow_state(db: Database, market: str, session: date) -> bytes | None:
    """The state after exactly that session, or None."""
    sql = "SELECT state FROM shadow_states WHERE market = :market AND session = :session"
    with db.begin() as connection:
        state = connection.execute(text(sql), {"market": market, "session": session}).scalar_one_or_none()
    return bytes(state) if state is not None else None


def last_shadow_session(db: Database, market: str, before: date) -> date | None:
    """The newest session earlier than `before` that has a state, or None."""
    sql = "SELECT max(session) FROM shadow_states WHERE market = :market AND session < :before"
    with db.begin() as connection:
        found: date | None = connection.execute(text(sql), {"market": market, "before": before}).scalar_one_or_none()
    return found


def shadow_state_hashes(db: Database, market: str, start: date, end: date) -> dict[date, str]:
    """The hash of the state after each stored session from `start` to `end` (both included)."""
    sql = (
        "SELECT session, content_hash FROM shadow_states"
        " WHERE market = :market AND session BETWEEN :start AND :end ORDER BY session"
    )
    with db.begin() as connection:
        rows = connection.execute(text(sql), {"market": market, "start": start, "end": end}).all()
    return {row.session: row.content_hash for row in rows}
