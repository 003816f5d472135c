"""Times as files write them: recognising the style, reading a column fast, judging one value exactly. No time zones.

A style is chosen by the first row; every other row must be written in the same style, so a column that mixes times
with and without zone, or dates and times, cannot be read in two ways.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.values import TimeKind

Times = npt.NDArray[np.datetime64]
Clock = Literal["date", "local", "utc"]
"""What a value is: a date without time, a time without zone, or an instant."""

_DAY = r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
_TIME = r"[ T](?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,9})?)?"
_ZONE = r"(?:Z|[+-][0-9]{2}:?[0-9]{2})"
FIRST_YEAR, LAST_YEAR = 1900, 2199


@dataclass(frozen=True, slots=True)
class TimeStyle:
    """One way to write a time. `pattern` must match the whole text; `example` goes into messages."""

    name: str
    pattern: str
    clock: Clock
    example: str
    read: Callable[[pd.Series[str]], pd.Series[pd.Timestamp]]
    read_one: Callable[[str], datetime]


def style_of(text: str, kind: TimeKind, day: date | None = None) -> TimeStyle | None:
    """The style in which `text` is written among those of `kind`, or None."""
    candidates = (_ms_of_day(day),) if kind == "ms_of_day" and day is not None else _STYLES[kind]
    for style in candidates:
        if re.fullmatch(style.pattern, text):
            return style
    return None


def problem_with(text: str, style: TimeStyle) -> str | None:
    """Why `text` is not a time of this style, or None when it is one."""
    if not re.fullmatch(style.pattern, text):
        return f"the time is not written like the first row's, for example {style.example}"
    try:
        value = style.read_one(text)
    except (ValueError, OverflowError):
        return "there is no such time"
    if not FIRST_YEAR <= value.year <= LAST_YEAR:
        return f"the year is not within {FIRST_YEAR} to {LAST_YEAR}"
    return None


def read_times(texts: pd.Series[str], style: TimeStyle) -> Times:
    """Read a whole column of text.

    Args:
        texts: trimmed texts, all of which match the pattern of the style.
        style: the style of every row.

    Returns:
        datetime64[ns], in UTC for instants, as written otherwise.

    Raises:
        ValueError: some value is no time of this style; `problem_with` says which.
    """
    values = style.read(texts).to_numpy(dtype="datetime64[ns]")
    years = values.astype("datetime64[Y]").astype(np.int64) + 1970
    if ((years < FIRST_YEAR) | (years > LAST_YEAR)).any():
        msg = f"not every year is within {FIRST_YEAR} to {LAST_YEAR}"
        raise ValueError(msg)
    return values


def _read_iso(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    return pd.to_datetime(texts, format="ISO8601")


def _read_instants(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
    return pd.to_datetime(texts, format="ISO8601", utc=True).dt.tz_localize(None)


def _read_iso_one(text: str) -> datetime:
    value = datetime.fromisoformat(text)
    return value if value.tzinfo is None else value.astimezone(UTC)


def _reader(layout: str) -> Callable[[pd.Series[str]], pd.Series[pd.Timestamp]]:
    def read(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
        return pd.to_datetime(texts, format=layout)

    return read


def _reader_one(layout: str) -> Callable[[str], datetime]:
    def read_one(text: str) -> datetime:
        return datetime.strptime(text, layout).replace(tzinfo=UTC)

    return read_one


def _epoch(unit: Literal["s", "ms"]) -> TimeStyle:
    digits, example, divisor = ("9,10", "1735689600", 1) if unit == "s" else ("12,13", "1735689600000", 1000)

    def read(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
        return pd.to_datetime(texts.astype("int64"), unit=unit)

    def read_one(text: str) -> datetime:
        return datetime.fromtimestamp(int(text) / divisor, UTC)

    return TimeStyle(f"epoch_{unit}", rf"[0-9]{{{digits}}}", "utc", example, read, read_one)


def _ms_of_day(day: date) -> TimeStyle:
    start = datetime(day.year, day.month, day.day, tzinfo=UTC)

    def read(texts: pd.Series[str]) -> pd.Series[pd.Timestamp]:
        milliseconds = texts.astype("int64")
        if (milliseconds >= 86_400_000).any():
            msg = "a day has 86,400,000 milliseconds"
            raise ValueError(msg)
        return pd.Timestamp(day) + pd.to_timedelta(milliseconds, unit="ms")

    def read_one(text: str) -> datetime:
        if int(text) >= 86_400_000:
            msg = "a day has 86,400,000 milliseconds"
            raise ValueError(msg)
        return start + timedelta(milliseconds=int(text))

    return TimeStyle("ms_of_day", r"[0-9]{1,8}", "local", "34200000", read, read_one)


_ISO = (
    TimeStyle("iso_date", _DAY, "date", "2025-01-02", _read_iso, _read_iso_one),
    TimeStyle("iso_local", _DAY + _TIME, "local", "2025-01-02 09:30:00", _read_iso, _read_iso_one),
    TimeStyle("iso_instant", _DAY + _TIME + _ZONE, "utc", "2025-01-02T14:30:00+00:00", _read_instants, _read_iso_one),
)
_US = (
    TimeStyle(
        "us_date", r"[0-9]{2}/[0-9]{2}/[0-9]{4}", "date", "01/02/2025", _reader("%m/%d/%Y"), _reader_one("%m/%d/%Y")
    ),
)
_COMPACT = (
    TimeStyle(
        "compact",
        r"[0-9]{8} [0-9]{2}:[0-9]{2}",
        "local",
        "20250102 09:30",
        _reader("%Y%m%d %H:%M"),
        _reader_one("%Y%m%d %H:%M"),
    ),
)
_STYLES: dict[TimeKind, tuple[TimeStyle, ...]] = {
    "auto": (*_ISO, _epoch("s"), _epoch("ms")),
    "us_date": _US,
    "compact": _COMPACT,
    "ms_of_day": (),
}
