"""The bars step: collect what is missing, then say for each symbol and session what is there and whether it is sound."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import Violation, validate_bars
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.jumps import Jump
from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import jumps_before
from quant_pipeline.steps.collect import Collected, Progress, collect_recent, collect_sessions, silent
from quant_pipeline.steps.collect_actions import CollectedActions, collect_actions
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
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
from quant_pipeline.storage.touched import Touched, settle_touched, touched_bars
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import current_versions, put_versions

STEP = "bars"
SCHEMA = tuple((name, "float64") for name in BAR_COLUMNS[2:])


@dataclass(frozen=True, slots=True)
class BarsReport:
    """What the bars step did, every rule that a stored decision bar breaks, and jumps that no split explains.

    `actions` is what was learned of splits and dividends.
    """

    result: StepResult
    collected: Collected
    violations: tuple[Violation, ...]
    jumps: tuple[Jump, ...] = ()
    actions: CollectedActions = field(default_factory=CollectedActions)


def run(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    context: RunContext,
    *,
    collect: bool = True,
    progress: Progress = silent,
) -> BarsReport:
    """Collect and check the bars of `sessions`; their data versions are what everything downstream depends on."""
    collected = Collected()
    if collect and context.tick:
        collected = collect_recent(desk, market, sessions[-1], context)
    elif collect:
        collected = collect_sessions(desk, market, sessions, context, progress=progress)
    learned = collect_actions(desk, market, sessions, context) if collect else CollectedActions()
    desk.run_bars.forget()
    frame, hashes, restated = look_at(desk, market, sessions, context)
    violations = tuple(validate_bars(frame))
    combined = session_hashes(hashes, sessions)
    outcomes = tuple(_outcome(frame, session, combined[session]) for session in sessions)
    jumps = jumps_before(desk, market, sessions, closed_by=context.now)
    numbers: dict[str, Number] = {"bars_inserted": collected.inserted, "bars_changed": collected.changed}
    numbers["restated"] = restated
    numbers |= {"violations": len(violations), "unexplained_jumps": len(jumps), "actions_recorded": learned.recorded}
    if learned.problem:
        numbers["actions_problem"] = learned.problem
    return BarsReport(StepResult(outcomes, numbers=numbers), collected, violations, jumps, learned)


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
    """Record versions of what is known, and what was restated; returns how many events that were.

    A symbol's session that nobody has fetched or imported yet has no version: its first bars are no restatement.
    """
    after = newest_version(desk.db)
    wanted = {(session, symbol) for session in sessions for symbol in symbols}
    stored = current_versions(desk.db, market.name, STEP, sessions, symbols)
    covered = {(r.session, r.symbol) for r in read_coverage(desk.db, market.name, symbols, sessions[0], sessions[-1])}
    known = sorted(wanted & (covered | stored.keys() | hashes.keys()))
    inputs = {key: hashes.get(key, combine_hashes()) for key in known}
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
