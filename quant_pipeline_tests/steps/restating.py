"""Doing what the restate sensor asks for, phase after phase, and seeing which versions are new afterwards."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import date, datetime

import numpy as np
import pandas as pd
from sqlalchemy import text

from quant_pipeline.core.values import Origin
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import (
    bars,
    decisions,
    features,
    finetuning,
    indicators,
    performance,
    predictions,
    signals,
    training,
    tuning,
)
from quant_pipeline.steps.dependants import Work, next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import next_month
from quant_pipeline.storage.coverage import Coverage, record_coverage
from quant_pipeline_tests.steps.prices import store_bars

STEPS = {
    step.STEP: step.run
    for step in (
        indicators, signals, features, tuning, training, finetuning, predictions, decisions, performance,
    )
}  # fmt: skip
type Versions = Mapping[tuple[str, date, str], int]
_RUNS = itertools.count()
_MOST = 40


def trending_walk(symbol: str, sessions: Sequence[date], *, seed: int) -> pd.DataFrame:
    """Daily bars whose returns go on for a while, so that models find something and are accepted."""
    random = np.random.default_rng(seed)
    returns, drift = np.empty(len(sessions)), 0.0
    for i, shock in enumerate(random.normal(0, 0.006, len(sessions))):
        drift = 0.9 * drift + shock
        returns[i] = drift + random.normal(0, 0.004)
    close = 100.0 * np.exp(np.cumsum(returns))
    opened = close * np.exp(random.normal(0, 0.002, len(sessions)))
    prices = {"open": opened, "high": np.maximum(opened, close) * 1.005, "low": np.minimum(opened, close) * 0.995}
    volume = random.integers(1000, 9000, len(sessions)).astype(np.float64)
    ts = pd.DatetimeIndex([calendar.daily_bar_start("nyse", session) for session in sessions]).as_unit("ns")
    return pd.DataFrame({"symbol": symbol, "ts": ts, **prices, "close": close, "volume": volume})


def import_bars(desk: Desk, market: str, frame: pd.DataFrame, at: datetime, *, interval: str = "1d") -> None:
    """Bars with their coverage, as an import or a collection leaves them."""
    store_bars(desk, market, interval, frame, at=at)
    rows = [
        Coverage(market, symbol, interval, day, len(group), len(group), 0, group["ts"].min(), group["ts"].max(),
                 "file", "iex", "raw", "complete", at)
        for (symbol, day), group in frame.groupby(["symbol", frame["ts"].dt.date])
    ]  # fmt: skip
    record_coverage(desk.db, rows)


def perform(desk: Desk, market: MarketSettings, work: Work, at: datetime) -> None:
    """What the run that does this work does."""
    context = RunContext(at, f"restate-{next(_RUNS)}", Origin.RESTATE)
    keys = months(work) if work.phase == "models" else calendar.sessions(market.market.calendar, work.first, work.last)
    for step in work.steps:
        if step == bars.STEP:
            bars.run(desk, market, keys, context, collect=False)
        else:
            STEPS[step](desk, market, keys, context)


def months(work: Work) -> list[date]:
    """The months of a piece of work."""
    found = [work.first]
    while found[-1] < work.last:
        found.append(next_month(found[-1]))
    return found


def settle(desk: Desk, market: MarketSettings, at: datetime) -> list[Work]:
    """Do everything that is asked for until nothing is; returns what was done, in order."""
    done: list[Work] = []
    for _ in range(_MOST):
        found = next_work(desk, market, now=at)
        if not found:
            return done
        for work in found:
            perform(desk, market, work, at)
        done += found
    msg = f"after {_MOST} looks there is still work: {found}"
    raise AssertionError(msg)


def versions(desk: Desk) -> Versions:
    """The id of every current version."""
    with desk.db.begin() as connection:
        rows = connection.execute(text("SELECT step, session, symbol, id FROM data_versions WHERE is_current"))
        return {(row.step, row.session, row.symbol): row.id for row in rows}


def contents(desk: Desk, ids: Mapping[tuple[str, date, str], int]) -> dict[tuple[str, date, str], str]:
    """The content hash of each of these versions."""
    with desk.db.begin() as connection:
        rows = connection.execute(text("SELECT id, content_hash FROM data_versions"))
        known = {row.id: row.content_hash for row in rows}
    return {key: known[number] for key, number in ids.items()}


def renewed(before: Versions, after: Versions) -> dict[str, set[tuple[date, str]]]:
    """By step the (session, symbol) that have another version than before."""
    found: dict[str, set[tuple[date, str]]] = {}
    for (step, session, symbol), number in after.items():
        if before.get((step, session, symbol)) != number:
            found.setdefault(step, set()).add((session, symbol))
    return found
