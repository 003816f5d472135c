"""The decisions step: rolls the shadow book over sessions, and in a tick decides the newest closed bar for the broker's.

Both go through the same kernel. What a decision of the broker's book wants done becomes intents; nothing is sent here.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from quant_pipeline.core.adjust import PriceAction
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.trading.state import BookState
from quant_pipeline.core.values import Book, Reason
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features, indicators, predictions, signals
from quant_pipeline.steps.actions import book_events, distrusted, jumps_before
from quant_pipeline.steps.broker_decisions import decide_for_broker
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.decision_rows import Outcome, Place, decision_row
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.grids import Grid, make_grid
from quant_pipeline.steps.params import trading_params
from quant_pipeline.steps.shadow import RolledSession, opening_state, roll_sessions, store_rolled
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    StepResult,
    read_step,
    windows_of,
    write_step,
)
from quant_pipeline.storage.bar_quality import BarQuality, read_quality
from quant_pipeline.storage.changes import latest_decision_ids
from quant_pipeline.storage.decisions import Decision, append_decisions
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import Version, current_versions

STEP = "decisions"
FILLS = "shadow_fills"
INPUT_STEPS = ("bars", indicators.STEP, signals.STEP, features.STEP, predictions.STEP)


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Decide every closed bar of `sessions` for the shadow book, and in a tick the newest one for the broker's book.

    The whole market is decided together even in a run limited to some symbols: a decision depends on the whole book.

    Raises:
        MissingSessionError: the shadow book has no state before the first of `sessions`.
    """
    after = newest_version(desk.db)
    opening = opening_state(desk, market, sessions[0])
    grid = _grid(desk, market, sessions, context, opening.symbols)
    rolled = list(roll_sessions(market, grid, sessions, opening, _events(desk, market, grid, sessions, opening)))
    versions = _input_versions(desk, market, sessions)
    inputs = _inputs(versions, _bad_rules(desk, market, sessions), grid.symbols, sessions)
    latest = latest_decision_ids(desk.db, market.name, Book.SHADOW, sessions[0], sessions[-1])
    rows = [row for part in rolled for row in _shadow_rows(desk, market, grid, part, inputs, latest, context)]
    append_decisions(desk.db, rows)
    store_rolled(desk, market, grid, rolled)
    _write_fills(desk, market, grid, rolled, after, context)
    numbers = {part.session: _numbers(part) for part in rolled}
    live = decide_for_broker(desk, market, grid, sessions[-1], inputs, context) if context.tick else ()
    if context.tick:
        numbers[sessions[-1]] |= {f"broker_{reason}": n for reason, n in Counter(d.reason for d in live).items()}
    return write_step(
        desk,
        market.name,
        STEP,
        _frame(rows),
        sessions=sessions,
        inputs={key: combine_hashes(*parts.values()) for key, parts in inputs.items()},
        code_hash=desk.core_hash,
        settings_hash=market.trading_hash(),
        context=_unlimited(context),
        numbers=numbers,
        made=Made(after, windows_of(*versions.values())),
    )


