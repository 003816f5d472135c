"""What must be recomputed because bars changed: exactly the partitions that depend on them, phase after phase.

What is stale decides the phase: sessions up to features, then months of models and their updates, then predictions, then
decisions with the shadow book and its figures. A phase begins when those before it are clean, so a run that was killed
is simply asked for again. Recomputing is a run of the same steps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars, decisions, features, finetuning, indicators, performance, predictions, signals
from quant_pipeline.steps import training as models
from quant_pipeline.steps import tuning as hyperparameters
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.rejudged import outdated_verdicts
from quant_pipeline.steps.stale import (
    changed_bars,
    stale_decisions,
    stale_features,
    stale_indicators,
    stale_performance,
    stale_predictions,
    stale_signals,
)
from quant_pipeline.steps.stale_models import stale_months, stale_updates
from quant_pipeline.steps.staleness import View
from quant_pipeline.steps.timing import next_month, tick_session
from quant_pipeline.storage.hyperparameters import tuned_months

Phase = Literal["sessions", "models", "updates", "predictions", "decisions"]


@dataclass(frozen=True, slots=True)
class Work:
    """One run: these steps, in the order of the flow, over all their partitions from `first` to `last`."""

    phase: Phase
    steps: tuple[str, ...]
    first: date
    last: date


def next_work(desk: Desk, market: MarketSettings, *, now: datetime) -> tuple[Work, ...]:
    """The runs of the next phase, which may be under way together; empty when every result fits its inputs.

    The session that ticks are working on is left to them.
    """
    view = View(desk, market, now, tick_session(market, now))
    for phase in (_sessions, _models, _updates, _predictions, _decisions):
        found = phase(view)
        if found:
            return found
    return ()


def _sessions(view: View) -> tuple[Work, ...]:
    changed = changed_bars(view)
    judged = outdated_verdicts(view.desk, view.market, changed, view.limit, view.now)
    described = stale_features(view, changed)
    computed = stale_indicators(view, changed)
    voted = [session for session in stale_signals(view) if session not in set(computed)]
    return (
        *_ranges(view, "sessions", (bars.STEP,), {session for session, _ in changed | judged}),
        *_ranges(view, "sessions", (indicators.STEP, signals.STEP), computed),
        *_ranges(view, "sessions", (signals.STEP,), voted),
        *_ranges(view, "sessions", (features.STEP,), described),
    )


def _models(view: View) -> tuple[Work, ...]:
    stale = stale_months(view)
    tuned = tuned_months(view.desk.db, view.market.name) if stale else frozenset()
    return (
        *_months((hyperparameters.STEP, models.STEP), [month for month in stale if month in tuned]),
        *_months((models.STEP,), [month for month in stale if month not in tuned]),
    )


def _updates(view: View) -> tuple[Work, ...]:
    return _ranges(view, "updates", (finetuning.STEP,), stale_updates(view))


def _predictions(view: View) -> tuple[Work, ...]:
    return _ranges(view, "predictions", (predictions.STEP,), stale_predictions(view))


def _decisions(view: View) -> tuple[Work, ...]:
    span = stale_decisions(view)
    if span is not None:
        return (Work("decisions", (decisions.STEP, performance.STEP), *span),)
    return _ranges(view, "decisions", (performance.STEP,), stale_performance(view))


def _ranges(view: View, phase: Phase, steps: tuple[str, ...], sessions: Iterable[date]) -> tuple[Work, ...]:
    """One run for each stretch of sessions that follow one another."""
    name = view.market.market.calendar
    found = _stretches(sorted(set(sessions)), lambda session: calendar.next_session(name, session))
    return tuple(Work(phase, steps, first, last) for first, last in found)


def _months(steps: tuple[str, ...], months: Iterable[date]) -> tuple[Work, ...]:
    found = _stretches(sorted(set(months)), next_month)
    return tuple(Work("models", steps, first, last) for first, last in found)


def _stretches(days: list[date], following: Callable[[date], date]) -> list[tuple[date, date]]:
    found: list[tuple[date, date]] = []
    for day in days:
        if found and following(found[-1][1]) == day:
            found[-1] = found[-1][0], day
        else:
            found.append((day, day))
    return found
