"""Which sessions of the session steps no longer fit what they were made from. What to do about it is in `dependants`."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import code_hash
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import (
    bars,
    decisions,
    facts,
    features,
    finetuning,
    indicators,
    performance,
    predictions,
    signals,
)
from quant_pipeline.steps import training as models
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.facts import other_facts
from quant_pipeline.steps.staleness import (
    NOTHING,
    NOW,
    View,
    Wanted,
    acted_months,
    by_month,
    for_all_symbols,
    newer_months,
    newest_ages,
    verified,
)
from quant_pipeline.steps.tables import Key, RunContext, group_hashes
from quant_pipeline.steps.timing import month_of
from quant_pipeline.steps.windows import current_inputs, history_of
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline.storage.touched import Touched, settle_touched, touched_bars
from quant_pipeline.storage.versions import current_versions


def changed_bars(view: View) -> frozenset[Key]:
    """The (session, symbol) whose decision bars, or what is said about them, are other than recorded, or new.

    What was written and gives the same decision bars is settled. So are bars before the first partition and on days that
    are no sessions, after they got a version like any other: windows hold them, though no run can name their day.
    """
    desk, market = view.desk, view.market
    first = _first_in_a_window(market)
    written = touched_bars(desk.db, market.name, market.symbols, date.min)
    settle_touched(desk.db, [row for row in written if row.session < first])
    written = tuple(row for row in written if first <= row.session < view.limit)
    for days in by_month(row.session for row in written if not view.is_partition(row.session)):
        bars.look_at(desk, market, days, RunContext(view.now, ""))
    changed: set[Key] = set()
    grouped: dict[date, list[Touched]] = {}
    for row in written:
        if view.is_partition(row.session):
            grouped.setdefault(month_of(row.session), []).append(row)
    for rows in grouped.values():
        sessions = sorted({row.session for row in rows})
        changed |= _differing(view, sessions, rows)
        settle_touched(desk.db, [row for row in rows if (row.session, row.symbol) not in changed])
    return frozenset(changed)


def _first_in_a_window(market: MarketSettings) -> date:
    """The first day whose bars any result of the market can depend on."""
    warmups = (max_warmup(), FEATURE_SET.warmup_bars(market.bars_per_day))
    return min(history_of(market).since(month_of(market.history_start), warmup) for warmup in warmups)


def _differing(view: View, sessions: Sequence[date], rows: Collection[Touched]) -> set[Key]:
    """The keys of `rows` without a version, or whose decision bars or facts have another hash than theirs."""
    keys = {(row.session, row.symbol) for row in rows}
    stored = current_versions(view.desk.db, view.market.name, bars.STEP, sessions)
    if all(key not in stored for key in keys):
        return keys
    frame = decision_bars(view.desk, view.market, sessions[0], sessions[-1], closed_by=view.now)
    hashes = group_hashes(frame)
    other = {key for key in keys if key not in stored or stored[key].content_hash != hashes.get(key, NOTHING)}
    return other | other_facts(view.desk, view.market, rows, stored)


def stale_indicators(view: View, changed: Collection[Key]) -> tuple[date, ...]:
    """Sessions whose indicators were made from other bars, or which lack some; `changed` bars have no version yet."""
    return _stale_windows(view, indicators.STEP, changed, max_warmup(), code_hash(*indicators.SOURCES), together=False)


def stale_features(view: View, changed: Collection[Key]) -> tuple[date, ...]:
    """As `stale_indicators`."""
    warmup = FEATURE_SET.warmup_bars(view.market.bars_per_day)
    together = bool(FEATURE_SET.cross_sectional)
    return _stale_windows(view, features.STEP, changed, warmup, code_hash(*features.SOURCES), together=together)


def _stale_windows(
    view: View, step: str, changed: Collection[Key], warmup: int, code: str, *, together: bool
) -> tuple[date, ...]:
    ages = newest_ages(view.ages(bars.STEP), view.ages(facts.STEP)) | {
        (month_of(session), symbol): NOW for session, symbol in changed
    }
    history = history_of(view.market)
    if together:
        ages = for_all_symbols(ages, view.market.symbols)
    marks = view.marks(step)

    def reach(month: date) -> date:
        return history.since(month, warmup)

    months = newer_months(ages, marks, reach) | acted_months(view, marks, reach)
    missing = {*view.missing(step, bars.STEP, view.market.history_start), *(session for session, _ in changed)}

    def wanted(sessions: Sequence[date]) -> tuple[dict[Key, str], set[Key]]:
        context = RunContext(view.now, "")
        return current_inputs(view.desk, view.market, sessions, context, warmup=warmup, code=code, together=together)

    return verified(view, step, months, missing, wanted)


def stale_signals(view: View) -> tuple[date, ...]:
    """Sessions whose votes were made from other indicators, or whose symbols have enough history only now."""
    marks = view.marks(signals.STEP)
    reach = timedelta(days=2 * view.market.min_history_sessions + 31)
    months = newer_months(view.ages(indicators.STEP), marks, _same_month)
    months |= newer_months(view.ages(bars.STEP), marks, lambda month: month - reach)
    missing = view.missing(signals.STEP, indicators.STEP, view.market.history_start)
    return verified(view, signals.STEP, months, missing, _with_content(view, signals.current_inputs, indicators.STEP))


def stale_predictions(view: View) -> tuple[date, ...]:
    """Sessions whose opinions were made from other features, votes or models; those before the first are not missed."""
    recorded = view.recorded(predictions.STEP)
    if not recorded:
        return ()
    marks = view.marks(predictions.STEP)
    months: set[date] = set()
    for step in (features.STEP, signals.STEP, models.STEP):
        months |= newer_months(for_all_symbols(view.ages(step), view.market.symbols), marks, _same_month)
    # The update after the last session of a month serves the next one.
    months |= newer_months(view.ages(finetuning.STEP), marks, lambda month: month - timedelta(days=1))
    missing = view.missing(predictions.STEP, signals.STEP, recorded[0])
    wanted = _with_content(view, predictions.current_inputs, signals.STEP)
    return verified(view, predictions.STEP, months, missing, wanted)


def stale_decisions(view: View) -> tuple[date, date] | None:
    """From the first session that the shadow book must decide again to the last that is decided, or None.

    The book depends on every session before, so all that follow are rolled too. Sessions before the first decided one
    are not missed.
    """
    recorded = view.recorded(decisions.STEP)
    if not recorded:
        return None
    marks = view.marks(decisions.STEP)
    months: set[date] = set()
    for step in (*decisions.INPUT_STEPS, facts.STEP):
        months |= newer_months(view.ages(step), marks, _same_month)
    missing = view.missing(decisions.STEP, bars.STEP, recorded[0])
    wanted = _with_content(view, decisions.current_inputs, bars.STEP)
    stale = {*verified(view, decisions.STEP, months, missing, wanted), *_broken_path(view, recorded)}
    return (min(stale), max(*stale, *recorded)) if stale else None


def _broken_path(view: View, recorded: Sequence[date]) -> list[date]:
    """Sessions that began with another book than the session before ends with now."""
    db, market = view.desk.db, view.market
    name = market.market.calendar
    states = shadow_state_hashes(db, market.name, calendar.previous_session(name, recorded[0]), recorded[-1])
    opened = current_versions(db, market.name, decisions.FILLS, recorded)
    found: list[date] = []
    for session in recorded:
        version, before = opened.get((session, "")), states.get(calendar.previous_session(name, session))
        if version is not None and before is not None and version.inputs_hash != before:
            found.append(session)
    return found


def stale_performance(view: View) -> tuple[date, ...]:
    """Sessions whose figures of the shadow book were made from other states of it."""
    recorded = view.recorded(performance.STEP)
    if not recorded:
        return ()
    stored = current_versions(view.desk.db, view.market.name, performance.STEP, recorded, [Book.SHADOW])
    wanted = performance.current_inputs(view.desk, view.market, recorded)
    return tuple(
        session
        for session in recorded
        if (version := stored.get((session, Book.SHADOW))) is not None
        and version.inputs_hash != wanted[session, Book.SHADOW]
    )


def _with_content(
    view: View, inputs: Callable[[Desk, MarketSettings, Sequence[date]], dict[Key, str]], source: str
) -> Wanted:
    """Inputs as a step would note them; a version is needed where `source` has content."""

    def wanted(sessions: Sequence[date]) -> tuple[dict[Key, str], set[Key]]:
        made = current_versions(view.desk.db, view.market.name, source, sessions)
        needed = {key for key, version in made.items() if version.content_hash != NOTHING}
        return inputs(view.desk, view.market, sessions), needed

    return wanted


def _same_month(month: date) -> date:
    return month