def current_inputs(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[Key, str]:
    """What `run` would note as the inputs of `sessions` now: another hash than the stored one is stale."""
    versions, bad = _input_versions(desk, market, sessions), _bad_rules(desk, market, sessions)
    found = _inputs(versions, bad, market.symbols, sessions)
    return {key: combine_hashes(*parts.values()) for key, parts in found.items()}


def _unlimited(context: RunContext) -> RunContext:
    return RunContext(context.now, context.run_id, context.origin, context.tick)


def _grid(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext, held: Sequence[str]
) -> Grid:
    """The market's symbols, and those it no longer lists but the shadow still holds: nobody votes on these any more."""
    left = sorted(set(held) - set(market.symbols))
    bars = decision_bars(
        desk,
        market,
        sessions[0],
        sessions[-1],
        closed_by=context.now,
        symbols=(*market.symbols, *left) if left else None,
        run_id=context.run_id,
    )
    tables = [read_step(desk, market.name, step, sessions) for step in (signals.STEP, predictions.STEP, features.STEP)]
    if left:
        tables = [t if t.empty else t[~t["symbol"].isin(left)].reset_index(drop=True) for t in tables]
    jumps = jumps_before(desk, market, sessions, closed_by=context.now, run_id=context.run_id)
    doubtful = distrusted(market, jumps, sessions)
    voted, opined, described = tables
    found = read_quality(desk.db, market.name, None, sessions[0], sessions[-1], found_only=True)
    return make_grid(
        market, (*market.symbols, *left), bars, voted, opined, described, distrusted=doubtful, quality=found
    )


def _events(
    desk: Desk, market: MarketSettings, grid: Grid, sessions: Sequence[date], opening: BookState
) -> tuple[PriceAction, ...]:
    """What happened to the shares of the book since it was last rolled."""
    first = date.fromordinal(opening.session + 1) if opening.session else sessions[0]
    return book_events(desk, market, grid.symbols, min(first, sessions[0]), sessions[-1])


def _input_versions(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[str, dict[Key, Version]]:
    return {step: current_versions(desk.db, market.name, step, sessions) for step in INPUT_STEPS}


def _bad_rules(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[Key, str]:
    """The rules for which bars of a (session, symbol) are not believed, and from when on if not all of them are."""
    found = read_quality(desk.db, market.name, None, sessions[0], sessions[-1], found_only=True) if sessions else ()
    return {(verdict.session, verdict.symbol): _bad_part(verdict) for verdict in found if verdict.status == "bad"}


def _bad_part(verdict: BarQuality) -> str:
    return verdict.rules if verdict.since is None else f"{verdict.rules} since {verdict.since.isoformat()}"


def _inputs(
    versions: Mapping[str, Mapping[Key, Version]],
    bad: Mapping[Key, str],
    symbols: Sequence[str],
    sessions: Sequence[date],
) -> dict[Key, dict[str, str]]:
    """For each (session, symbol) the content hashes of everything that its decisions were made from."""
    found: dict[Key, dict[str, str]] = {}
    for session in sessions:
        for symbol in symbols:
            rows = {step: known.get((session, symbol)) for step, known in versions.items()}
            found[(session, symbol)] = {step: row.content_hash for step, row in rows.items() if row is not None}
            if (session, symbol) in bad:
                found[(session, symbol)]["quality"] = bad[(session, symbol)]
    return found


def _shadow_rows(
    desk: Desk,
    market: MarketSettings,
    grid: Grid,
    part: RolledSession,
    inputs: Mapping[tuple[date, str], Mapping[str, str]],
    latest: Mapping[tuple[str, datetime], tuple[int, str]],
    context: RunContext,
) -> list[Decision]:
    """One row for each symbol's bar of a session; symbols without a bar have none."""
    params, settings_hash = trading_params(market, part.session), market.trading_hash()
    rows: list[Decision] = []
    for i, row in enumerate(part.rows):
        for column, symbol in enumerate(grid.symbols):
            if part.result.reason[i, column] == Reason.NO_BAR:
                continue
            pair = int(part.result.pair[i, column])
            outcome = Outcome(
                int(part.result.action[i, column]),
                int(part.result.reason[i, column]),
                int(part.result.lots[i, column]),
                float(part.result.notional[i, column]),
                None if pair < 0 else grid.symbols[pair],
            )
            rows.append(
                decision_row(
                    desk,
                    market,
                    Book.SHADOW,
                    grid,
                    Place(int(row), column),
                    outcome,
                    equity=float(part.result.equity[i]),
                    params=params,
                    inputs={"book": part.opening_hash, **inputs[(part.session, symbol)]},
                    latest=latest,
                    settings_hash=settings_hash,
                    context=context,
                )
            )
    return rows


def _write_fills(
    desk: Desk, market: MarketSettings, grid: Grid, rolled: Sequence[RolledSession], after: int, context: RunContext
) -> None:
    """The shadow's fills as a table of their own; recomputable, so they are in the lake."""
    frames = [_fills_frame(grid, part) for part in rolled]
    frame = (
        pd.concat([f for f in frames if not f.empty], ignore_index=True)
        if any(not f.empty for f in frames)
        else frames[0]
    )
    write_step(
        desk,
        market.name,
        FILLS,
        frame,
        sessions=[part.session for part in rolled],
        inputs={(part.session, ""): part.opening_hash for part in rolled},
        code_hash=desk.core_hash,
        settings_hash=market.trading_hash(),
        context=_unlimited(context),
        made=Made(after),
    )


def _fills_frame(grid: Grid, part: RolledSession) -> pd.DataFrame:
    fills = part.result.fills
    starts = grid.ts[part.rows[fills.bar]] if len(fills.bar) else np.empty(0, "datetime64[ns]")
    return pd.DataFrame(
        {
            "symbol": np.array([grid.symbols[i] for i in fills.symbol], dtype=object),
            "ts": pd.DatetimeIndex(starts, tz="UTC"),
            "side": fills.side.astype(np.int64),
            "lots": fills.lots,
            "price": fills.price,
            "fee": fills.fee,
            "realised": fills.realised,
            "reason": np.array([Reason(int(r)).code for r in fills.reason], dtype=object),
        }
    )


def _numbers(part: RolledSession) -> dict[str, Number]:
    reasons = Counter(Reason(int(r)) for r in part.result.reason.ravel() if r != Reason.NO_BAR)
    numbers: dict[str, Number] = {reason.code: count for reason, count in sorted(reasons.items())}
    numbers["ai_vetoes"] = sum(n for r, n in reasons.items() if r.is_ai_veto)
    numbers["risk_vetoes"] = sum(n for r, n in reasons.items() if r.is_risk_veto)
    numbers["shadow_fills"] = len(part.result.fills.bar)
    numbers["bars"] = len(part.rows)
    if len(part.rows):
        numbers["shadow_equity"] = float(part.result.equity[-1])
    return numbers


def _frame(rows: Sequence[Decision]) -> pd.DataFrame:
    """The rows as the lake keeps them: what was decided, without run ids and times of writing."""
    return pd.DataFrame(
        {
            "symbol": np.array([r.symbol for r in rows], dtype=object),
            "ts": pd.DatetimeIndex([_naive(r.bar_ts) for r in rows]).as_unit("ns").tz_localize("UTC"),
            "action": np.array([r.action for r in rows], np.int64),
            "reason": np.array([r.reason for r in rows], dtype=object),
            "vote": np.array([r.vote for r in rows], np.int64),
            "qty": np.array([_float(r.qty) for r in rows]),
            "notional": np.array([_float(r.notional) for r in rows]),
            "equity": np.array([_float(r.equity) for r in rows]),
        }
    )


def _float(value: Decimal | None) -> float:
    return float("nan") if value is None else float(value)


def _naive(at: datetime) -> datetime:
    return at.replace(tzinfo=None)
