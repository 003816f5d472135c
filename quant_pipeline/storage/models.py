"""Model versions, what happened to them, and which one may predict. Bytes are in the lake, comparing is MLflow's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import groupby, islice
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.hyperparameters import Hyperparameters, get_hyperparameters, put_hyperparameters
from quant_pipeline.storage.sql import as_utc, columns_of, insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

__all__ = [
    "SERVING",
    "Hyperparameters",
    "ModelEvent",
    "ModelVersion",
    "add_model_event",
    "add_model_version",
    "get_hyperparameters",
    "list_model_versions",
    "model_events",
    "model_version",
    "put_hyperparameters",
    "resolve_model",
    "resolve_models",
    "serving_versions",
    "set_mlflow_version",
]

SERVING = frozenset({"accepted", "promoted"})
"""Statuses in which a version may predict. Every event's name is the version's status from then on."""


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One trained ensemble: of what, on which sessions, for which sessions (`serves_from <= session < serves_to`).

    `month` is the first day of the month it was made for; `content_hash` names its bytes in the lake.
    """

    id: str
    market: str
    symbol: str
    month: date
    name: str
    content_hash: str
    params_hash: str
    trained_from: date
    trained_to: date
    serves_from: date
    serves_to: date
    metrics: Mapping[str, Any]
    status: str
    mlflow_version: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class ModelEvent:
    """Something that happened to a version: trained, accepted, refused, promoted, rolled back, retired."""

    model_version_id: str
    event: str
    at: datetime
    actor: str
    note: str


_FIXED = tuple(
    name for name in columns_of(ModelVersion) if name not in {"status", "mlflow_version", "metrics", "created_at"}
)

# The status of each version as of a time is its last event by then. Best first: the latest start of serving, and
# among equals the one most recently accepted or promoted.
_CANDIDATES = f"""
SELECT {select_list(ModelVersion, "m")}
FROM model_versions m
CROSS JOIN LATERAL (
    SELECT e.event, e.at, e.id FROM model_events e
    WHERE e.model_version_id = m.id AND e.at <= CAST(:known_at AS timestamptz)
    ORDER BY e.at DESC, e.id DESC LIMIT 1
) AS last
WHERE m.market = :market AND m.symbol = ANY(:symbols) AND m.serves_from <= :last AND m.serves_to > :first
  AND last.event = ANY(:serving) AND (CAST(:name AS text) IS NULL OR m.name = :name)
ORDER BY m.symbol, m.serves_from DESC, last.at DESC, last.id DESC
"""


def add_model_version(db: Database, version: ModelVersion, *, actor: str = "pipeline", note: str = "") -> bool:
    """Add a version with its first event (its `status`, at `created_at`); returns whether it is new.

    Raises:
        LedgerConflictError: the id is there with another content.
        ValueError: it would serve sessions that it was trained on.
    """
    if not version.trained_from <= version.trained_to < version.serves_from < version.serves_to:
        msg = (
            f"model {version.id} is trained on {version.trained_from} to {version.trained_to} and would serve "
            f"{version.serves_from} to {version.serves_to}; training must end before serving starts"
        )
        raise ValueError(msg)
    values = values_of(version)
    sql = insert_statement("model_versions", tuple(values), conflict="(id) DO NOTHING", returning="id")
    with db.begin() as connection:
        if connection.execute(text(sql), values).first() is None:
            _same_version(connection, version)
            return False
        _append(connection, ModelEvent(version.id, version.status, version.created_at, actor, note))
    return True


def add_model_event(db: Database, version_id: str, event: str, at: datetime, actor: str, note: str = "") -> None:
    """Append an event; its name is the version's status from then on.

    Raises:
        UnknownRecordError: there is no such version.
    """
    with db.begin() as connection:
        sql = "UPDATE model_versions SET status = :event WHERE id = :id RETURNING id"
        if connection.execute(text(sql), {"id": version_id, "event": event}).first() is None:
            raise UnknownRecordError(_absent(version_id))
        _append(connection, ModelEvent(version_id, event, at, actor, note))


def set_mlflow_version(db: Database, version_id: str, mlflow_version: str) -> None:
    """Note under which version number MLflow knows it.

    Raises:
        UnknownRecordError: there is no such version.
    """
    with db.begin() as connection:
        sql = "UPDATE model_versions SET mlflow_version = :number WHERE id = :id RETURNING id"
        if connection.execute(text(sql), {"id": version_id, "number": mlflow_version}).first() is None:
            raise UnknownRecordError(_absent(version_id))


