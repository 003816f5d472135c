"""What used the bytes that a restatement replaced: versions of partitions, models, decisions, orders. Reads only.

The links are what was stored when these things were made: a version's window of bars and its place in the order of
versions, the content hashes that a decision cites, the content of a model. Nothing is guessed from dates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import columns_of, records

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

# A version that was made before the new one of the bars, and not before the last restatement of the same session: that
# one's event has it.
_EVENTS = """
CREATE TEMP TABLE events ON COMMIT DROP AS
SELECT r.*, coalesce((
    SELECT max(p.new_version) FROM restatements p
    WHERE p.market = r.market AND p.symbol = r.symbol AND p.session = r.session AND p.new_version < r.new_version
), 0) AS since
FROM restatements r WHERE r.id = ANY(:ids)
"""
_PARTITIONS = """
CREATE TEMP TABLE used ON COMMIT DROP AS
SELECT e.id AS event, v.id AS version, v.step, v.session, v.symbol, v.content_hash, v.is_current
FROM events e JOIN data_versions v
  ON v.market = e.market AND v.symbol = e.symbol AND v.window_from <= e.session AND v.window_to >= e.session
 AND v.id >= e.since AND v.id < e.new_version AND v.created_at >= e.first_ts
WHERE v.step <> 'bars' OR v.session = e.session
"""
_MODELS = """
CREATE TEMP TABLE used_models ON COMMIT DROP AS
SELECT DISTINCT u.event, m.id, m.symbol, m.month, m.serves_from, m.serves_to, m.status, m.content_hash
FROM used u JOIN events e ON e.id = u.event
JOIN model_versions m ON m.market = e.market AND m.symbol = u.symbol AND m.content_hash = u.content_hash
WHERE u.step IN ('model', 'model_update')
"""
_DECISIONS = """
CREATE TEMP TABLE used_decisions ON COMMIT DROP AS
SELECT e.id AS event, d.id, d.book, d.symbol, d.session, d.bar_ts, d.origin, d.action, d.reason, d.model_version_id
FROM events e JOIN decisions d ON d.market = e.market AND d.session >= e.session
 AND d.bar_close > e.first_ts AND d.decided_at <= e.detected_at
WHERE d.symbol = e.symbol AND (
    EXISTS (SELECT 1 FROM used u WHERE u.event = e.id AND u.session = d.session AND u.symbol = d.symbol
            AND d.inputs ->> u.step = u.content_hash)
    OR EXISTS (SELECT 1 FROM used_models m WHERE m.event = e.id AND m.id = d.model_version_id))
"""
_ORDERS = """
SELECT d.event, o.client_id, o.book, o.symbol, o.side, o.state, o.filled_qty, o.planned_at, d.id AS decision_id
FROM used_decisions d JOIN intents i ON i.decision_id = d.id JOIN orders o ON o.intent_id = i.id
ORDER BY d.event, o.planned_at, o.client_id
"""


@dataclass(frozen=True, slots=True)
class UsedPartition:
    """A version of a step that was made from the old bytes; `is_current` until something else is made instead."""

    event: int
    step: str
    session: date
    symbol: str
    is_current: bool


@dataclass(frozen=True, slots=True)
class UsedModel:
    """A model version that learned from the old bytes."""

    event: int
    id: str
    symbol: str
    month: date
    serves_from: date
    serves_to: date
    status: str


@dataclass(frozen=True, slots=True)
class UsedDecision:
    """A decision that cites something made from the old bytes; `book` is `shadow` for what a backtest decided."""

    event: int
    id: str
    book: str
    symbol: str
    session: date
    bar_ts: datetime
    origin: str
    action: int
    reason: str


@dataclass(frozen=True, slots=True)
class UsedOrder:
    """An order of the broker's book that came of such a decision."""

    event: int
    client_id: str
    book: str
    symbol: str
    side: str
    state: str
    filled_qty: Decimal
    planned_at: datetime
    decision_id: str


@dataclass(frozen=True, slots=True)
class Usage:
    """All that used the old bytes of some events, each row with the id of its event."""

    partitions: tuple[UsedPartition, ...]
    models: tuple[UsedModel, ...]
    decisions: tuple[UsedDecision, ...]
    orders: tuple[UsedOrder, ...]


def bar_usage(db: Database, events: Sequence[int]) -> Usage:
    """What used the bytes that these restatements (their ids) replaced."""
    with db.begin() as connection:
        connection.execute(text(_EVENTS), {"ids": list(events)})
        for statement in (_PARTITIONS, "ANALYZE used", _MODELS, _DECISIONS):
            connection.execute(text(statement))
        return Usage(
            _rows(connection, UsedPartition, "used", "step, session, symbol, version"),
            _rows(connection, UsedModel, "used_models", "serves_from, id"),
            _rows(connection, UsedDecision, "used_decisions", "session, bar_ts, symbol, book, id"),
            records(connection, UsedOrder, _ORDERS),
        )


def _rows[Record](connection: Connection, record: type[Record], table: str, order: str) -> tuple[Record, ...]:
    names = columns_of(record)
    return records(connection, record, f"SELECT {', '.join(names)} FROM {table} ORDER BY event, {order}")
