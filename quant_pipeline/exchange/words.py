"""How numbers and times are written on the wire, for both dialects."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from zoneinfo import ZoneInfo

import numpy as np

from quant_pipeline.exchange.bars.columns import Ints

SEOUL = ZoneInfo("Asia/Seoul")
_MOST_DIGITS = 24
"""More digits than any price, quantity or amount has; within it Decimal's default precision is exact."""


def plain(number: Decimal) -> str:
    """A decimal without exponent and without trailing zeros."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text


def decimal_of(value: object) -> Decimal | None:
    """A finite decimal from a JSON number or a decimal string; None from anything else, absurd sizes included."""
    if isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        number = Decimal(repr(value) if isinstance(value, float) else str(value).strip())
    except InvalidOperation:
        return None
    if not number.is_finite() or abs(number.adjusted()) > _MOST_DIGITS or len(number.as_tuple().digits) > _MOST_DIGITS:
        return None
    return number


def decimals(number: Decimal) -> int:
    """How many decimals a number has, trailing zeros not counted."""
    exponent = number.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def rfc3339(at: datetime) -> str:
    """A UTC time as `2025-03-03T14:30:00Z`, with microseconds where there are any."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rfc3339_array(seconds: Ints) -> list[str]:
    """Epoch seconds as `2025-03-03T14:30:00Z`."""
    return [f"{text}Z" for text in np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s").tolist()]


def naive_utc_array(seconds: Ints) -> list[str]:
    """Epoch seconds as `2025-03-03T14:30:00`, UTC without a mark."""
    texts: list[str] = np.datetime_as_string(seconds.astype("datetime64[s]"), unit="s").tolist()
    return texts


def naive_seoul_array(seconds: Ints) -> list[str]:
    """Epoch seconds as `2025-03-03T23:30:00`, Korean time without a mark (nine hours ahead of UTC since 1988)."""
    return naive_utc_array(seconds + 9 * 3600)


def seoul(at: datetime) -> str:
    """A time as `2025-03-03T23:30:00+09:00`."""
    return at.astimezone(SEOUL).isoformat(timespec="seconds")
