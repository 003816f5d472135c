"""The bars step: collect what is missing, then say for each symbol and session what is there and whether it is sound."""

from __future__ import annotations

from collections.abc import Sequence
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
from quant_pipeline.steps.tables import (
    Number,
    RunContext,
    SessionOutcome,
    StepResult,
    group_hashes,
    record_versions,
    session_hashes,
)
from quant_pipeline.steps.timing import session_column

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
    frame = decision_bars(desk, market, sessions[0], sessions[-1], closed_by=context.now, symbols=context.symbols)
    violations = tuple(validate_bars(frame))
    symbols = market.symbols if context.symbols is None else context.symbols
    hashes = group_hashes(frame)
    inputs = {
        (session, symbol): hashes.get((session, symbol), combine_hashes()) for session in sessions for symbol in symbols
    }
    record_versions(desk, market.name, STEP, hashes, inputs, desk.core_hash, "", context)
    combined = session_hashes(hashes, sessions)
    outcomes = tuple(_outcome(frame, session, combined[session]) for session in sessions)
    jumps = jumps_before(desk, market, sessions, closed_by=context.now)
    numbers: dict[str, Number] = {"bars_inserted": collected.inserted, "bars_changed": collected.changed}
    numbers |= {"violations": len(violations), "unexplained_jumps": len(jumps), "actions_recorded": learned.recorded}
    if learned.problem:
        numbers["actions_problem"] = learned.problem
    return BarsReport(StepResult(outcomes, numbers=numbers), collected, violations, jumps, learned)


def _outcome(frame: pd.DataFrame, session: date, content: str) -> SessionOutcome:
    rows = frame[session_column(frame["ts"]) == np.datetime64(session)]
    numbers = {"symbols": int(rows["symbol"].nunique()), "volume": float(rows["volume"].sum())}
    return SessionOutcome(session, len(rows), content, numbers)


def bad_sessions(violations: Sequence[Violation]) -> frozenset[tuple[date, str]]:
    """The (session, symbol) pairs whose bars break a rule: they become HOLD with `bad_data`."""
    return frozenset((v.ts.date(), v.symbol) for v in violations if v.ts is not None)
