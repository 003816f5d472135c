"""Stored corporate actions as core takes them, with what is adjusted in stored bars already; and what bars to distrust.

Indicators, features and training rows are made from adjusted bars; orders, stops and books from raw ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.adjust import Adjustment, PriceAction, Ready
from quant_pipeline.core.anchor import DayArray, session_days
from quant_pipeline.core.jumps import LONGEST_NIGHT, Jump, unexplained_jumps
from quant_pipeline.markets import calendar, nyse
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import session_span
from quant_pipeline.storage.bars import bar_adjustments
from quant_pipeline.storage.corporate_actions import CorporateAction, read_actions

DISTRUST_SESSIONS = 20
"""Sessions from an unexplained jump on in which a symbol is not traded: as far back as a feature looks."""

_FAR = date(2200, 1, 1)
_SPLITS_IN, _DIVIDENDS_IN = ("split", "all"), ("dividend", "all")


def has_actions(market: MarketSettings) -> bool:
    """Whether the market's assets are shares; coins have no splits and dividends."""
    return market.market.calendar != "always"


def stored_actions(
    desk: Desk, market: MarketSettings, symbols: Sequence[str], first: date, *, as_of: datetime | None = None
) -> tuple[CorporateAction, ...]:
    """Splits and dividends with an ex-date from `first` on, by (symbol, date, kind), as known now or at `as_of`."""
    if not has_actions(market) or not symbols:
        return ()
    rows = read_actions(desk.db, market.name, symbols, first, _FAR, as_of=as_of)
    return tuple(row for row in rows if row.kind in ("split", "dividend"))


def price_action(row: CorporateAction) -> PriceAction:
    """A stored split or dividend as core takes it.

    Raises:
        ValueError: it has no ratio or amount, or one that no price can follow.
    """
    value = row.ratio if row.kind == "split" else row.amount
    if value is None:
        msg = f"{row.kind} of {row.symbol} on {row.ex_date} from {row.source} has no {_value_of(row)}; import it again"
        raise ValueError(msg)
    return PriceAction(row.symbol, row.ex_date, "split" if row.kind == "split" else "dividend", float(value))


def _value_of(row: CorporateAction) -> str:
    return "ratio" if row.kind == "split" else "amount"


def adjustment_of(
    desk: Desk, market: MarketSettings, bars: pd.DataFrame, last: date, *, as_of: datetime | None = None
) -> Adjustment:
    """The actions that bear on `bars` in sessions up to `last`, and which of these bars are adjusted already."""
    if bars.empty or not has_actions(market):
        return Adjustment()
    first = bars["ts"].min().date()
    symbols = sorted({str(symbol) for symbol in bars["symbol"].unique()})
    rows = stored_actions(desk, market, symbols, first, as_of=as_of)
    concerned = sorted({row.symbol for row in rows if row.ex_date <= last})
    if not concerned:
        return Adjustment()
    actions = tuple(price_action(row) for row in rows if row.symbol in concerned)
    return Adjustment(actions, _ready(desk, market, concerned, first, last))


def _ready(desk: Desk, market: MarketSettings, symbols: Sequence[str], first: date, last: date) -> dict[str, Ready]:
    """Which sessions' bars came adjusted; where base bars are there, they are the ones that are used.

    Adjusted bars hold the actions up to the day on which they were stored.
    """
    start, end = session_span(first, last)
    known: dict[tuple[str, date], tuple[str, date]] = {}
    for interval in dict.fromkeys((market.decision_interval, market.base_interval)):
        found = bar_adjustments(desk.db, market.name, interval, symbols, start, end)
        columns = (found[name] for name in ("symbol", "session", "adjustment", "stored"))
        known |= {(symbol, day): (how, stored) for symbol, day, how, stored in zip(*columns, strict=True)}
    grouped: dict[str, list[tuple[date, str, date]]] = {}
    for (symbol, day), (how, stored) in sorted(known.items()):
        if how in _SPLITS_IN or how in _DIVIDENDS_IN:
            grouped.setdefault(symbol, []).append((day, how, stored))
    return {symbol: _ready_days(days) for symbol, days in grouped.items()}


