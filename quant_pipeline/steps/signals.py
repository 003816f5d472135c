"""The signals step: each strategy's vote, the weighted score and the outcome, for every decision bar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np
import pandas as pd

from quant_pipeline.core.identity import code_hash, combine_hashes
from quant_pipeline.core.strategies.registry import DEFAULT_WEIGHTS
from quant_pipeline.core.strategies.signals import STATUS_OK, compute_signals, signal_columns
from quant_pipeline.core.values import Reason
from quant_pipeline.settings import MarketSettings
from quant_pipeline.settings.section import content_hash
from quant_pipeline.steps import indicators
from quant_pipeline.steps.bar_history import histories
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import Key, Made, RunContext, StepResult, read_step, windows_of, write_step
from quant_pipeline.steps.timing import as_dates, session_column
from quant_pipeline.storage.version_marks import newest_version
from quant_pipeline.storage.versions import Version, current_versions

STEP = "signals"
COLUMNS = signal_columns()
OK = STATUS_OK


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Vote on every stored indicator row of `sessions`; symbols with too little history are marked, not voted on."""
    after = newest_version(desk.db)
    symbols = context.symbols or market.symbols
    made_from = current_versions(desk.db, market.name, indicators.STEP, sessions)
    rows = read_step(desk, market.name, indicators.STEP, sessions)
    weights = _weights(market)
    enough = _enough_history(desk, market, sessions, symbols)
    settings = _settings(market)
    inputs = _inputs(made_from, sessions, symbols, enough, settings)
    if rows.empty:
        frame = pd.DataFrame({"symbol": [], "ts": pd.to_datetime([], utc=True)})
    else:
        rows = rows[rows["symbol"].isin(symbols)].reset_index(drop=True)
        rows["session"] = as_dates(session_column(rows["ts"]))
        voted = compute_signals(rows, weights, buy_at=market.vote.buy_at, sell_at=market.vote.sell_at)
        frame = _without_short_histories(voted, enough).drop(columns="session")
    return write_step(
        desk,
        market.name,
        STEP,
        frame,
        sessions=sessions,
        inputs=inputs,
        code_hash=_code(),
        settings_hash=settings,
        context=context,
        numbers=_numbers(frame, sessions),
        made=Made(after, windows_of(made_from)),
    )


def current_inputs(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[Key, str]:
    """What `run` would note as the inputs of `sessions` now: another hash than the stored one is stale."""
    made_from = current_versions(desk.db, market.name, indicators.STEP, sessions)
    enough = _enough_history(desk, market, sessions, market.symbols) if sessions else frozenset()
    return _inputs(made_from, sessions, market.symbols, enough, _settings(market))


def _weights(market: MarketSettings) -> dict[str, float]:
    return {**DEFAULT_WEIGHTS, **market.vote.weights}


def _settings(market: MarketSettings) -> str:
    content = {**market.vote.model_dump(mode="json"), "weights": _weights(market), "min": market.min_history_sessions}
    return content_hash(content)


def _code() -> str:
    return code_hash("strategies")


def _enough_history(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], symbols: Sequence[str]
) -> frozenset[Key]:
    """The (session, symbol) pairs with `min_history_sessions` sessions that have bars before them, in the same life."""
    least = market.min_history_sessions
    known = histories(desk, market, symbols, sessions[0], sessions[-1], count=least)
    return frozenset((s, symbol) for symbol in symbols for s in sessions if known[symbol].before(s) >= least)


def _without_short_histories(signals: pd.DataFrame, enough: frozenset[Key]) -> pd.DataFrame:
    keys = zip(signals["session"], signals["symbol"].astype(str), strict=True)
    short = np.array([key not in enough for key in keys], np.bool_)
    return signals.assign(
        vote=np.where(short, np.int8(0), signals["vote"].to_numpy()).astype(np.int8),
        status=np.where(short, Reason.NO_HISTORY.code, signals["status"].to_numpy(dtype=object)),
    )


def _inputs(
    versions: Mapping[Key, Version],
    sessions: Sequence[date],
    symbols: Sequence[str],
    enough: frozenset[Key],
    settings: str,
) -> dict[Key, str]:
    result: dict[Key, str] = {}
    for session in sessions:
        for symbol in symbols:
            version = versions.get((session, symbol))
            content = "" if version is None else version.content_hash
            result[(session, symbol)] = combine_hashes(content, str((session, symbol) in enough), settings, _code())
    return result


def _numbers(frame: pd.DataFrame, sessions: Sequence[date]) -> dict[date, dict[str, int | float | str]]:
    if frame.empty:
        return {session: {"buys": 0, "sells": 0, "holds": 0} for session in sessions}
    days = session_column(frame["ts"])
    votes = frame["vote"].to_numpy()
    numbers: dict[date, dict[str, int | float | str]] = {}
    for session in sessions:
        chosen = votes[days == np.datetime64(session)]
        numbers[session] = {
            "buys": int((chosen == 1).sum()),
            "sells": int((chosen == -1).sum()),
            "holds": int((chosen == 0).sum()),
        }
    return numbers
