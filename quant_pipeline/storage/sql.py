"""Small helpers for writing SQL by hand: column lists from dataclasses, rows to values, UTC, JSON; no table."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from decimal import Decimal

    from _typeshed import DataclassInstance
    from sqlalchemy import Connection


def columns_of(record: type[Any]) -> tuple[str, ...]:
    """Field names of a dataclass, which are its table's column names."""
    return tuple(field.name for field in dataclasses.fields(record))


def select_list(record: type[Any], alias: str = "") -> str:
    """The fields of a dataclass as a SELECT list, each with `alias.` in front if one is given."""
    prefix = f"{alias}." if alias else ""
    return ", ".join(prefix + name for name in columns_of(record))


def values_of(record: DataclassInstance) -> dict[str, Any]:
    """A dataclass value as statement parameters; mappings become JSON text, datetimes are checked to be aware."""
    return {name: _parameter(getattr(record, name), name) for name in columns_of(type(record))}


def insert_statement(table: str, columns: Sequence[str], *, conflict: str = "", returning: str = "") -> str:
    """An INSERT of named parameters, with an optional ON CONFLICT clause and RETURNING list."""
    sql = f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(':' + name for name in columns)})"
    if conflict:
        sql += f" ON CONFLICT {conflict}"
    return f"{sql} RETURNING {returning}" if returning else sql


def records[Record](
    connection: Connection, record: type[Record], sql: str, parameters: Mapping[str, Any] | None = None
) -> tuple[Record, ...]:
    """Run a query whose columns are named like the dataclass's fields and return its rows as values."""
    result = connection.execute(text(sql), parameters or {})
    if tuple(result.keys()) == columns_of(record):  # the usual case, and three times as fast for many rows
        return tuple(record(*row) for row in result)
    return tuple(record(**row) for row in result.mappings())


def as_utc(value: datetime, name: str = "at") -> datetime:
    """The same moment in UTC.

    Raises:
        ValueError: `value` carries no time zone, so that it could mean several moments.
    """
    if value.tzinfo is None:
        msg = f"{name}={value.isoformat()} has no time zone; pass an aware datetime, e.g. in datetime.UTC"
        raise ValueError(msg)
    return value.astimezone(UTC)


def finite(value: Decimal, name: str) -> Decimal:
    """The value itself.

    Raises:
        ValueError: it is NaN or infinite, which no ledger column accepts.
    """
    if not value.is_finite():
        msg = f"{name}={value} is not a finite number and cannot enter the ledger"
        raise ValueError(msg)
    return value


def canonical_json(content: Mapping[str, Any]) -> str:
    """JSON text that is equal for equal content: sorted keys, no blanks, no NaN.

    Raises:
        ValueError: a number is NaN or infinite.
        TypeError: a value is not a JSON type.
    """
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def text_hash(content: str) -> str:
    """SHA-256 of a text, in hexadecimal."""
    return hashlib.sha256(content.encode()).hexdigest()


def _parameter(value: object, name: str) -> object:
    if isinstance(value, datetime):
        return as_utc(value, name)
    if isinstance(value, Mapping):
        return canonical_json(value)
    return value
