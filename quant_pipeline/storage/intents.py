"""Intents: what decisions want done, with an expiry. Sending them belongs to the order protocol."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.core.values import Side
from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.sql import as_utc, columns_of, insert_statement, select_list, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database


class Leg(StrEnum):
    """Which part of the plan an intent is."""

    ENTRY = "entry"
    EXIT = "exit"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    REBALANCE_OUT = "rebalance_out"
    REBALANCE_IN = "rebalance_in"


class IntentStatus(StrEnum):
    """The life of an intent: `open` was not sent yet, `sent` has an order; the rest is over."""

    OPEN = "open"
    SENT = "sent"
    DONE = "done"
    EXPIRED = "expired"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_over(self) -> bool:
        """Whether nothing more will be done for the intent."""
        return self not in {IntentStatus.OPEN, IntentStatus.SENT}


@dataclass(frozen=True, slots=True)
class Intent:
    """What one decision wants done. Exactly one of `qty` (units) and `notional` (quote currency) is set.

    May be sent when `not_before <= now < expires_at` (aware), and not before the intent `depends_on` is done.
    """

    id: str
    decision_id: str
    market: str
    book: str
    symbol: str
    side: Side
    leg: Leg
    qty: Decimal | None
    notional: Decimal | None
    depends_on: str | None
    not_before: datetime
    expires_at: datetime
    status: IntentStatus
    reason: str
    created_at: datetime


_SELECT = f"SELECT {select_list(Intent)} FROM intents"
_FIXED = tuple(name for name in columns_of(Intent) if name not in {"status", "reason", "created_at"})


def add_intent(connection: Connection, intent: Intent) -> bool:
    """Add an intent in the caller's transaction; returns whether it is new. The same one again changes nothing.

    Raises:
        LedgerConflictError: the id is there with another content.
    """
    values = values_of(intent) | {"updated_at": as_utc(intent.created_at, "created_at")}
    sql = insert_statement("intents", tuple(values), conflict="(id) DO NOTHING", returning="id")
    if connection.execute(text(sql), values).first() is not None:
        return True
    stored = _one(connection, intent.id)
    different = [name for name in _FIXED if getattr(stored, name) != getattr(intent, name)]
    if different:
        msg = f"intent {intent.id} is in the ledger with another {', '.join(different)}; a new intent needs a new id"
        raise LedgerConflictError(msg)
    return False


def intent(db: Database, intent_id: str) -> Intent | None:
    """The intent with that id, or None."""
    with db.begin() as connection:
        row = connection.execute(text(f"{_SELECT} WHERE id = :id"), {"id": intent_id}).mappings().first()
    return _intent(row) if row is not None else None


def open_intents(db: Database, market: str, book: str, at: datetime) -> tuple[Intent, ...]:
    """Intents that may be sent at `at`: open, due, not expired; oldest first. `depends_on` is the caller's to check."""
    where = "market = :market AND book = :book AND status = 'open' AND not_before <= :at AND expires_at > :at"
    return _many(db, where, {"market": market, "book": book, "at": as_utc(at)})


def intents_between(db: Database, market: str, book: str, start: datetime, end: datetime) -> tuple[Intent, ...]:
    """Intents created at `start <= t < end`, oldest first."""
    where = "market = :market AND book = :book AND created_at >= :start AND created_at < :end"
    parameters = {"market": market, "book": book, "start": as_utc(start, "start"), "end": as_utc(end, "end")}
    return _many(db, where, parameters)


