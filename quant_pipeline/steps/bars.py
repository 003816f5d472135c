"""The bars step: collect what is missing, then say for each symbol and session what is there and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.anchor import required_history
from quant_pipeline.core.bars import Violation, validate_bars
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.indicators import compute as indicators
from quant_pipeline.core.jumps import Jump
from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import read_from
from quant_pipeline.steps.collect import Collected, Progress, collect_recent, collect_sessions, silent
from quant_pipeline.steps.collect_actions import CollectedActions, collect_actions
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.facts import record_facts
from quant_pipeline.steps.freshness import Freshness, freshness
from quant_pipeline.steps.quality import Judged, judge
from quant_pipeline.steps.repair import GivenUp, given_up, repair_sessions
from quant_pipeline.steps.restated import find_restated
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    SessionOutcome,
    StepResult,
    group_hashes,
    new_versions,
    session_hashes,
)
from quant_pipeline.steps.timing import session_column
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.touched import FACTS, Touched, settle_touched, touched_bars
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import current_versions, put_versions

STEP = "bars"
SCHEMA = tuple((name, "float64") for name in BAR_COLUMNS[2:])


@dataclass(frozen=True, slots=True)
class BarsReport:
    """What the bars step did, and what was found about the bars of its sessions.

    `violations` are the rules that a stored decision bar breaks, `jumps` those that no split explains, `actions` what
    was learned of splits and dividends. `over` is the last session that is over. `fresh` compares the newest bar with
    the calendar; None where the run is about older sessions only. `given_up` are holes that are not asked for again.
    """

    result: StepResult
    collected: Collected
    violations: tuple[Violation, ...]
    judged: Judged
    over: date
    fresh: Freshness | None = None
    given_up: tuple[GivenUp, ...] = ()
    jumps: tuple[Jump, ...] = ()
    actions: CollectedActions = field(default_factory=CollectedActions)


def run(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    context: RunContext,
    *,
    collect: bool = True,
    repair: bool = False,
    progress: Progress = silent,
) -> BarsReport:
    """Collect and check the bars of `sessions`; their data versions are what everything downstream depends on.

    With `repair` only holes are filled, and versions stay as they are: what that changed downstream is then found and
    recomputed like any late bar.
    """
    collected = _collect(desk, market, sessions, context, collect=collect, repair=repair, progress=progress)
    learned = collect_actions(desk, market, sessions, context) if collect and not repair else CollectedActions()
    desk.run_bars.forget()
    symbols = market.symbols if context.symbols is None else context.symbols
    seen = () if repair else _touched(desk, market, sessions, symbols)
    frame = _with_history(desk, market, sessions, context)
    asked = frame[session_column(frame["ts"]) >= np.datetime64(sessions[0])].reset_index(drop=True)
    violations = tuple(validate_bars(asked))
    judged = judge(desk, market, frame, sessions, symbols, violations, context)
    hashes = group_hashes(asked)
    restated = 0 if repair else _record(desk, market, sessions, symbols, asked, hashes, seen, context)
    combined = session_hashes(hashes, sessions)
    outcomes = tuple(_outcome(asked, session, combined[session]) for session in sessions)
    over = calendar.last_closed_session(market.market.calendar, context.now)
    return BarsReport(
        StepResult(outcomes, numbers=_numbers(collected, violations, judged, learned, restated)),
        collected,
        violations,
        judged,
        over,
        freshness(desk, market, context.now) if sessions[-1] >= over else None,
        given_up(desk, market, judged.holes),
        judged.jumps,
        learned,
    )


def _numbers(
    collected: Collected,
    violations: Sequence[Violation],
    judged: Judged,
    learned: CollectedActions,
    restated: int,
) -> dict[str, Number]:
    numbers: dict[str, Number] = {"bars_inserted": collected.inserted, "bars_changed": collected.changed}
    numbers |= {"bars_withdrawn": collected.withdrawn, "restated": restated}
    numbers |= {"violations": len(violations), "unexplained_jumps": len(judged.jumps)}
    numbers |= {
        "holes": len(judged.holes),
        "not_traded": len({(f.session, f.symbol) for f in judged.findings if f.bad}),
    }
    numbers["actions_recorded"] = learned.recorded
    if learned.problem:
        numbers["actions_problem"] = learned.problem
    return numbers


def _collect(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    context: RunContext,
    *,
    collect: bool,
    repair: bool,
    progress: Progress,
) -> Collected:
    if repair:
        return repair_sessions(desk, market, sessions, context)
    if not collect:
        return Collected()
    if context.tick:
        return collect_recent(desk, market, sessions[-1], context)
    return collect_sessions(desk, market, sessions, context, progress=progress)


def _with_history(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> pd.DataFrame:
    """Decision bars as far back as the checks look, and as the steps after this one will: they share the read."""
    reach = max(indicators.max_warmup(), FEATURE_SET.warmup_bars(market.bars_per_day))
    per_year = market.market.sessions_per_year
    shared = required_history(sessions[0], reach, market.decision_interval, sessions_per_year=per_year)
    judged = sessions[0] - timedelta(days=market.quality.limits().history_days)
    return decision_bars(
        desk,
        market,
        min(shared, judged, read_from(market, sessions[0])),
        sessions[-1],
        closed_by=context.now,
        symbols=context.symbols,
        run_id=context.run_id,
    )


def look_at(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext
) -> tuple[pd.DataFrame, dict[Key, str], int]:
    """Record versions of `sessions` as stored now, and what was restated: decision bars, their hashes, count of events."""
    symbols = market.symbols if context.symbols is None else context.symbols
    seen = _touched(desk, market, sessions, symbols)
    frame = decision_bars(desk, market, sessions[0], sessions[-1], closed_by=context.now, symbols=context.symbols)
    hashes = group_hashes(frame)
    return frame, hashes, _record(desk, market, sessions, symbols, frame, hashes, seen, context)


def _touched(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], symbols: Sequence[str]
) -> tuple[Touched, ...]:
    """What was written since somebody looked; it is asked for before bars are read, so nothing is passed over."""
    wanted = set(sessions)
    found = touched_bars(desk.db, market.name, symbols, sessions[0], sessions[-1])
    return tuple(row for row in found if row.session in wanted)


def _record(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    symbols: Sequence[str],
    frame: pd.DataFrame,
    hashes: Mapping[Key, str],
    seen: Sequence[Touched],
    context: RunContext,
) -> int:
    """Record versions of what is known and said, and what was restated; returns how many events that were.

    A symbol's session that nobody has fetched or imported yet has no version: its first bars are no restatement.
    """
    after = newest_version(desk.db)
    wanted = {(session, symbol) for session in sessions for symbol in symbols}
    stored = current_versions(desk.db, market.name, STEP, sessions, symbols)
    covered = {(r.session, r.symbol) for r in read_coverage(desk.db, market.name, symbols, sessions[0], sessions[-1])}
    known = sorted(wanted & (covered | stored.keys() | hashes.keys()))
    inputs = {key: hashes.get(key, combine_hashes()) for key in known}
    told = record_facts(desk, market, sessions, symbols, stored, context)
    seen = (*(row for row in seen if row.interval != FACTS), *told)
    restated = find_restated(desk, market, frame, inputs, stored, seen)
    made = Made(after, {key: (key[0], key[0]) for key in known})
    rows = new_versions(market.name, STEP, hashes, inputs, desk.core_hash, "", context, made)
    if rows:
        put_versions(desk.db, rows, restated=restated, seen=seen)
    else:
        settle_touched(desk.db, seen)
    return len(restated)


def _outcome(frame: pd.DataFrame, session: date, content: str) -> SessionOutcome:
    rows = frame[session_column(frame["ts"]) == np.datetime64(session)]
    numbers = {"symbols": int(rows["symbol"].nunique()), "volume": float(rows["volume"].sum())}
    return SessionOutcome(session, len(rows), content, numbers)


def bad_sessions(violations: Sequence[Violation]) -> frozenset[tuple[date, str]]:
    """The (session, symbol) pairs whose bars break a rule: they become HOLD with `bad_data`."""
    return frozenset((v.ts.date(), v.symbol) for v in violations if v.ts is not None)
