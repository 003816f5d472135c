"""The sessions of a market as arrays of epoch seconds, and the buckets that intervals cut them into. No prices."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, timedelta
from functools import cache

import numpy as np

from quant_pipeline.exchange.bars.columns import BarColumns, Ints, aggregate
from quant_pipeline.markets.calendar import daily_bar_start, session_hours, sessions
from quant_pipeline.markets.market import Market, get_market

EPOCH = date(1998, 1, 2)
"""The first session that the frozen calendar knows; files of real bars may begin here."""

HORIZON = date(2028, 12, 29)
"""The last session that the frozen calendar knows; nothing is served past it."""

MINUTE, HOUR, DAY = 60, 3600, 86400

INTERVAL_SECONDS = {"1m": MINUTE, "5m": 5 * MINUTE, "15m": 15 * MINUTE, "1h": HOUR, "4h": 4 * HOUR, "1d": DAY}
"""The interval names of the desk. The venues' other minute units are asked for in seconds."""


@dataclass(frozen=True, slots=True)
class SessionTable:
    """Every session from `EPOCH` to `HORIZON`: its day, the stamp of its daily bar, and its bounds (epoch seconds)."""

    days: tuple[date, ...]
    stamps: Ints
    opens: Ints
    closes: Ints

    def in_progress_or_next(self, at: int) -> int:
        """Index of the first session that closes after `at` (the length of the table past its end)."""
        return int(np.searchsorted(self.closes, at, side="right"))

    def opened_by(self, at: int) -> int:
        """How many sessions have opened at or before `at`."""
        return int(np.searchsorted(self.opens, at, side="right"))

    def closed_by(self, at: int) -> int:
        """How many sessions have closed at or before `at`."""
        return int(np.searchsorted(self.closes, at, side="right"))

    def covering(self, start: int, end: int) -> tuple[int, int]:
        """The range [first, stop) of sessions whose stamp-to-close span meets [start, end)."""
        first = int(np.searchsorted(self.closes, start, side="right"))
        return first, max(first, int(np.searchsorted(self.stamps, end)))


@cache
def session_table(market_name: str) -> SessionTable:
    """The sessions of a market; computed once per process."""
    market = get_market(market_name)
    days = sessions(market.calendar, EPOCH, HORIZON)
    hours = [session_hours(market.calendar, day) for day in days]
    return SessionTable(
        days,
        np.array([int(daily_bar_start(market.calendar, day).timestamp()) for day in days], np.int64),
        np.array([int(h.opens_at.timestamp()) for h in hours], np.int64),
        np.array([int(h.closes_at.timestamp()) for h in hours], np.int64),
    )


def rebucket(market: Market, bars: BarColumns, seconds: int) -> BarColumns:
    """Aggregate finer bars to `seconds`: 86400 means sessions, less means slots on the UTC clock.

    A slot is bounded by its session: the 13:00 UTC hour of a stock opens at 13:30 and the last slot ends at the close.
    Rows outside sessions, and rows that are longer than what is asked for, are left out.
    """
    table = session_table(market.name)
    index = np.searchsorted(table.closes, bars.opens, side="right")
    inside = (index < len(table.closes)) & (bars.closes - bars.opens <= seconds)
    inside[inside] &= table.opens[index[inside]] <= bars.opens[inside]
    if not inside.all():
        bars, index = bars.take(inside), index[inside]
    opens, closes = table.opens[index], table.closes[index]
    if seconds >= DAY:
        return aggregate(bars, table.stamps[index], opens, closes)
    slot = bars.opens - bars.opens % seconds
    return aggregate(bars, slot, np.maximum(slot, opens), np.minimum(slot + seconds, closes))


def bar_bounds(market: Market, ts: Ints, seconds: int) -> tuple[Ints, Ints]:
    """When the bars stamped `ts` opened and closed; an empty span for a bar outside all sessions."""
    table = session_table(market.name)
    if seconds >= DAY:
        index = np.searchsorted(table.closes, ts, side="right")
        known = index < len(table.days)
        index = np.minimum(index, len(table.days) - 1)
        known &= table.stamps[index] == ts
        return table.opens[index], np.where(known, table.closes[index], table.opens[index])
    index = np.minimum(np.searchsorted(table.closes, ts, side="right"), len(table.days) - 1)
    opens = np.maximum(ts, table.opens[index])
    return opens, np.minimum(ts + seconds, table.closes[index])


def week_or_month(day: date, unit: str) -> date:
    """The first day of the week (Monday) or month that holds `day`."""
    return day - timedelta(days=day.weekday()) if unit == "week" else day.replace(day=1)
