"""Steps whose values are functions of bars in an anchored window: which bars each value was made from, as a hash.

A session is recomputed exactly when the bytes of the bars in its window, or the code, changed. Bars are adjusted for
splits and dividends first, to the units of each session, so that a new action changes exactly the windows it reaches.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quant_pipeline.core.adjust import Adjustment, View, views
from quant_pipeline.core.anchor import History, month_windows, required_history, session_days, symbol_blocks
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.segments import SEAM
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import adjustment_of
from quant_pipeline.steps.coverage import intervals_of
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    StepResult,
    Window,
    merge_results,
    session_hashes,
    stale_keys,
    stored_outcomes,
    write_step,
)
from quant_pipeline.steps.timing import as_dates
from quant_pipeline.storage.bar_history import feed_changes
from quant_pipeline.storage.version_marks import newest_version


def run_windowed(
    desk: Desk,
    market: MarketSettings,
    step: str,
    sessions: Sequence[date],
    context: RunContext,
    *,
    warmup: int,
    code: str,
    compute: Callable[[pd.DataFrame, Sequence[date], History], pd.DataFrame],
    together: bool = False,
) -> StepResult:
    """Compute `step` for those of `sessions` whose inputs changed, from bars that reach back `warmup` bars.

    `compute` takes bars, sessions and how far bars were read, and gives a frame with `symbol`, `ts` and the step's
    columns; `code` is the hash of the code behind it. Values of symbols that are made `together` depend on all of them.
    """
    after = newest_version(desk.db)
    context = replace(context, symbols=None) if together else context
    symbols = context.symbols or market.symbols
    seen, adjustment = _seen(desk, market, sessions, context, warmup)
    inputs = _inputs_of(market, seen, sessions, symbols, warmup, code, together=together)
    keys = stale_keys(desk, market.name, step, sessions, inputs)
    days = {session for session, _ in keys}
    stale = tuple(session for session in sessions if session in days)
    kept = stored_outcomes(desk, market.name, step, [s for s in sessions if s not in days])
    if not stale:
        return StepResult(kept, reused=len(kept))
    # A symbol that is new or restated leaves the rows of the others as they are stored.
    named = {symbol for _, symbol in keys}
    touched = tuple(symbol for symbol in symbols if symbol in named)
    if len(touched) < len(symbols):
        seen = tuple(_only(view, touched) for view in seen)
        context = replace(context, symbols=touched)
    computed = write_step(
        desk,
        market.name,
        step,
        _compute(compute, seen, days, history_of(market)),
        sessions=stale,
        inputs={key: value for key, value in inputs.items() if key[0] in days and key[1] in named},
        code_hash=code,
        settings_hash="",
        context=context,
        numbers=_numbers(adjustment, stale),
        made=Made(after, window_spans(seen, warmup, history_of(market))),
    )
    return merge_results(computed, kept)


def current_inputs(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    context: RunContext,
    *,
    warmup: int,
    code: str,
    together: bool,
) -> tuple[dict[Key, str], set[Key]]:
    """What `run_windowed` would note as the inputs of `sessions` now, and the (session, symbol) that have bars."""
    seen, _ = _seen(desk, market, sessions, context, warmup)
    symbols = context.symbols or market.symbols
    inputs = _inputs_of(market, seen, sessions, symbols, warmup, code, together=together)
    return inputs, set(window_spans(seen, warmup, history_of(market)))


def history_of(market: MarketSettings) -> History:
    """How far back the windows of a market reach at most."""
    return History(market.decision_interval, market.market.sessions_per_year)


def _seen(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext, warmup: int
) -> tuple[tuple[View, ...], Adjustment]:
    """The bars of the windows of `sessions` in the units of each, and what they were adjusted for."""
    bars = with_seams(desk, market, bars_with_history(desk, market, sessions, context, warmup=warmup))
    adjustment = adjustment_of(desk, market, bars, sessions[-1])
    return views(bars, session_days(bars, None), sessions, adjustment), adjustment


def _only(view: View, symbols: Sequence[str]) -> View:
    return replace(view, bars=view.bars[view.bars["symbol"].isin(symbols)].reset_index(drop=True))


def _inputs_of(
    market: MarketSettings,
    seen: Sequence[View],
    sessions: Sequence[date],
    symbols: Sequence[str],
    warmup: int,
    code: str,
    *,
    together: bool,
) -> dict[Key, str]:
    """The inputs of each (session, symbol); made `together`, everybody's are those of the whole session."""
    inputs = _blank(sessions, symbols, code)
    for view in seen:
        inputs |= window_inputs(view, warmup, code, history_of(market))
    if not together:
        return inputs
    whole = session_hashes(inputs, sessions)
    return {key: whole[key[0]] for key in inputs}


def _blank(sessions: Sequence[date], symbols: Sequence[str], code: str) -> dict[Key, str]:
    """The inputs of symbols without bars."""
    return {(session, symbol): combine_hashes(code) for session in sessions for symbol in symbols}


