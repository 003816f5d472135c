"""Notifications on their way out: kept until sent, claimed by one sender at a time, never lost or enqueued twice."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, canonical_json, records, select_list

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class Notification:
    """One message to people. `key` says what happened, so that it is told once; `payload` is what the channel shows."""

    id: int
    key: str
    kind: str
    market: str
    payload: Mapping[str, Any]
    created_at: datetime
    attempts: int
    last_error: str


def enqueue(
    connection: Connection, key: str, kind: str, payload: Mapping[str, Any], *, market: str, at: datetime
) -> bool:
    """Add a message in the caller's transaction, so that it exists exactly if what it tells happened.

    Returns False, and adds nothing, if `key` was enqueued before, sent or not.
    """
    sql = (
        "INSERT INTO outbox (key, kind, market, payload, created_at, due_at)"
        " VALUES (:key, :kind, :market, CAST(:payload AS jsonb), :at, :at) ON CONFLICT (key) DO NOTHING RETURNING id"
    )
    values = {"key": key, "kind": kind, "market": market, "payload": canonical_json(payload), "at": as_utc(at)}
    return connection.execute(text(sql), values).first() is not None


def claim(
    db: Database, at: datetime, *, limit: int = 20, lease: timedelta = timedelta(minutes=2)
) -> tuple[Notification, ...]:
    """Take due messages to send, oldest first. A sender that dies gives them back when the lease ends."""
    sql = (
        "UPDATE outbox SET due_at = :until, attempts = attempts + 1 WHERE id IN ("
        " SELECT id FROM outbox WHERE sent_at IS NULL AND due_at <= :at"
        " ORDER BY due_at, id LIMIT :limit FOR UPDATE SKIP LOCKED)"
        f" RETURNING {select_list(Notification)}"
    )
    values = {"at": as_utc(at), "until": as_utc(at) + lease, "limit": limit}
    with db.begin() as connection:
        claimed = records(connection, Notification, sql, values)
    return tuple(sorted(claimed, key=lambda message: message.id))


def mark_sent(db: Database, notification_id: int, at: datetime) -> None:
    """Note that a claimed message reached its channel."""
    with db.begin() as connection:
        sql = text("UPDATE outbox SET sent_at = :at, last_error = '' WHERE id = :id AND sent_at IS NULL")
        connection.execute(sql, {"id": notification_id, "at": as_utc(at)})


def mark_failed(db: Database, notification_id: int, error: str, *, retry_at: datetime) -> None:
    """Note why a claimed message could not be sent, and when to try again."""
    with db.begin() as connection:
        sql = text("UPDATE outbox SET due_at = :due, last_error = :error WHERE id = :id AND sent_at IS NULL")
        connection.execute(sql, {"id": notification_id, "due": as_utc(retry_at, "retry_at"), "error": error})


def waiting(db: Database) -> int:
    """How many messages were not sent yet."""
    with db.begin() as connection:
        count: int = connection.execute(text("SELECT count(*) FROM outbox WHERE sent_at IS NULL")).scalar_one()
    return count
