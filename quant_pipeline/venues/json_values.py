"""Read single values out of JSON, strictly: a wrong type raises, nothing is guessed. Shapes belong to each venue."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation

type Json = Mapping[str, object]


def number(value: object) -> Decimal:
    """A finite price or quantity, from a string or a JSON number."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        msg = f"{value!r} is not a number"
        raise TypeError(msg)
    try:
        result = Decimal(str(value))
    except InvalidOperation:
        msg = f"{value!r} is not a number"
        raise ValueError(msg) from None
    if not result.is_finite():
        msg = f"{value!r} is not a finite number"
        raise ValueError(msg)
    return result


def text(value: object) -> str:
    """A non-empty string."""
    if not isinstance(value, str) or not value:
        msg = f"{value!r} is not a text"
        raise TypeError(msg)
    return value


def when(value: object) -> datetime:
    """An ISO 8601 time with its zone, in UTC; digits beyond microseconds are dropped."""
    at = datetime.fromisoformat(text(value))
    if at.tzinfo is None:
        msg = f"time {value!r} has no zone"
        raise ValueError(msg)
    return at.astimezone(UTC)


def mapping(value: object) -> Json:
    """A JSON object."""
    if not isinstance(value, dict):
        msg = f"expected a JSON object, got {type(value).__name__}"
        raise TypeError(msg)
    return value


def listing(value: object) -> list[Json]:
    """A JSON list of objects."""
    if not isinstance(value, list):
        msg = f"expected a JSON list, got {type(value).__name__}"
        raise TypeError(msg)
    return [mapping(item) for item in value]