def _ready_days(rows: Sequence[tuple[date, str, date]]) -> Ready:
    def through(kinds: tuple[str, ...]) -> DayArray:
        return np.array([stored if how in kinds else "NaT" for _, how, stored in rows], "datetime64[D]")

    return Ready(np.array([day for day, _, _ in rows], "datetime64[D]"), through(_SPLITS_IN), through(_DIVIDENDS_IN))


def book_events(
    desk: Desk, market: MarketSettings, symbols: Sequence[str], first: date, last: date
) -> tuple[PriceAction, ...]:
    """Splits and dividends with `first <= ex_date <= last` that a book on raw bars goes through.

    An action that the bars before it hold already changes no price that the book sees, so the book ignores it.
    """
    rows = [row for row in stored_actions(desk, market, sorted(symbols), first) if row.ex_date <= last]
    if not rows:
        return ()
    night = LONGEST_NIGHT.astype(object)
    ready = _ready(desk, market, sorted({row.symbol for row in rows}), first - night, last)
    return tuple(price_action(row) for row in rows if not _was_ready(ready.get(row.symbol), row))


def _was_ready(ready: Ready | None, row: CorporateAction) -> bool:
    """Whether the last bars before an action came adjusted for it."""
    if ready is None:
        return False
    before = ready.days < np.datetime64(row.ex_date)
    through = (ready.splits if row.kind == "split" else ready.dividends)[before]
    return bool(len(through) and through[-1] >= np.datetime64(row.ex_date))


def jumps_before(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], *, closed_by: datetime, run_id: str = ""
) -> tuple[Jump, ...]:
    """Unexplained jumps on which a bar of `sessions` may still rest: inside them or up to 20 sessions before."""
    if not has_actions(market) or not sessions:
        return ()
    since = read_from(market, sessions[0])
    bars = decision_bars(desk, market, since, sessions[-1], closed_by=closed_by, run_id=run_id)
    return jumps_in(market, bars, adjustment_of(desk, market, bars, sessions[-1]), sessions[0])


def jumps_in(market: MarketSettings, bars: pd.DataFrame, adjustment: Adjustment, first: date) -> tuple[Jump, ...]:
    """Unexplained jumps of `bars` on which a bar of session `first` or later may rest; bars go back to `read_from`."""
    if not has_actions(market):
        return ()
    oldest = _distrusted_from(market, first)
    return tuple(j for j in unexplained_jumps(bars, session_days(bars, None), adjustment) if j.session >= oldest)


def read_from(market: MarketSettings, session: date) -> date:
    """From which day on bars must be read to tell the jumps on which `session` rests."""
    return _distrusted_from(market, session) - LONGEST_NIGHT.astype(object) if has_actions(market) else session


def _distrusted_from(market: MarketSettings, session: date) -> date:
    """The first of the sessions whose jumps make `session` doubtful."""
    start = max(session - timedelta(days=3 * DISTRUST_SESSIONS), date(nyse.FIRST_YEAR, 1, 1))
    listed = calendar.sessions(market.market.calendar, start, session)
    return listed[-DISTRUST_SESSIONS:][0] if listed else session


def distrusted(market: MarketSettings, jumps: Sequence[Jump], sessions: Sequence[date]) -> frozenset[tuple[str, date]]:
    """The (symbol, session) pairs whose bars rest on an unexplained jump: HOLD with `bad_data`, and never learned from."""
    found: set[tuple[str, date]] = set()
    for session in sessions:
        first = _distrusted_from(market, session) if jumps else session
        found |= {(jump.symbol, session) for jump in jumps if first <= jump.session <= session}
    return frozenset(found)