def set_intent_status(db: Database, intent_id: str, status: IntentStatus, *, at: datetime, reason: str = "") -> None:
    """Move an intent to another status; an empty `reason` keeps the one it has. The same status again is no error.

    Raises:
        UnknownRecordError: there is no such intent.
        LedgerConflictError: it is over and `status` is another one.
    """
    with db.begin() as connection:
        row = connection.execute(text(f"{_SELECT} WHERE id = :id FOR UPDATE"), {"id": intent_id}).mappings().first()
        if row is None:
            raise UnknownRecordError(_absent(intent_id))
        stored = _intent(row)
        if stored.status.is_over and stored.status is not IntentStatus(status):
            msg = f"intent {intent_id} is {stored.status}; it cannot become {status}"
            raise LedgerConflictError(msg)
        change_status(connection, intent_id, status, at=at, reason=reason)


def change_status(
    connection: Connection, intent_id: str, status: IntentStatus, *, at: datetime, reason: str = ""
) -> None:
    """Write a status that the caller has checked, in the caller's transaction."""
    connection.execute(
        text(
            "UPDATE intents SET status = :status, updated_at = :at,"
            " reason = CASE WHEN :reason = '' THEN reason ELSE :reason END WHERE id = :id"
        ),
        {"id": intent_id, "status": status, "at": as_utc(at), "reason": reason},
    )


def expire_intents(db: Database, market: str, book: str, at: datetime) -> tuple[Intent, ...]:
    """Mark open intents whose time is over as expired, and return them. Intents that were sent are left alone."""
    sql = (
        "UPDATE intents SET status = 'expired', updated_at = :at"
        " WHERE market = :market AND book = :book AND status = 'open' AND expires_at <= :at"
        f" RETURNING {select_list(Intent)}"
    )
    with db.begin() as connection:
        rows = connection.execute(text(sql), {"market": market, "book": book, "at": as_utc(at)}).mappings().all()
    return tuple(sorted((_intent(row) for row in rows), key=lambda one: (one.created_at, one.id)))


_SETTLE = f"""
UPDATE intents SET updated_at = :at, status = CASE
    WHEN outcome.filled > 0 THEN 'done' WHEN outcome.last_state = 'rejected' THEN 'rejected' ELSE 'cancelled' END
FROM (
    SELECT intent_id, sum(filled_qty) AS filled,
           (array_agg(state ORDER BY attempt DESC))[1] AS last_state,
           bool_and(state IN ('filled', 'canceled', 'expired', 'rejected')) AS over
    FROM orders WHERE market = :market AND book = :book GROUP BY intent_id
) AS outcome
WHERE outcome.intent_id = intents.id AND outcome.over
  AND intents.market = :market AND intents.book = :book AND intents.status = 'sent'
RETURNING {select_list(Intent, "intents")}
"""


def settle_intents(db: Database, market: str, book: str, at: datetime) -> tuple[Intent, ...]:
    """Close sent intents whose orders are all terminal, and return them.

    `done` if anything was filled, else `rejected` or `cancelled` by the last attempt. An intent that shall get
    another attempt must get it before this is called.
    """
    with db.begin() as connection:
        rows = connection.execute(text(_SETTLE), {"market": market, "book": book, "at": as_utc(at)}).mappings().all()
    return tuple(sorted((_intent(row) for row in rows), key=lambda one: (one.created_at, one.id)))


def _one(connection: Connection, intent_id: str) -> Intent:
    row = connection.execute(text(f"{_SELECT} WHERE id = :id"), {"id": intent_id}).mappings().first()
    if row is None:
        raise UnknownRecordError(_absent(intent_id))
    return _intent(row)


def _many(db: Database, where: str, parameters: dict[str, Any]) -> tuple[Intent, ...]:
    with db.begin() as connection:
        rows = connection.execute(text(f"{_SELECT} WHERE {where} ORDER BY created_at, id"), parameters).mappings()
        return tuple(_intent(row) for row in rows)


def _intent(row: Mapping[Any, Any]) -> Intent:
    values = dict(row)
    values |= {"side": Side(row["side"]), "leg": Leg(row["leg"]), "status": IntentStatus(row["status"])}
    return Intent(**values)


def _absent(intent_id: str) -> str:
    return f"intent {intent_id} is not in the ledger; add it before using it"
