"""Trading sessions and their hours, for `nyse` and `always`. Which calendar a market uses is said in `market.py`.

A session key is a UTC date. `nyse`: the exchange's trading day (09:30 to 16:00 New York, 13:00 on early closes).
`always`: every day from 00:00 to 24:00 UTC, which is 09:00 to 09:00 in Seoul, Upbit's own day edge.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from typing import Literal
from zoneinfo import ZoneInfo

from quant_pipeline.core.values import SessionHours
from quant_pipeline.markets import nyse

CalendarName = Literal["nyse", "always"]

NEW_YORK = ZoneInfo("America/New_York")
_OPEN, _CLOSE, _EARLY_CLOSE = time(9, 30), time(16), time(13)


def sessions(calendar: str, start: date, end: date) -> tuple[date, ...]:
    """All sessions from `start` to `end`, both inclusive.

    Raises:
        ValueError: the calendar is unknown, or the span leaves the frozen years of the NYSE calendar.
    """
    if _is_always(calendar):
        return tuple(start + timedelta(days=n) for n in range((end - start).days + 1))
    _require_known(start)
    _require_known(end)
    listed = _nyse_sessions()
    return listed[bisect_left(listed, start) : bisect_right(listed, end)]


def is_session(calendar: str, day: date) -> bool:
    """Whether `day` is a session."""
    if _is_always(calendar):
        return True
    _require_known(day)
    return day.weekday() < 5 and day not in _holidays()


def next_session(calendar: str, day: date) -> date:
    """The first session after `day`."""
    if _is_always(calendar):
        return day + timedelta(days=1)
    listed = _nyse_sessions()
    _require_known(day + timedelta(days=7))
    return listed[bisect_right(listed, day)]


def previous_session(calendar: str, day: date) -> date:
    """The last session before `day`."""
    if _is_always(calendar):
        return day - timedelta(days=1)
    _require_known(day - timedelta(days=7))
    listed = _nyse_sessions()
    return listed[bisect_left(listed, day) - 1]


def session_hours(calendar: str, session: date) -> SessionHours:
    """Opening and closing time (UTC) of a session.

    Raises:
        ValueError: `session` is not a session of this calendar.
    """
    if _is_always(calendar):
        opens = datetime.combine(session, time(), UTC)
        return SessionHours(session, opens, opens + timedelta(days=1))
    if not is_session(calendar, session):
        msg = f"{session} is not a session of the {calendar} calendar; name a trading day"
        raise ValueError(msg)
    close = _EARLY_CLOSE if session in _early_closes() else _CLOSE
    return SessionHours(session, _new_york(session, _OPEN), _new_york(session, close))


def session_at(calendar: str, at: datetime) -> date:
    """The session in progress at `at`, or the next one to open. A session ends at its closing time (exclusive)."""
    if _is_always(calendar):
        return at.astimezone(UTC).date()
    day = at.astimezone(NEW_YORK).date()
    if is_session(calendar, day) and at < session_hours(calendar, day).closes_at:
        return day
    return next_session(calendar, day)


def last_closed_session(calendar: str, at: datetime) -> date:
    """The latest session whose closing time is at or before `at`."""
    return previous_session(calendar, session_at(calendar, at))


def is_open(calendar: str, at: datetime) -> bool:
    """Whether the market is in regular hours at `at` (opening time inclusive, closing time exclusive)."""
    hours = session_hours(calendar, session_at(calendar, at))
    return hours.opens_at <= at < hours.closes_at


def daily_bar_start(calendar: str, session: date) -> datetime:
    """The UTC stamp of a session's daily bar: midnight New York for `nyse` (as Alpaca stamps it), 00:00 UTC else."""
    return datetime.combine(session, time(), UTC) if _is_always(calendar) else _new_york(session, time())


def _is_always(calendar: str) -> bool:
    if calendar not in ("nyse", "always"):
        msg = f"unknown calendar {calendar!r}; use 'nyse' or 'always'"
        raise ValueError(msg)
    return calendar == "always"


def _require_known(day: date) -> None:
    if not nyse.FIRST_YEAR <= day.year <= nyse.LAST_YEAR:
        msg = f"{day} is outside the frozen NYSE calendar ({nyse.FIRST_YEAR} to {nyse.LAST_YEAR})"
        raise ValueError(msg)


def _new_york(day: date, at: time) -> datetime:
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)


@cache
def _holidays() -> frozenset[date]:
    return frozenset(date.fromisoformat(day) for day in nyse.HOLIDAYS)


@cache
def _early_closes() -> frozenset[date]:
    return frozenset(date.fromisoformat(day) for day in nyse.EARLY_CLOSES)


@cache
def _nyse_sessions() -> tuple[date, ...]:
    first, last = date(nyse.FIRST_YEAR, 1, 1), date(nyse.LAST_YEAR, 12, 31)
    days = (first + timedelta(days=n) for n in range((last - first).days + 1))
    return tuple(day for day in days if day.weekday() < 5 and day not in _holidays())
