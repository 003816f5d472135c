"""How much history a symbol has: sessions with bars since it is the company of today and since its last long hole."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import numpy as np

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.coverage import intervals_of
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.bar_history import bar_sessions
from quant_pipeline.storage.ticker_spans import read_spans


@dataclass(frozen=True, slots=True)
class History:
    """The sessions with bars of one symbol that are known here, ascending, and how many of its life each one ends.

    `counts[i]` sessions, up to and including `sessions[i]`, belong to the life that session is in; a life begins with
    the listing and after a long hole. `restarts` are the sessions that begin one after a hole, with the last session
    before it. Counts go up to the number that was looked for; `whole` means that there are no sessions before these.
    """

    sessions: tuple[date, ...]
    counts: tuple[int, ...]
    restarts: tuple[tuple[date, date], ...]
    listed: date | None
    whole: bool

    def before(self, session: date) -> int:
        """Sessions with bars before `session` in the life that goes on in it."""
        at = bisect_left(self.sessions, session)
        began = any(session == restart for restart, _ in self.restarts)
        return 0 if at == 0 or began else self.counts[at - 1]

    def start_of_life(self, session: date, count: int) -> date | None:
        """The `count`-th session with bars (from 0) of the life before `session`, if one before it is known to be over.

        Values that reach back over fewer sessions than that are of this life alone.
        """
        begins = [restart for restart, _ in self.restarts if restart <= session]
        if self.whole and self.listed is not None and self.sessions:
            begins.append(self.sessions[0])
        if not begins:
            return None
        at = bisect_left(self.sessions, max(begins)) + count
        return self.sessions[at] if at < len(self.sessions) else date.max


def histories(
    desk: Desk, market: MarketSettings, symbols: Sequence[str], first: date, last: date, *, count: int
) -> dict[str, History]:
    """The history of each symbol before and in the sessions `first` to `last`, looking for `count` earlier ones."""
    found = bar_sessions(desk.db, market.name, intervals_of(market), symbols, first, last, before=count)
    listed = {symbol: spans[0].first_day for symbol, spans in read_spans(desk.db, market.name, symbols).items()}
    oldest = min((days[0] for days in found.values() if days), default=first)
    index = {day: n for n, day in enumerate(calendar.sessions(market.market.calendar, oldest, last))}
    hole = market.quality.life_hole_sessions
    return {
        symbol: _history(days, index, listed.get(symbol), hole, whole=bisect_left(days, first) < count)
        for symbol, days in found.items()
    }


def _history(days: Sequence[date], index: dict[date, int], listed: date | None, hole: int, *, whole: bool) -> History:
    # Days that are no session of the calendar are a vendor's error.
    own = [day for day in days if day in index and (listed is None or day >= listed)]
    places = np.array([index[day] for day in own], dtype=np.int64)
    broken = np.flatnonzero(np.diff(places) > hole) + 1
    starts = np.concatenate(([0], broken))
    of = np.searchsorted(starts, np.arange(len(own)), side="right") - 1
    counts = np.arange(len(own)) - starts[of] + 1
    restarts = tuple((own[at], own[at - 1]) for at in broken.tolist())
    whole = whole or (listed is not None and bool(days) and days[0] < listed)
    return History(tuple(own), tuple(counts.tolist()), restarts, listed, whole)
