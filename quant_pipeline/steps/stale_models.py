"""Which models learned from bars that are other now: months of ensembles, and sessions of their daily updates."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import date, timedelta

from quant_pipeline.steps import bars, facts, features, finetuning, training
from quant_pipeline.steps.samples import training_sessions
from quant_pipeline.steps.staleness import View, newer_months
from quant_pipeline.steps.timing import next_month
from quant_pipeline.storage.version_marks import Mark, MonthKey, changed_within, month_marks
from quant_pipeline.storage.versions import current_versions

_SOURCES = (bars.STEP, facts.STEP, features.STEP)
_EVER = date.max
_UPDATE_REACH = timedelta(days=2 * finetuning.RECENT_SESSIONS)
"""Two calendar days for each session are always enough."""


def stale_months(view: View) -> tuple[date, ...]:
    """Months whose ensembles learned from features, closes or verdicts that changed since, or that lack one of a symbol.

    A month of which no ensemble was ever trained is not missed.
    """
    db, market = view.desk.db, view.market
    marks = month_marks(db, market.name, training.STEP, _EVER)
    ages = {step: view.ages(step) for step in _SOURCES}
    stale: list[date] = []
    for month in sorted({month for month, _ in marks}):
        sessions = training_sessions(market, month)
        own = {symbol: marks.get((month, symbol)) for symbol in market.symbols}
        if not sessions or not any(_may_be_newer(known, own, sessions[0], month) for known in ages.values()):
            continue
        changed = changed_within(db, market.name, _SOURCES, sessions[0], sessions[-1])
        if any(_is_newer(changed.get(symbol), mark) for symbol, mark in own.items()):
            stale.append(month)
    return tuple(stale)


def _may_be_newer(ages: Mapping[MonthKey, int], own: Mapping[str, Mark | None], first: date, month: date) -> bool:
    """The question by whole months, which costs nothing."""
    begin = first.replace(day=1)
    return any(
        begin <= at < month and symbol in own and _is_newer(changed, own[symbol])
        for (at, symbol), changed in ages.items()
    )


def _is_newer(changed: int | None, mark: Mark | None) -> bool:
    return changed is not None and (mark is None or changed > mark.checked)


def stale_updates(view: View) -> tuple[date, ...]:
    """Sessions after which an ensemble was continued that is another one now, or on rows that changed since."""
    db, market = view.desk.db, view.market
    marks = view.marks(finetuning.STEP)
    if not marks:
        return ()
    models = month_marks(db, market.name, training.STEP, _EVER)
    months: set[date] = set()
    for step in _SOURCES:
        months |= newer_months(view.ages(step), marks, lambda month: month - _UPDATE_REACH)
    # The updates of a month continue its own ensembles, the last one those of the next month.
    for at, symbol in marks:
        bases = (models.get((month, symbol)) for month in (at, next_month(at)))
        if any(base is not None and base.changed > marks[at, symbol].checked for base in bases):
            months.add(at)
    candidates = [session for session in view.recorded(finetuning.STEP) if session.replace(day=1) in months]
    return tuple(session for session in candidates if _update_is_stale(view, session, models))


def _update_is_stale(view: View, session: date, models: Mapping[MonthKey, Mark]) -> bool:
    db, market = view.desk.db, view.market
    stored = current_versions(db, market.name, finetuning.STEP, [session], market.symbols)
    recent = finetuning.recent_sessions(market, session)
    changed = changed_within(db, market.name, _SOURCES, recent[0], recent[-1])
    month = finetuning.base_month(market, session)
    return any(
        _above(version.checked_id, changed.get(symbol), models.get((month, symbol)))
        for (_, symbol), version in stored.items()
    )


def _above(checked: int | None, changed: int | None, model: Mark | None) -> bool:
    newest: Collection[int | None] = (changed, None if model is None else model.changed)
    return checked is not None and any(one is not None and one > checked for one in newest)
