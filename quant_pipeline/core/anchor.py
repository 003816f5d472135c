"""The anchor: from which bar on a value is computed, so that it never depends on the range that was asked for.

A recursive indicator started elsewhere gives other bytes. So every value of session s is computed from the first bar
of the month of s minus the declared warm-up, counted in bars of that symbol; a tick, one session, a range and
everything then give the same bytes. What is computed from those bars belongs to the indicators and features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.bars import interval_seconds

type DayArray = npt.NDArray[np.datetime64]
type IntArray = npt.NDArray[np.intp]

_SECONDS_OPEN = {True: 86400.0, False: 23400.0}
"""Seconds of trading in a session, by whether the market never closes (else the 6.5 hours of US stocks)."""
_HISTORY_MARGIN = 1.1
_HISTORY_SLACK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class History:
    """How far back bars are read: what a reader without a calendar asks for, and the limit of every window.

    Bars older than that never take part, so a thin symbol, whose warm-up bars lie further back than was read, gives
    the same bytes whichever range was asked for. 365 sessions a year mean a market that never closes.
    """

    interval: str
    sessions_per_year: int = 365

    def since(self, month: date, warmup: int) -> date:
        """The day from which on `warmup` bars before `month` (its first day) are looked for, estimated generously."""
        never_closes = self.sessions_per_year >= 365
        if self.interval == "1d":
            bars_per_session = 1.0
        else:
            bars_per_session = _SECONDS_OPEN[never_closes] / interval_seconds(self.interval)
        days = warmup / max(bars_per_session, 1.0) * 365 / self.sessions_per_year * _HISTORY_MARGIN
        return month - timedelta(days=math.ceil(days)) - _HISTORY_SLACK


@dataclass(frozen=True, slots=True)
class Window:
    """The input of one symbol for one month, as positions into the frame it was made from.

    `start` is the anchor for the warm-up that was asked for, `first` the first bar of the month, `stop` the end of the
    last requested session, `keep` the positions of the requested sessions' bars.
    """

    symbol: str
    month: date
    start: int
    first: int
    stop: int
    keep: IntArray


def utc_sessions(ts: pd.Series) -> DayArray:
    """The UTC date of each bar start, as `datetime64[D]`: the session key unless sessions cross midnight UTC."""
    return ts.to_numpy(dtype="datetime64[ns]").astype("datetime64[D]")


def session_days(frame: pd.DataFrame, session_of: Sequence[date] | npt.NDArray[Any] | pd.Series | None) -> DayArray:
    """The session of each row as `datetime64[D]`; None means the UTC date of `ts`.

    Raises:
        ValueError: the length does not fit the frame.
    """
    if session_of is None:
        return utc_sessions(frame["ts"])
    days = np.asarray(session_of).astype("datetime64[D]")
    if days.shape != (len(frame),):
        msg = f"session_of has {days.size} entries for {len(frame)} bars; give one session per row"
        raise ValueError(msg)
    return days


def months_of(sessions: Sequence[date]) -> dict[date, tuple[date, ...]]:
    """The requested sessions by the first day of their month, both in ascending order."""
    grouped: dict[date, list[date]] = {}
    for session in sorted(set(sessions)):
        grouped.setdefault(session.replace(day=1), []).append(session)
    return {month: tuple(days) for month, days in grouped.items()}


def month_windows(
    frame: pd.DataFrame, days: DayArray, sessions: Sequence[date], warmup: int, history: History | None = None
) -> Iterator[Window]:
    """The windows to compute on for `sessions`, symbol by symbol and month by month.

    A window starts `warmup` bars before its month, at the symbol's first bar where history is shorter, and never
    before `history.since(month, warmup)`. The frame must hold every bar from that day on; without `history` it must
    hold the symbol's last `warmup` bars before the month.

    Args:
        frame: bars sorted by (symbol, ts).
        days: the session of each row, ascending within a symbol.
        sessions: the requested sessions, in any order.
        warmup: bars before the month that take part.
        history: how far back the bars were read.

    Raises:
        ValueError: the warm-up is negative or the frame is not sorted.
    """
    if warmup < 0:
        msg = f"warm-up of {warmup} bars is negative"
        raise ValueError(msg)
    months = [_Month.of(month, wanted, warmup, history) for month, wanted in months_of(sessions).items()]
    for symbol, begin, end in symbol_blocks(frame):
        block = days[begin:end]
        if (block[1:] < block[:-1]).any():
            msg = f"bars of {symbol} are not sorted by time: sort the frame by (symbol, ts)"
            raise ValueError(msg)
        for month in months:
            edges = np.searchsorted(block, month.edges, side="left")
            oldest, first, stop = (begin + int(edge) for edge in edges)
            keep = first + np.flatnonzero(np.isin(days[first:stop], month.wanted))
            if keep.size:
                yield Window(symbol, month.first_day, max(oldest, first - warmup), first, stop, keep)


@dataclass(frozen=True, slots=True)
class _Month:
    """A requested month: its first day, its requested sessions, and (oldest day, first day, day after the last)."""

    first_day: date
    wanted: DayArray
    edges: DayArray

    @classmethod
    def of(cls, month: date, sessions: tuple[date, ...], warmup: int, history: History | None) -> _Month:
        oldest = date.min if history is None else history.since(month, warmup)
        wanted = np.array(sessions, dtype="datetime64[D]")
        edges = np.array([oldest, month, sessions[-1] + timedelta(days=1)], dtype="datetime64[D]")
        return cls(month, wanted, edges)


def symbol_blocks(frame: pd.DataFrame) -> Iterator[tuple[str, int, int]]:
    """(symbol, first position, position after the last) of each symbol of a sorted frame.

    Raises:
        ValueError: a symbol appears in two places.
    """
    symbols = frame["symbol"].to_numpy(dtype=object)
    if symbols.size == 0:
        return
    edges = np.concatenate(([0], np.flatnonzero(symbols[1:] != symbols[:-1]) + 1, [symbols.size]))
    seen: set[str] = set()
    for begin, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        symbol = str(symbols[begin])
        if symbol in seen:
            msg = f"bars of {symbol} are not together: sort the frame by (symbol, ts)"
            raise ValueError(msg)
        seen.add(symbol)
        yield symbol, begin, end


def required_history(first_session: date, warmup: int, interval: str, *, sessions_per_year: int = 365) -> date:
    """The day from which on bars must be read to compute `first_session` and what follows; see `History`."""
    return History(interval, sessions_per_year).since(first_session.replace(day=1), warmup)


def last_affected_session(days: DayArray, changed: date, warmup: int) -> date | None:
    """Up to which session values may differ after a bar of session `changed` changed, appeared or vanished.

    That is the last day of the last month whose window holds such a bar. None: fewer than `warmup` bars follow it,
    so everything from `changed` on is affected, months to come included.

    Args:
        days: the sessions of the symbol's bars, ascending, one per bar, after the change.
        changed: the session of the changed bar.
        warmup: the largest declared warm-up of what depends on the bars.
    """
    after = int(np.searchsorted(days, np.datetime64(changed), side="right"))
    # A month is untouched when at least `warmup` bars stand between the change and its first bar; this holds for
    # a bar that vanished too, because the windows that reached it are then one bar shorter on this count.
    last = after + warmup - 1
    if last >= days.size:
        return None
    month = max(days[last], np.datetime64(changed)) if last >= 0 else np.datetime64(changed)
    month_end: date = ((month.astype("datetime64[M]") + 1).astype("datetime64[D]") - 1).astype(object)
    return month_end