def resolve_model(
    db: Database,
    market: str,
    symbol: str,
    serving: date,
    known_at: datetime | None = None,
    *,
    name: str | None = None,
) -> ModelVersion | None:
    """The version that predicts `symbol` in session `serving`, or None; `resolve_models` says which that is."""
    return resolve_models(db, market, [symbol], [serving], known_at, name=name).get((serving, symbol))


def resolve_models(
    db: Database,
    market: str,
    symbols: Sequence[str],
    servings: Sequence[date],
    known_at: datetime | None = None,
    *,
    name: str | None = None,
) -> dict[tuple[date, str], ModelVersion]:
    """The version that predicts each (session, symbol), where there is one.

    Only versions that serve the session count and whose last event, by `known_at` if given, is in `SERVING`. Of
    several, the one whose serving starts last; of those, the one accepted or promoted last, so that promoting an
    older version of the same start rolls back. `name` restricts it to one kind of model.
    """
    if not servings:
        return {}
    candidates = serving_versions(db, market, symbols, min(servings), max(servings), known_at, name=name)
    by_symbol = {symbol: list(group) for symbol, group in groupby(candidates, key=lambda version: version.symbol)}
    found: dict[tuple[date, str], ModelVersion] = {}
    for symbol, versions in by_symbol.items():
        # Versions start ever earlier, sessions too: those that start after a session are skipped once and for all.
        position = 0
        for serving in sorted(set(servings), reverse=True):
            while position < len(versions) and versions[position].serves_from > serving:
                position += 1
            best = next((one for one in islice(versions, position, None) if serving < one.serves_to), None)
            if best is not None:
                found[serving, symbol] = best
    return found


def serving_versions(
    db: Database,
    market: str,
    symbols: Sequence[str],
    first: date,
    last: date,
    known_at: datetime | None = None,
    *,
    name: str | None = None,
) -> tuple[ModelVersion, ...]:
    """All that may serve some session from `first` to `last`: by symbol, those that `resolve_models` prefers first."""
    parameters = {
        "market": market,
        "symbols": list(symbols),
        "first": first,
        "last": last,
        "known_at": as_utc(known_at, "known_at") if known_at is not None else "infinity",
        "serving": sorted(SERVING),
        "name": name,
    }
    with db.begin() as connection:
        return records(connection, ModelVersion, _CANDIDATES, parameters)


def model_version(db: Database, version_id: str) -> ModelVersion | None:
    """The version with that id, or None."""
    with db.begin() as connection:
        sql = f"SELECT {select_list(ModelVersion)} FROM model_versions WHERE id = :id"
        found = records(connection, ModelVersion, sql, {"id": version_id})
    return found[0] if found else None


def list_model_versions(
    db: Database, market: str, *, symbol: str | None = None, month: date | None = None, name: str | None = None
) -> tuple[ModelVersion, ...]:
    """Versions of a market, by (symbol, serving start, creation); None means all."""
    sql = (
        f"SELECT {select_list(ModelVersion)} FROM model_versions WHERE market = :market"
        + (" AND symbol = :symbol" if symbol is not None else "")
        + (" AND month = :month" if month is not None else "")
        + (" AND name = :name" if name is not None else "")
        + " ORDER BY symbol, serves_from, created_at, id"
    )
    parameters = {"market": market, "symbol": symbol, "month": month, "name": name}
    with db.begin() as connection:
        return records(connection, ModelVersion, sql, parameters)


def model_events(db: Database, version_id: str) -> tuple[ModelEvent, ...]:
    """What happened to a version, oldest first."""
    sql = f"SELECT {select_list(ModelEvent)} FROM model_events WHERE model_version_id = :id ORDER BY at, id"
    with db.begin() as connection:
        return records(connection, ModelEvent, sql, {"id": version_id})


def _append(connection: Connection, event: ModelEvent) -> None:
    values = values_of(event)
    connection.execute(text(insert_statement("model_events", tuple(values))), values)


def _same_version(connection: Connection, version: ModelVersion) -> None:
    sql = f"SELECT {select_list(ModelVersion)} FROM model_versions WHERE id = :id"
    stored = records(connection, ModelVersion, sql, {"id": version.id})[0]
    different = [name for name in _FIXED if getattr(stored, name) != getattr(version, name)]
    if different:
        msg = f"model version {version.id} is stored with another {', '.join(different)}; a new model needs a new id"
        raise LedgerConflictError(msg)


def _absent(version_id: str) -> str:
    return f"model version {version_id} is not stored; add it before recording events about it"
