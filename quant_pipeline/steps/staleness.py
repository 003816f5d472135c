"""Finding what is stale: age says where to look, hashes of inputs say what is. Which step depends on what is in `stale`.

What was looked at and still holds is noted, so that it is not looked at again.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import stored_actions
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import Key
from quant_pipeline.steps.timing import month_of, next_month
from quant_pipeline.storage.version_marks import (
    Mark,
    MonthKey,
    confirm_versions,
    missing_sessions,
    month_marks,
    newest_version,
    recorded_sessions,
)
from quant_pipeline.storage.versions import current_versions

NOTHING = combine_hashes()
NOW = sys.maxsize
"""The age of a change that has no version yet."""
MONTHS_AT_ONCE = 12
"""So many stale months are enough for one look: it must not take minutes, and the rest is found by the next one."""


@dataclass(frozen=True, slots=True)
class View:
    """Of which market, at what time, and which session the ticks are working on: that one is left to them."""

    desk: Desk
    market: MarketSettings
    now: datetime
    limit: date

    def marks(self, step: str) -> dict[MonthKey, Mark]:
        """The marks of a step before the session of the ticks."""
        return month_marks(self.desk.db, self.market.name, step, self.limit)

    def ages(self, step: str) -> dict[MonthKey, int]:
        """The newest change of each month and symbol of a step."""
        return {key: mark.changed for key, mark in self.marks(step).items()}

    def recorded(self, step: str) -> tuple[date, ...]:
        """The sessions that have versions of a step."""
        return recorded_sessions(self.desk.db, self.market.name, step, self.market.history_start, self.limit)

    def is_partition(self, day: date) -> bool:
        """Whether a run can name that day."""
        return day >= self.market.history_start and calendar.is_session(self.market.market.calendar, day)

    def missing(self, step: str, source: str, first: date) -> tuple[date, ...]:
        """Sessions in which a symbol has something of `source` and no version of `step`."""
        found = missing_sessions(
            self.desk.db,
            self.market.name,
            step,
            source=source,
            symbols=self.market.symbols,
            first=first,
            last=self.limit - timedelta(days=1),
            nothing=NOTHING,
        )
        return tuple(day for day in found if self.is_partition(day))


type Wanted = Callable[[Sequence[date]], tuple[dict[Key, str], set[Key]]]
"""Inputs of sessions as they are now, and the (session, symbol) that must have a version."""


def verified(
    view: View, step: str, months: Iterable[date], missing: Collection[date], wanted: Wanted
) -> tuple[date, ...]:
    """Those sessions of `months`, and of `missing`, with a version that was made from other inputs, or without one."""
    after = newest_version(view.desk.db)
    everything = view.recorded(step)
    looked_at = set(months) | {month_of(session) for session in missing}
    # What was never made needs no look at its inputs.
    stale = sorted(set(missing) - set(everything))
    found = 0
    for sessions in by_month(session for session in everything if month_of(session) in looked_at):
        days = _stale_of(view, step, sessions, wanted, after)
        stale += [session for session in sessions if session in days]
        found += bool(days)
        if found == MONTHS_AT_ONCE:
            break
    return tuple(sorted(stale))


def _stale_of(view: View, step: str, sessions: Sequence[date], wanted: Wanted, after: int) -> set[date]:
    db, market = view.desk.db, view.market.name
    inputs, needed = wanted(sessions)
    stored = current_versions(db, market, step, sessions)
    present = view.desk.lake.present(market, step, sessions)
    other = {key for key, version in stored.items() if key in inputs and version.inputs_hash != inputs[key]}
    other |= {key for key in inputs if key not in stored and key in needed}
    confirm_versions(db, market, step, [key for key in stored if key not in other], after, view.now)
    return {session for session, _ in other} | {session for session in sessions if session not in present}


def newer_months(
    ages: Mapping[MonthKey, int], marks: Mapping[MonthKey, Mark], reach: Callable[[date], date]
) -> set[date]:
    """The months of `marks` of which some symbol changed, back to the month of `reach`, after it was last checked."""
    by_symbol: dict[str, list[tuple[date, int]]] = {}
    for (month, symbol), changed in ages.items():
        by_symbol.setdefault(symbol, []).append((month, changed))
    found: set[date] = set()
    for (month, symbol), mark in marks.items():
        first = month_of(reach(month))
        if any(changed > mark.checked for at, changed in by_symbol.get(symbol, ()) if first <= at <= month):
            found.add(month)
    return found


def acted_months(view: View, marks: Mapping[MonthKey, Mark], reach: Callable[[date], date]) -> set[date]:
    """The months of `marks` that a split or dividend since `reach` bears on of which one learned after the last look."""
    found: set[date] = set()
    symbols = sorted({symbol for _, symbol in marks})
    known: dict[str, list[tuple[date, datetime]]] = {}
    for action in stored_actions(view.desk, view.market, symbols, date.min):
        known.setdefault(action.symbol, []).append((action.ex_date, action.known_at))
    for (month, symbol), mark in marks.items():
        days = [ex_date for ex_date, at in known.get(symbol, ()) if at >= mark.confirmed_at]
        if any(reach(month) <= day < next_month(month) for day in days):
            found.add(month)
    return found


def newest_ages(*known: Mapping[MonthKey, int]) -> dict[MonthKey, int]:
    """The newest change of each month and symbol of several steps."""
    newest: dict[MonthKey, int] = {}
    for ages in known:
        for key, changed in ages.items():
            newest[key] = max(changed, newest.get(key, 0))
    return newest


def for_all_symbols(ages: Mapping[MonthKey, int], symbols: Iterable[str]) -> dict[MonthKey, int]:
    """What changed for one symbol has changed for all of them."""
    newest: dict[date, int] = {}
    for (month, _), changed in ages.items():
        newest[month] = max(changed, newest.get(month, 0))
    return {(month, symbol): changed for symbol in symbols for month, changed in newest.items()}


def by_month(sessions: Iterable[date]) -> list[tuple[date, ...]]:
    """The sessions month by month, ascending."""
    months: dict[date, list[date]] = {}
    for session in sorted(set(sessions)):
        months.setdefault(month_of(session), []).append(session)
    return [tuple(listed) for listed in months.values()]
