"""The grid of bar starts: intervals, the spacing of times, the slots a market has in a span and those without a bar."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.values import Gap
from quant_pipeline.markets.calendar import CalendarName, session_hours, sessions

Nanoseconds = npt.NDArray[np.int64]

MINUTE = 60_000_000_000
HALF_HOUR = 30 * MINUTE
HOUR = 60 * MINUTE
DAY = 24 * HOUR
INTERVALS: dict[str, int] = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "4h": 4 * HOUR, "1d": DAY}
"""Supported intervals and their length in nanoseconds."""


def zone_of(calendar: CalendarName) -> str:
    """The zone in which a calendar's days begin at midnight."""
    return "America/New_York" if calendar == "nyse" else "UTC"


def most_common_spacing(times: Nanoseconds, groups: npt.NDArray[np.int64]) -> int | None:
    """The commonest distance between neighbouring distinct times of one group, the smaller one of equals.

    Args:
        times: nanoseconds, any order.
        groups: a number per row (its symbol).

    Returns:
        Nanoseconds, or None when no group has two distinct times.
    """
    order = np.lexsort((times, groups))
    steps = np.diff(times[order])
    steps = steps[(np.diff(groups[order]) == 0) & (steps > 0)]
    if steps.size == 0:
        return None
    values, counts = np.unique(steps, return_counts=True)
    return int(values[np.argmax(counts)])


def local_time_of_day(ts: pd.DatetimeIndex, zone: str) -> Nanoseconds:
    """Nanoseconds since local midnight by the wall clock."""
    return nanoseconds_of(ts.tz_convert(zone).tz_localize(None)) % DAY


def nanoseconds_of(ts: pd.DatetimeIndex) -> Nanoseconds:
    """The times as numbers: since 1970 in UTC, or by the wall clock where they have no zone."""
    return ts.to_numpy(dtype="datetime64[ns]").astype(np.int64)


def residue_of(ts: pd.DatetimeIndex, interval: str, calendar: CalendarName) -> int:
    """Where on the clock bars begin, modulo the interval.

    Zero, except for hours of a stock market: vendors count them from the full hour (09:00) or from the open (09:30),
    and the commonest of the file is taken.
    """
    step = INTERVALS[interval]
    if calendar == "always" or step < HOUR or step == DAY or len(ts) == 0:
        return 0
    values, counts = np.unique(local_time_of_day(ts, zone_of(calendar)) % step, return_counts=True)
    residue = int(values[np.argmax(counts)])
    return residue if residue % HALF_HOUR == 0 else 0


def slots_between(
    calendar: CalendarName, interval: str, first: pd.Timestamp, last: pd.Timestamp, residue: int
) -> Nanoseconds:
    """The bar starts that the grid holds from `first` to `last`.

    For stocks: of whole sessions in regular hours, beginning with the open of the first one, ending with `last`.
    For crypto: every step from `first` on.
    """
    step = INTERVALS[interval]
    if calendar == "always":
        return _steps(first.value, last.value, step)
    zone = ZoneInfo(zone_of(calendar))
    days = sessions(calendar, first.astimezone(zone).date(), last.astimezone(zone).date())
    slots = full_slots(calendar, interval, days, residue)
    return slots[slots <= last.value]


def full_slots(calendar: CalendarName, interval: str, days: tuple[date, ...], residue: int) -> Nanoseconds:
    """The bar starts of whole sessions (regular hours for stocks), ascending."""
    if interval == "1d":
        return nanoseconds_of(days_to_stamps(np.array(days, dtype="datetime64[D]"), calendar))
    parts = [_session_slots(calendar, day, INTERVALS[interval], residue) for day in days]
    return np.concatenate(parts) if parts else np.empty(0, dtype=np.int64)


def slot_ends(calendar: CalendarName, interval: str, days: tuple[date, ...], slots: Nanoseconds) -> Nanoseconds:
    """When each of the `slots` of whole sessions is over: after its interval, at the latest with its session."""
    if slots.size == 0:
        return slots
    closes = np.array([_nanoseconds(session_hours(calendar, day).closes_at) for day in days], dtype=np.int64)
    of_session = closes[np.searchsorted(closes, slots, side="right")]
    return of_session if interval == "1d" else np.minimum(slots + INTERVALS[interval], of_session)


@lru_cache(maxsize=16_384)
def _session_slots(calendar: CalendarName, day: date, step: int, residue: int) -> Nanoseconds:
    hours = session_hours(calendar, day)
    midnight = datetime.combine(day, datetime.min.time(), ZoneInfo(zone_of(calendar)))
    start = _nanoseconds(midnight)
    opens, closes = _nanoseconds(hours.opens_at), _nanoseconds(hours.closes_at)
    # The first slot may begin before the open (the clock hour 09:00 holds 09:30 to 10:00).
    begin = start + residue + ((opens - start - residue) // step) * step
    return _steps(begin, closes - 1, step)


def _steps(first: int, last: int, step: int) -> Nanoseconds:
    # Not np.arange(first, last, step): it counts in floats, which cannot hold nanoseconds.
    return first + step * np.arange((last - first) // step + 1, dtype=np.int64)


def days_to_stamps(days: npt.NDArray[np.datetime64], calendar: CalendarName) -> pd.DatetimeIndex:
    """UTC stamps of daily bars: midnight New York of the session for stocks, 00:00 UTC for crypto."""
    local = pd.DatetimeIndex(days.astype("datetime64[ns]")).tz_localize(zone_of(calendar))
    return local.tz_convert("UTC").as_unit("ns")


def gaps_of(symbol: str, present: pd.DatetimeIndex, slots: Nanoseconds) -> tuple[Gap, ...]:
    """Runs of neighbouring slots without a bar.

    Args:
        symbol: whose bars these are.
        present: bar starts, UTC.
        slots: the grid, ascending.
    """
    missing = np.flatnonzero(~np.isin(slots, nanoseconds_of(present)))
    if missing.size == 0:
        return ()
    runs = np.split(missing, np.flatnonzero(np.diff(missing) > 1) + 1)
    return tuple(Gap(symbol, _moment(slots[run[0]]), _moment(slots[run[-1]]), int(run.size)) for run in runs)


def gaps_and_slots(frame: pd.DataFrame, interval: str, calendar: CalendarName) -> tuple[int, tuple[Gap, ...]]:
    """How many slots the grid holds between first and last bar of each symbol, and those without a bar."""
    slots, gaps = 0, list[Gap]()
    for name, bars in frame.groupby("symbol", sort=True):
        ts = pd.DatetimeIndex(bars["ts"])
        grid = slots_between(calendar, interval, ts[0], ts[-1], residue_of(ts, interval, calendar))
        slots += len(grid)
        gaps.extend(gaps_of(str(name), ts, grid))
    return slots, tuple(gaps)


def _nanoseconds(at: datetime) -> int:
    return ((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)) * 1000


def _moment(nanoseconds: np.int64) -> datetime:
    return datetime.fromtimestamp(int(nanoseconds) // 1_000_000_000, UTC)
