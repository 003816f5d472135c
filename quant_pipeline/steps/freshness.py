"""Whether the newest bars of a market are as new as its calendar says they can be. On a holiday nothing is late."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.changes import bar_ends


@dataclass(frozen=True, slots=True)
class Freshness:
    """The newest bar of any symbol of a market against the one that must be there by now. Times are bar starts (UTC)."""

    newest: datetime | None
    due: datetime

    @property
    def late(self) -> bool:
        """Whether a bar that should be there is not."""
        return self.newest is None or self.newest < self.due

    def sentence(self) -> str:
        """What was compared, for people."""
        has = (
            "there is no bar" if self.newest is None else f"the newest bar is that of {self.newest:%Y-%m-%d %H:%M} UTC"
        )
        return f"{has}, that of {self.due:%Y-%m-%d %H:%M} UTC {'is due' if self.late else 'was due'}"


def freshness(desk: Desk, market: MarketSettings, now: datetime) -> Freshness:
    """How new the bars of the whole market are. One thin symbol may not have traded; all of them at once is no chance."""
    ends = bar_ends(desk.db, market.name, market.base_interval, market.symbols)
    return Freshness(max((last for _, last in ends.values()), default=None), due_bar(market, now))


def due_bar(market: MarketSettings, now: datetime) -> datetime:
    """The start of the last base bar that has been over for `quality.stale_minutes` of trading time at `now`."""
    name, wait = market.market.calendar, timedelta(minutes=market.quality.stale_minutes)
    session = calendar.session_at(name, now)
    hours = calendar.session_hours(name, session)
    if market.base_interval == "1d":
        closed = calendar.last_closed_session(name, now - wait)
        return calendar.daily_bar_start(name, closed)
    step = timedelta(seconds=interval_seconds(market.base_interval))
    # Trading time: what is missing at the open is looked for at the end of the session before.
    open_for = max(now - hours.opens_at, timedelta(0))
    if open_for < wait:
        earlier = calendar.session_hours(name, calendar.previous_session(name, session))
        at = earlier.closes_at - (wait - open_for)
        opens = earlier.opens_at
    else:
        at, opens = now - wait, hours.opens_at
    return opens + int(np.floor((at - opens) / step) - 1) * step if at - opens >= step else opens
