"""From times as written to bar starts in UTC: zones, daily sessions, START or END stamps, grid and days."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.columns import RawBars
from quant_pipeline.importers.errors import SKIP_BAD_OPTION
from quant_pipeline.importers.grid import (
    DAY,
    HALF_HOUR,
    HOUR,
    INTERVALS,
    days_to_stamps,
    local_time_of_day,
    most_common_spacing,
    residue_of,
    zone_of,
)
from quant_pipeline.importers.intervals import decide_interval
from quant_pipeline.importers.judge import Judge
from quant_pipeline.importers.sessions import check_zone, session_bounds, stamp_of
from quant_pipeline.importers.values import Stamp
from quant_pipeline.markets import nyse
from quant_pipeline.markets.calendar import CalendarName, sessions

_TRADING_DAY = (4 * HOUR, 20 * HOUR)
"""Pre-market opens at 04:00 New York, after-hours trading ends at 20:00."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the caller said about a file; None is for us to find out."""

    interval: str | None = None
    zone: str | None = None
    stamp: Stamp | None = None
    named_interval: str | None = None


@dataclass(frozen=True, slots=True)
class Placed:
    """Rows with `ts` (UTC bar start) in place of `time`, and what the times were found to be."""

    frame: pd.DataFrame
    interval: str
    stamp: Stamp


def place(raw: RawBars, calendar: CalendarName, judge: Judge, asked: Asked) -> Placed:
    """Give every row its bar start.

    Args:
        raw: rows with column symbol.
        calendar: of the market that the symbols belong to.
        judge: decides what a row without a valid bar start does.
        asked: interval, zone and stamp if the caller named them.

    Raises:
        ImportRefused: zone, interval or stamp cannot be told, or a row is off the grid and rows are not to be skipped.
    """
    frame = raw.frame
    zone = asked.zone if asked.zone is not None else judge.layout.zone
    times = frame["time"].to_numpy(dtype="datetime64[ns]")
    nanoseconds = times.astype(np.int64)
    spacing = most_common_spacing(nanoseconds, pd.factorize(frame["symbol"])[0].astype(np.int64))
    midnights = raw.clock == "local" and zone in (None, zone_of(calendar)) and bool((nanoseconds % DAY == 0).all())
    daily = (asked.interval or judge.layout.interval or asked.named_interval) in (None, "1d") and (
        spacing is None or spacing >= DAY
    )
    dates = raw.clock == "date" or (midnights and daily)
    if raw.clock == "local" and zone is None and not dates:
        judge.refuse(
            "the times have no time zone",
            remedy="Pass the zone in which they are written, for example --tz America/New_York or --tz UTC.",
            line=judge.lines([int(frame["row"].iloc[0])])[0],
            column=judge.header[judge.layout.time],
        )
    stated = asked.interval or judge.layout.interval
    interval = decide_interval(judge, nanoseconds, spacing, asked=stated, named=asked.named_interval, dates=dates)
    if dates:
        return Placed(_on_sessions(frame, times.astype("datetime64[D]"), calendar, judge), interval, "start")
    frame = _instants(frame, zone if raw.clock == "local" else None, judge)
    if interval == "1d":
        days = _daily_sessions(frame, calendar, judge)
        return Placed(_on_sessions(days.frame, days.days, calendar, judge), interval, "start")
    return _intraday(frame, interval, calendar, judge, asked, zoneless=raw.clock == "local")


@dataclass(frozen=True, slots=True)
class _Days:
    frame: pd.DataFrame
    days: npt.NDArray[np.datetime64]


def _instants(frame: pd.DataFrame, zone: str | None, judge: Judge) -> pd.DataFrame:
    """`frame` with `ts` in UTC; local times that a clock change doubles or skips are bad."""
    times = pd.DatetimeIndex(frame["time"])
    if zone is None:
        return frame.assign(ts=times.tz_localize("UTC").as_unit("ns"))
    local = times.tz_localize(zone, ambiguous="NaT", nonexistent="NaT")
    frame = frame.assign(ts=local.tz_convert("UTC").as_unit("ns"))
    return judge.drop(
        frame,
        np.asarray(local.isna()),
        "time",
        f"a clock change in {zone} makes this local time doubtful",
        "Check --tz, or write the times with their UTC offset.",
    )


