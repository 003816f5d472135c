"""What rolling the shadow book leaves behind, written for all sessions together: states and equity. Reading is elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.sql import as_utc, finite

_STATE = """
    INSERT INTO shadow_states (market, session, state, content_hash)
    VALUES (:market, :session, :state, :content_hash)
    ON CONFLICT (market, session) DO UPDATE
    SET state = excluded.state, content_hash = excluded.content_hash, updated_at = now()
    WHERE shadow_states.content_hash IS DISTINCT FROM excluded.content_hash
"""
_EQUITY = """
    INSERT INTO equity (market, book, at, session, cash, positions_value, equity)
    VALUES (:market, :book, :at, :session, :cash, :positions_value, :equity)
    ON CONFLICT (market, book, at) DO UPDATE
    SET session = excluded.session, cash = excluded.cash, positions_value = excluded.positions_value,
        equity = excluded.equity
"""


@dataclass(frozen=True, slots=True)
class RolledEquity:
    """Equity of the shadow book at the close of a session's last bar."""

    at: datetime
    cash: Decimal
    equity: Decimal


@dataclass(frozen=True, slots=True)
class RolledState:
    """One session of the shadow book: its state afterwards, and its equity unless no bar has closed yet."""

    session: date
    state: bytes
    content_hash: str
    equity: RolledEquity | None


def put_rolled(db: Database, market: str, book: str, rolled: Sequence[RolledState]) -> None:
    """Store the states and the equity of these sessions, all or none; what is there already is replaced."""
    states = [
        {"market": market, "session": one.session, "state": one.state, "content_hash": one.content_hash}
        for one in rolled
    ]
    equity = [
        {
            "market": market,
            "book": book,
            "at": as_utc(one.equity.at, "at"),
            "session": one.session,
            "cash": finite(one.equity.cash, "cash"),
            "positions_value": finite(one.equity.equity - one.equity.cash, "positions_value"),
            "equity": finite(one.equity.equity, "equity"),
        }
        for one in rolled
        if one.equity is not None
    ]
    with db.begin() as connection:
        if states:
            connection.execute(text(_STATE), states)
        if equity:
            connection.execute(text(_EQUITY), equity)
