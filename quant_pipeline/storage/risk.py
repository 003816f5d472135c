"""The risk state of a book and the events that led to it. What trips a halt is decided in core."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, columns_of, insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

_KEY = frozenset({"market", "book"})


@dataclass(frozen=True, slots=True)
class RiskState:
    """What the daily loss rule needs to survive a restart. Amounts in the market's currency, times aware.

    `day_flows` are deposits minus withdrawals since the day started; a halt lasts until `halted_until`.
    """

    market: str
    book: str
    session: date
    day_start_equity: Decimal
    day_flows: Decimal
    equity: Decimal
    tripped_at: datetime | None
    halted_until: datetime | None
    reason: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class RiskEvent:
    """Something that happened to a book's risk: a day that began, a halt, its end, a warning."""

    market: str
    book: str
    at: datetime
    kind: str
    level: str
    detail: Mapping[str, Any]


def risk_state(db: Database, market: str, book: str) -> RiskState | None:
    """The last state that was put, or None."""
    sql = f"SELECT {select_list(RiskState)} FROM risk_state WHERE market = :market AND book = :book"
    with db.begin() as connection:
        found = records(connection, RiskState, sql, {"market": market, "book": book})
    return found[0] if found else None


def put_risk_state(db: Database, state: RiskState, *, events: Sequence[RiskEvent] = ()) -> bool:
    """Store the state and append its events, together or not at all.

    Returns False and changes nothing if a later state is stored already, so that a straggler cannot lift a halt.
    """
    values = values_of(state)
    replaced = ", ".join(f"{name} = excluded.{name}" for name in columns_of(RiskState) if name not in _KEY)
    sql = insert_statement(
        "risk_state",
        tuple(values),
        conflict=f"(market, book) DO UPDATE SET {replaced} WHERE risk_state.updated_at <= excluded.updated_at",
        returning="market",
    )
    with db.begin() as connection:
        if connection.execute(text(sql), values).first() is None:
            return False
        for event in events:
            row = values_of(event)
            connection.execute(text(insert_statement("risk_events", tuple(row))), row)
    return True


def risk_events(db: Database, market: str, book: str, start: datetime, end: datetime) -> tuple[RiskEvent, ...]:
    """Events with `start <= at < end`, oldest first."""
    sql = (
        f"SELECT {select_list(RiskEvent)} FROM risk_events"
        " WHERE market = :market AND book = :book AND at >= :start AND at < :end ORDER BY at, id"
    )
    parameters = {"market": market, "book": book, "start": as_utc(start, "start"), "end": as_utc(end, "end")}
    with db.begin() as connection:
        return records(connection, RiskEvent, sql, parameters)