def _daily_sessions(frame: pd.DataFrame, calendar: CalendarName, judge: Judge) -> _Days:
    """The session of each daily bar: local midnight of the market, or 00:00 UTC of the session's date."""
    ts = pd.DatetimeIndex(frame["ts"])
    utc_midnight = np.asarray(local_time_of_day(ts, "UTC") == 0)
    if utc_midnight.all():
        return _Days(frame, ts.tz_localize(None).to_numpy(dtype="datetime64[D]"))
    zone = zone_of(calendar)
    local_midnight = np.asarray(local_time_of_day(ts, zone) == 0)
    frame = judge.drop(
        frame,
        ~local_midnight,
        "time",
        f"a daily bar must begin at midnight ({zone}) or carry its date only",
        "Give the dates of the sessions, or pass --tz or --interval.",
    )
    wall = pd.DatetimeIndex(frame["ts"]).tz_convert(zone).tz_localize(None)
    return _Days(frame, wall.to_numpy(dtype="datetime64[D]"))


def _on_sessions(
    frame: pd.DataFrame, days: npt.NDArray[np.datetime64], calendar: CalendarName, judge: Judge
) -> pd.DataFrame:
    """`frame` with the daily stamp of each day; days without a session are bad."""
    frame = frame.assign(day=days.astype("datetime64[ns]"))
    frame = _require_sessions(frame, calendar, judge)
    stamps = days_to_stamps(frame["day"].to_numpy(dtype="datetime64[D]"), calendar)
    return frame.assign(ts=stamps).drop(columns="day")


def _require_sessions(frame: pd.DataFrame, calendar: CalendarName, judge: Judge) -> pd.DataFrame:
    """Rows on days on which the market trades, by the column `day`."""
    if calendar == "always" or frame.empty:
        return frame
    years = frame["day"].dt.year.to_numpy()
    frame = judge.drop(
        frame,
        (years < nyse.FIRST_YEAR) | (years > nyse.LAST_YEAR),
        "time",
        f"the stock calendar covers {nyse.FIRST_YEAR} to {nyse.LAST_YEAR}",
        f"Leave others out with --since {nyse.FIRST_YEAR}-01-01 and --until {nyse.LAST_YEAR}-12-31.",
    )
    if frame.empty:
        return frame
    open_days = sessions(calendar, frame["day"].min().date(), frame["day"].max().date())
    closed = ~np.isin(frame["day"].to_numpy(dtype="datetime64[D]"), np.array(open_days, dtype="datetime64[D]"))
    return judge.drop(
        frame,
        closed,
        "time",
        "the stock market was closed on this day",
        f"Check --market and --tz, or leave such rows out with {SKIP_BAD_OPTION}.",
    )


def _intraday(
    frame: pd.DataFrame, interval: str, calendar: CalendarName, judge: Judge, asked: Asked, *, zoneless: bool
) -> Placed:
    stamp: Stamp = asked.stamp or judge.layout.stamp or "start"
    if calendar == "nyse":
        frame = _with_local_day(frame)
        frame = _require_sessions(frame, calendar, judge)
        if zoneless and len(frame):
            bounds = session_bounds(frame)
            check_zone(bounds, interval, judge)
            stamp = asked.stamp or judge.layout.stamp or stamp_of(bounds, judge)
    if stamp == "end":
        frame = frame.assign(ts=pd.DatetimeIndex(frame["ts"]) - pd.Timedelta(INTERVALS[interval], unit="ns"))
    if calendar == "nyse":
        frame = _in_trading_day(frame, judge).drop(columns="day")
    return Placed(_on_grid(frame, interval, calendar, judge), interval, stamp)


def _with_local_day(frame: pd.DataFrame) -> pd.DataFrame:
    wall = pd.DatetimeIndex(frame["ts"]).tz_convert(zone_of("nyse")).tz_localize(None)
    return frame.assign(day=wall.normalize().as_unit("ns"))


def _in_trading_day(frame: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    clock = local_time_of_day(pd.DatetimeIndex(frame["ts"]), zone_of("nyse"))
    return judge.drop(
        frame,
        np.asarray((clock < _TRADING_DAY[0]) | (clock >= _TRADING_DAY[1])),
        "time",
        "no US stock trades at this time of day (04:00 to 20:00 New York)",
        "Pass the zone in which the times are written (--tz).",
    )


def _on_grid(frame: pd.DataFrame, interval: str, calendar: CalendarName, judge: Judge) -> pd.DataFrame:
    ts, step = pd.DatetimeIndex(frame["ts"]), INTERVALS[interval]
    residue = residue_of(ts, interval, calendar)
    if judge.layout.interval is not None and calendar != "always":
        # Our own exports may hold the bars of several vendors, whose hours begin at 09:00 or 09:30.
        step, residue = min(step, HALF_HOUR), 0
    return judge.drop(
        frame,
        np.asarray(local_time_of_day(ts, zone_of(calendar)) % step != residue),
        "time",
        f"the time is not on the grid of {interval} bars",
        "Pass the interval that is right (--interval).",
    )
