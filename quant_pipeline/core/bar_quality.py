"""Whether sound-looking bars can be believed: moves and volumes against the symbol's own recent past.

A verdict on a bar uses that bar and earlier ones of a window of days, so one session, a range and a tick agree. Rules
that one bar breaks by itself are in `bars`, splits that nobody told of in `jumps`; the steps judge coverage and feeds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.anchor import symbol_blocks, utc_sessions

type FloatArray = npt.NDArray[np.float64]
type DayArray = npt.NDArray[np.datetime64]

OUTLIER, NO_VOLUME = "outlier_move", "no_volume"
COLLAPSE, LEVEL = "volume_collapse", "volume_level"

_LEAST = 10
"""Fewer earlier bars or sessions in the window: nothing is said."""
_NEIGHBOURS = np.timedelta64(10, "D")
"""Bars further apart are no neighbours: what happened in between is nobody's move."""
_SMALLEST_OUTLIER = 0.05
_SIGMA = 1.4826
"""Median of absolute values to standard deviation, for a normal distribution."""
_LEVEL_SESSIONS = 3
"""So many sessions in a row make a new level of volume; one alone is a busy day."""


@dataclass(frozen=True, slots=True)
class Limits:
    """From when on a move or a volume is not believed; the settings of a market name and explain them."""

    window_days: int = 30
    sigmas: float = 8.0
    volume_collapse: float = 0.02
    volume_level: float = 8.0

    @property
    def history_days(self) -> int:
        """So many calendar days before a session its verdict may depend on."""
        return self.window_days + 20


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found about one symbol's session; `bad` bars are not traded, from the bar at `since` on (None: all)."""

    symbol: str
    session: date
    rule: str
    bad: bool
    since: pd.Timestamp | None
    detail: str


def judge_bars(
    bars: pd.DataFrame, first: date, last: date, limits: Limits, *, over: date | None = None
) -> list[Finding]:
    """What cannot be believed about the sessions `first` to `last`.

    Args:
        bars: a bar frame of one interval, adjusted for corporate actions, that reaches back `limits.history_days`
            before `first`.
        first: the first session that is judged.
        last: the last one.
        limits: the thresholds.
        over: the last session that is over; volumes of a later one are not judged. None: all are over.

    Returns:
        Findings by symbol and session.
    """
    found: list[Finding] = []
    cut = bars[utc_sessions(bars["ts"]) >= np.datetime64(first - timedelta(days=limits.history_days))]
    for symbol, begin, end in symbol_blocks(cut):
        series = _Series.of(symbol, cut.iloc[begin:end])
        asked = slice(*np.searchsorted(series.days, np.array([first, last + timedelta(days=1)], "datetime64[D]")))
        found.extend(_moves(series, asked, limits))
        found.extend(_empty_bars(series, asked, limits))
        found.extend(_volumes(series, first, min(last, over or last), limits))
    return found


@dataclass(frozen=True, slots=True)
class _Series:
    symbol: str
    ts: npt.NDArray[np.datetime64]
    days: DayArray
    close: FloatArray
    volume: FloatArray

    @classmethod
    def of(cls, symbol: str, bars: pd.DataFrame) -> _Series:
        close = bars["close"].to_numpy(dtype=np.float64)
        sound = np.where(np.isfinite(close) & (close > 0), close, np.nan)
        volume = bars["volume"].to_numpy(dtype=np.float64)
        return cls(symbol, bars["ts"].to_numpy(dtype="datetime64[ns]"), utc_sessions(bars["ts"]), sound, volume)

    def window(self, at: int, days: int) -> slice:
        """Positions of the bars in the `days` days before the bar at `at`."""
        return slice(int(np.searchsorted(self.ts, self.ts[at] - np.timedelta64(days, "D"))), at)

    def finding(self, at: int, rule: str, detail: str, *, bad: bool) -> Finding:
        return Finding(self.symbol, _date(self.days[at]), rule, bad, pd.Timestamp(self.ts[at], tz="UTC"), detail)


def _moves(series: _Series, asked: slice, limits: Limits) -> Iterator[Finding]:
    with np.errstate(invalid="ignore"):
        moves = np.diff(np.log(series.close), prepend=np.nan)
    moves[1:][np.diff(series.ts) > _NEIGHBOURS] = np.nan
    for at in (asked.start + np.flatnonzero(np.abs(moves[asked]) > _SMALLEST_OUTLIER)).tolist():
        past = np.abs(moves[series.window(at, limits.window_days)])
        past = past[np.isfinite(past)]
        usual = _SIGMA * float(np.median(past)) if past.size >= _LEAST else np.inf
        if abs(moves[at]) > limits.sigmas * usual:
            text = f"{np.expm1(moves[at]):+.1%} from the bar before, {usual:.2%} is usual"
            yield series.finding(at, OUTLIER, text, bad=False)


def _empty_bars(series: _Series, asked: slice, limits: Limits) -> Iterator[Finding]:
    for at in (asked.start + np.flatnonzero(series.volume[asked] == 0)).tolist():
        past = series.volume[series.window(at, limits.window_days)]
        if past.size >= _LEAST and float(np.median(past)) > 0:
            text = "volume is 0 in a symbol that always trades: nobody traded at this price"
            yield series.finding(at, NO_VOLUME, text, bad=True)


def _volumes(series: _Series, first: date, last: date, limits: Limits) -> Iterator[Finding]:
    days, begins = np.unique(series.days, return_index=True)
    totals = np.add.reduceat(series.volume, begins)
    window = np.timedelta64(limits.window_days, "D")
    for at in np.flatnonzero((days >= np.datetime64(first)) & (days <= np.datetime64(last))).tolist():
        past = totals[int(np.searchsorted(days, days[at] - window)) : at]
        if past.size >= _LEAST and 0 < totals[at] < limits.volume_collapse * float(np.median(past)):
            text = f"volume is {totals[at] / float(np.median(past)):.2%} of the usual"
            yield Finding(series.symbol, _date(days[at]), COLLAPSE, bad=False, since=None, detail=text)
        begin = at + 1 - _LEVEL_SESSIONS
        if begin < 0 or days[at] - days[begin] > _NEIGHBOURS:
            continue
        past = totals[int(np.searchsorted(days, days[begin] - window)) : begin]
        usual = float(np.median(past)) if past.size >= _LEAST else 0.0
        recent = totals[begin : at + 1]
        if usual > 0 and (recent.min() > limits.volume_level * usual or recent.max() * limits.volume_level < usual):
            text = f"volume is {float(np.median(recent)) / usual:.3g} times that before {_date(days[begin])}"
            text += ": another feed or other units, if nothing happened to the company"
            yield Finding(series.symbol, _date(days[at]), LEVEL, bad=False, since=None, detail=text)


def _date(day: np.datetime64) -> date:
    return date.fromisoformat(str(day.astype("datetime64[D]")))
