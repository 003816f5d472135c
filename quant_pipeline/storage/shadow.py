"""The shadow book's state at the end of each session, as bytes that the kernel made and understands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quant_pipeline.storage.database import Database

_COLUMNS = "market, session, state, content_hash"


@dataclass(frozen=True, slots=True)
class ShadowState:
    """The shadow book of a market after a session; the caller made the hash."""

    market: str
    session: date
    state: bytes
    content_hash: str


def put_shadow_state(db: Database, market: str, session: date, state: bytes, content_hash: str) -> bool:
    """Store the state after a session, replacing an older one; returns whether its hash is new."""
    sql = (
        f"INSERT INTO shadow_states ({_COLUMNS}) VALUES (:market, :session, :state, :hash)"
        " ON CONFLICT (market, session) DO UPDATE SET state = excluded.state, content_hash = excluded.content_hash,"
        " updated_at = now() WHERE shadow_states.content_hash <> excluded.content_hash RETURNING market"
    )
    values = {"market": market, "session": session, "state": state, "hash": content_hash}
    with db.begin() as connection:
        return connection.execute(text(sql), values).first() is not None


def get_shadow_state(db: Database, market: str, session: date) -> ShadowState | None:
    """The state after exactly that session, or None."""
    return _first(db, "session = :session", market, session)


def last_shadow_state(db: Database, market: str, before: date) -> ShadowState | None:
    """The state after the last stored session before `before`, or None."""
    return _first(db, "session < :session", market, before)


def _first(db: Database, where: str, market: str, session: date) -> ShadowState | None:
    sql = f"SELECT {_COLUMNS} FROM shadow_states WHERE market = :market AND {where} ORDER BY session DESC LIMIT 1"
    with db.begin() as connection:
        row = connection.execute(text(sql), {"market": market, "session": session}).mappings().first()
    return _state(row) if row is not None else None


def _state(row: Mapping[Any, Any]) -> ShadowState:
    return ShadowState(row["market"], row["session"], bytes(row["state"]), row["content_hash"])