def _numbers(adjustment: Adjustment, sessions: Sequence[date]) -> dict[date, dict[str, Number]]:
    """For each session how many splits and dividends its prices were adjusted for; they are raw where it is not said."""
    counts = {s: sum(action.ex_date <= s for action in adjustment.actions) for s in sessions}
    return {session: {"adjusted_for_actions": count} for session, count in counts.items() if count}


def _compute(
    compute: Callable[[pd.DataFrame, Sequence[date], History], pd.DataFrame],
    seen: Sequence[View],
    wanted: set[date],
    history: History,
) -> pd.DataFrame:
    """The rows of the `wanted` sessions of all views, by (symbol, time)."""
    parts = [(view, [session for session in view.sessions if session in wanted]) for view in seen]
    frames = [compute(view.bars, sessions, history) for view, sessions in parts if sessions]
    filled = [frame for frame in frames if not frame.empty] or frames[:1]
    frame = filled[0] if len(filled) == 1 else pd.concat(filled, ignore_index=True)
    return frame.drop(columns="session", errors="ignore").sort_values(["symbol", "ts"], ignore_index=True)


def bars_with_history(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext, *, warmup: int
) -> pd.DataFrame:
    """Closed decision bars from `warmup` bars before the month of the first session to the last session."""
    per_year = market.market.sessions_per_year
    first = required_history(sessions[0], warmup, market.decision_interval, sessions_per_year=per_year)
    return decision_bars(
        desk, market, first, sessions[-1], closed_by=context.now, symbols=context.symbols, run_id=context.run_id
    )


def with_seams(desk: Desk, market: MarketSettings, bars: pd.DataFrame) -> pd.DataFrame:
    """The bars with a column that marks the first bar of another feed, if there is any; see `core.segments`."""
    if bars.empty:
        return bars
    days = session_days(bars, None)
    symbols = [symbol for symbol, _, _ in symbol_blocks(bars)]
    span = as_dates(np.array([days.min(), days.max()]))
    changes = feed_changes(desk.db, market.name, intervals_of(market), symbols, *span)
    if not changes:
        return bars
    changed = {(change.symbol, np.datetime64(change.session)) for change in changes}
    first = np.ones(len(bars), dtype=bool)
    names = bars["symbol"].to_numpy(dtype=object)
    first[1:] = (days[1:] != days[:-1]) | (names[1:] != names[:-1])
    marks = np.zeros(len(bars), dtype=bool)
    for at in np.flatnonzero(first).tolist():
        marks[at] = (names[at], days[at]) in changed
    return bars.assign(**{SEAM: marks})


def window_inputs(view: View, warmup: int, code: str, history: History) -> dict[Key, str]:
    """For each (session, symbol) a hash of the code and of the bars from the window's anchor to the session's end.

    A symbol without bars in a session has no entry.
    """
    bars = view.bars
    inputs: dict[Key, str] = {}
    days = session_days(bars, None)
    rows = _row_bytes(bars)
    seams = bars[SEAM].to_numpy(dtype=bool) if SEAM in bars.columns else None
    for window in month_windows(bars, days, view.sessions, warmup, history):
        kept = days[window.keep]
        digest = hashlib.sha256(code.encode())
        position = window.start
        for day in np.unique(kept):
            stop = window.first + int(np.searchsorted(days[window.first : window.stop], day, side="right"))
            digest.update(rows[position:stop].tobytes())
            position = stop
            crossed = _seams_between(seams, window.start, stop)
            value = combine_hashes(digest.hexdigest(), crossed) if crossed else digest.hexdigest()
            inputs[(as_dates(np.array([day]))[0], window.symbol)] = value
    return inputs


def _seams_between(seams: NDArray[np.bool_] | None, start: int, stop: int) -> str:
    """Where feeds change after the first of some bars, counted from it; empty when they do not."""
    if seams is None:
        return ""
    return ",".join(str(at + 1) for at in np.flatnonzero(seams[start + 1 : stop]).tolist())


def window_spans(seen: Sequence[View], warmup: int, history: History) -> dict[Key, Window]:
    """For each (session, symbol) with bars the first and the last session whose bars are in its window."""
    spans: dict[Key, Window] = {}
    for view in seen:
        days = session_days(view.bars, None)
        for window in month_windows(view.bars, days, view.sessions, warmup, history):
            anchor = as_dates(days[window.start : window.start + 1])[0]
            spans |= {(day, window.symbol): (anchor, day) for day in as_dates(np.unique(days[window.keep]))}
    return spans


def _row_bytes(bars: pd.DataFrame) -> NDArray[np.float64]:
    """Each bar as six little-endian 8-byte words: start time and the five numbers."""
    words = np.empty((len(bars), 6), "<f8")
    words[:, 0] = bars["ts"].to_numpy(dtype="datetime64[ns]").astype("<i8").view("<f8")
    words[:, 1:] = bars[["open", "high", "low", "close", "volume"]].to_numpy(dtype="<f8")
    return words
