"""What the clock of a session says about zone-less stock times: a wrong time zone, and START or END stamps."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.grid import HOUR, INTERVALS, Nanoseconds, nanoseconds_of
from quant_pipeline.importers.judge import Judge
from quant_pipeline.importers.values import Stamp
from quant_pipeline.markets.calendar import session_hours

_ENOUGH_SESSIONS = 5
"""From this many sessions on, a first or last hour without any row means a wrong zone, not a quiet share."""


@dataclass(frozen=True, slots=True)
class SessionBounds:
    """Each row's time beside the opening and closing time of its session, UTC nanoseconds; `session` numbers them."""

    ts: Nanoseconds
    opens: Nanoseconds
    closes: Nanoseconds
    session: npt.NDArray[np.int64]
    sessions: int


def session_bounds(frame: pd.DataFrame) -> SessionBounds:
    """Bounds of the NYSE sessions named by column `day` for the times in `ts`."""
    session, days = pd.factorize(frame["day"])
    hours = [session_hours("nyse", day.date()) for day in pd.DatetimeIndex(days)]
    opens = _nanoseconds([each.opens_at for each in hours])
    closes = _nanoseconds([each.closes_at for each in hours])
    ts = nanoseconds_of(pd.DatetimeIndex(frame["ts"]))
    return SessionBounds(ts, opens[session], closes[session], session.astype(np.int64), len(hours))


def check_zone(bounds: SessionBounds, interval: str, judge: Judge) -> None:
    """Refuse times that cannot be of the zone they were read in.

    Raises:
        ImportRefused: over several sessions no bar lies in the first regular hour, or none in the last.
    """
    if bounds.sessions < _ENOUGH_SESSIONS or INTERVALS[interval] >= HOUR:
        return
    first = (bounds.ts >= bounds.opens) & (bounds.ts < bounds.opens + HOUR)
    last = (bounds.ts > bounds.closes - HOUR) & (bounds.ts <= bounds.closes)
    for name, found in (("first", first), ("last", last)):
        if not found.any():
            judge.refuse(
                f"in {bounds.sessions} sessions no bar lies in the {name} hour of trading: the time zone looks wrong",
                remedy="Pass the zone in which the times are written (--tz), or write them with their UTC offset.",
            )


def stamp_of(bounds: SessionBounds, judge: Judge) -> Stamp:
    """Whether times name the start or the end of their bars.

    A bar at the open or before it is stamped with its start (an end-stamped first minute says 09:31). No bar at any
    open, while at least half of the sessions have one exactly at the close, means end stamps.

    Raises:
        ImportRefused: neither is seen, as in a piece out of the middle of a session.
    """
    if (bounds.ts <= bounds.opens).any():
        return "start"
    with_close = np.unique(bounds.session[bounds.ts == bounds.closes]).size
    if 2 * with_close < bounds.sessions:
        judge.refuse(
            "no row shows whether the times name the start or the end of their bars",
            remedy="Pass --stamp start (the first minute is 09:30) or --stamp end (it is 09:31).",
        )
    return "end"


def _nanoseconds(times: list[datetime]) -> Nanoseconds:
    return nanoseconds_of(pd.DatetimeIndex(times))
