"""Small price files that the tests write themselves, and the bars that they must give."""

from __future__ import annotations

import gzip
import zipfile
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from quant_pipeline.markets.calendar import session_hours, sessions

_NEW_YORK = ZoneInfo("America/New_York")
HEADER = "timestamp,open,high,low,close,volume"


def row(number: int) -> tuple[float, float, float, float, float]:
    """Open, high, low, close, volume of the bar with this number: sane, and different for each number."""
    base = 100.0 + number % 97 + number / 1000
    return base, base + 2.5, base - 1.25, base + 0.5, 10.0 + number


def line(stamp: str, number: int) -> str:
    """One CSV row."""
    return ",".join([stamp, *(repr(value) for value in row(number))])


def text(stamps: Iterable[str], header: str = HEADER) -> str:
    """A CSV text with one row a stamp."""
    return "\n".join([header, *(line(stamp, number) for number, stamp in enumerate(stamps))]) + "\n"


def write(path: Path, content: str | bytes) -> Path:
    """Write a file, packed as its suffix says (`.gz`, `.zip`)."""
    data = content.encode() if isinstance(content, str) else content
    if path.suffix == ".gz":
        data = gzip.compress(data)
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr(f"{path.stem}.csv", data)
        return path
    path.write_bytes(data)
    return path


def minutes(start: str, count: int, step: int = 1) -> list[str]:
    """Zone-less stamps `YYYY-MM-DD HH:MM:SS`, `step` minutes apart."""
    first = datetime.fromisoformat(start)
    return [(first + timedelta(minutes=step * n)).strftime("%Y-%m-%d %H:%M:%S") for n in range(count)]


def session_days(start: str, end: str) -> list[str]:
    """ISO dates of the NYSE sessions, both ends included."""
    return [day.isoformat() for day in sessions("nyse", date.fromisoformat(start), date.fromisoformat(end))]


def regular_minutes(days: Sequence[str], step: int, *, end_stamps: bool = False) -> list[str]:
    """New York stamps of every bar of whole sessions."""
    stamps: list[str] = []
    for day in days:
        hours = session_hours("nyse", date.fromisoformat(day))
        opens = hours.opens_at.astimezone(_NEW_YORK).replace(tzinfo=None)
        count = int((hours.closes_at - hours.opens_at) / timedelta(minutes=step))
        shift = step if end_stamps else 0
        stamps += minutes((opens + timedelta(minutes=shift)).isoformat(), count, step)
    return stamps


def frame_of(symbol: str, starts: Sequence[datetime], numbers: Sequence[int] | None = None) -> pd.DataFrame:
    """The bar frame that rows with these starts (UTC) and numbers must give."""
    values = np.array([row(number) for number in (numbers if numbers is not None else range(len(starts)))])
    columns = dict(zip(("open", "high", "low", "close", "volume"), values.T, strict=True))
    stamps = pd.DatetimeIndex(starts).tz_convert("UTC").as_unit("ns")
    return pd.DataFrame({"symbol": symbol, "ts": stamps, **columns})


def utc(stamp: str) -> datetime:
    """An ISO time as UTC."""
    value = datetime.fromisoformat(stamp)
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
