"""Which session and month a moment belongs to, and when bars close. Calendars themselves live in `markets`."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings


def month_of(session: date) -> date:
    """The first day of the month that contains `session`: the key of the model that serves it."""
    return session.replace(day=1)


def next_month(month: date) -> date:
    """The first day of the following month."""
    return month.replace(year=month.year + month.month // 12, month=month.month % 12 + 1)


def tick_session(market: MarketSettings, at: datetime) -> date:
    """The session that a tick at `at` works on.

    For a daily decision interval: the session in progress, or after its close that session until the next one opens.
    For intraday decision bars: the session of the bar that closed last, so that the bar which ends a session is
    decided in its own session.
    """
    name = market.market.calendar
    if market.decision_interval == "1d":
        current = calendar.session_at(name, at)
        return (
            current if calendar.session_hours(name, current).opens_at <= at else calendar.last_closed_session(name, at)
        )
    seconds = interval_seconds(market.decision_interval)
    return datetime.fromtimestamp((int(at.timestamp()) // seconds - 1) * seconds, UTC).date()


def default_interval(market: MarketSettings, session: date, now: datetime) -> str:
    """The interval at which a session is collected: that of ticks for recent ones, that of decisions for older ones."""
    recent = now.date() - timedelta(days=market.recent_base_sessions)
    return market.base_interval if session >= recent else market.decision_interval


def session_starts(session: date) -> datetime:
    """00:00 UTC of a session key: where its bars begin in storage."""
    return datetime(session.year, session.month, session.day, tzinfo=UTC)


def session_span(first: date, last: date) -> tuple[datetime, datetime]:
    """The storage interval [start, end) of the sessions from `first` to `last`."""
    return session_starts(first), session_starts(last) + timedelta(days=1)


def session_column(ts: pd.Series) -> NDArray[np.datetime64]:
    """The session key of each bar as datetime64[D]: the UTC date of its start."""
    return ts.to_numpy(dtype="datetime64[ns]").astype("datetime64[D]")


def as_dates(days: NDArray[np.datetime64]) -> list[date]:
    """datetime64[D] values as dates."""
    return [date.fromisoformat(str(day)) for day in days]


def bar_closes(market: MarketSettings, ts: pd.Series, interval: str) -> NDArray[np.datetime64]:
    """Closing time of each bar as datetime64[ns] (UTC): the session's close for daily bars, start + interval else."""
    starts = ts.to_numpy(dtype="datetime64[ns]")
    if interval != "1d":
        ends: NDArray[np.datetime64] = starts + np.array(interval_seconds(interval), "timedelta64[s]")
        return ends
    days, where = np.unique(starts.astype("datetime64[D]"), return_inverse=True)
    closes = [_close_of(market, day) for day in as_dates(days)]
    return np.array([np.datetime64(close.replace(tzinfo=None), "ns") for close in closes], "datetime64[ns]")[where]


def _close_of(market: MarketSettings, day: date) -> datetime:
    """A bar on a day that is no session (a vendor's error) closes at the end of that day; checks report it."""
    if calendar.is_session(market.market.calendar, day):
        return calendar.session_hours(market.market.calendar, day).closes_at
    return session_starts(day) + timedelta(days=1)
