"""Turn what a venue returned into a bar frame. Fetching it belongs to the venue's client."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import pandas as pd

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.venues.errors import BadRequest

_VALUE_COLUMNS = BAR_COLUMNS[2:]


def bar_frame(pieces: Sequence[pd.DataFrame], start: datetime, end: datetime) -> pd.DataFrame:
    """One bar frame from pieces with the bar columns and `ts` in any zone.

    Rows outside [start, end) are dropped; of rows with the same (symbol, ts) the one fetched last is kept.
    """
    filled = [piece for piece in pieces if len(piece)]
    if not filled:
        return empty_bar_frame()
    frame = pd.concat(filled, ignore_index=True)[list(BAR_COLUMNS)]
    frame["ts"] = pd.to_datetime(frame["ts"], utc=True).astype("datetime64[ns, UTC]")
    frame = frame[(frame["ts"] >= pd.Timestamp(start)) & (frame["ts"] < pd.Timestamp(end))]
    frame = frame.drop_duplicates(["symbol", "ts"], keep="last").sort_values(["symbol", "ts"], ignore_index=True)
    return frame.astype({"symbol": "object", **dict.fromkeys(_VALUE_COLUMNS, "float64")})


def empty_bar_frame() -> pd.DataFrame:
    """A bar frame without rows, with the right types."""
    columns: dict[str, pd.Series] = {
        "symbol": pd.Series([], dtype="object"),
        "ts": pd.Series([], dtype="datetime64[ns, UTC]"),
    }
    columns |= {name: pd.Series([], dtype="float64") for name in _VALUE_COLUMNS}
    return pd.DataFrame(columns)


def check_span(start: datetime, end: datetime) -> None:
    """Refuse naive times and a span that ends before it starts.

    Raises:
        BadRequest: names the times.
    """
    if start.tzinfo is None or end.tzinfo is None:
        msg = f"bars from {start} to {end}: times must say their zone (UTC)"
        raise BadRequest(msg)
    if end < start:
        msg = f"bars from {start} to {end}: the end lies before the start"
        raise BadRequest(msg)


def venue_interval(intervals: dict[str, str], interval: str, venue: str) -> str:
    """The venue's own name for `interval`.

    Raises:
        BadRequest: the venue has no such interval (some clients would silently answer with days).
    """
    name = intervals.get(interval)
    if name is None:
        msg = f"{venue} has no bars of {interval!r}; use one of {', '.join(intervals)}"
        raise BadRequest(msg)
    return name
