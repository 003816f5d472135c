"""Small desks of both markets with everything made of the bars that a test gives them, and what they then hold.

No assertions, and nothing that looks for changes: that is in `chains`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final
from urllib.parse import urlsplit

import pandas as pd
from sqlalchemy import text

from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline.markets import calendar
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
    training,
    tuning,
)
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.storage.bars import delete_bars
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.models import resolve_models
from quant_pipeline_tests.steps.restating import import_bars, trending_walk

US: Final = "us_equity"
KRW: Final = "krw_crypto"
FIRST: Final = {US: date(2025, 4, 28), KRW: date(2025, 12, 8)}
LAST: Final = {US: date(2026, 3, 6), KRW: date(2026, 3, 8)}
SESSIONS: Final = {
    US: calendar.sessions("nyse", FIRST[US], LAST[US]),
    KRW: calendar.sessions("always", FIRST[KRW], LAST[KRW]),
}
MONTHS: Final = {US: (date(2026, 2, 1), date(2026, 3, 1)), KRW: (date(2026, 3, 1),)}
"""The months with models; those of crypto are tuned first."""
UPDATED: Final = {name: sessions[-2:] for name, sessions in SESSIONS.items()}
"""The sessions after which models were continued."""
SYMBOLS: Final = {US: ("MSFT", "XOM"), KRW: ("KRW-SOL", "KRW-ETH")}
INTERVAL: Final = {US: "1d", KRW: "4h"}
NOW: Final = datetime(2026, 3, 9, 21, 30, tzinfo=UTC)
"""Every session of `SESSIONS` is over, and the ticks are about the one after."""
DECIDED: Final = {
    US: calendar.sessions("nyse", date(2026, 1, 12), LAST[US]),
    KRW: calendar.sessions("always", date(2026, 1, 26), LAST[KRW]),
}
"""The sessions that were predicted and decided."""
CHANGED: Final = {US: date(2026, 2, 11), KRW: date(2026, 2, 11)}
"""The session whose bar is corrected."""
ABSENT: Final = {US: date(2026, 1, 14), KRW: date(2026, 1, 28)}
"""The session whose bar comes late, or is withdrawn."""
SPLIT: Final = CorporateAction(US, "XOM", date(2026, 2, 18), "split", Decimal(2), None, None, "test", NOW)

_SEED: Final = {US: 0, KRW: 6}
"""Prices on which models pass their gate and the shadow book trades."""
_AI: Final = {"buy_threshold": 1e-4, "sell_threshold": -1e-4, "confidence_threshold": 0.05}
_CHANGES: Final[dict[str, dict[str, Any]]] = {
    US: {"ai": {**_AI, "training_sessions": 170, "min_training_sessions": 150}},
    KRW: {
        "decision_interval": "4h",
        "horizon_bars": 1,
        "ai": {**_AI, "training_sessions": 60, "min_training_sessions": 40, "tuning_trials": 4, "tuning_symbols": 1},
    },
}


@dataclass(frozen=True, slots=True)
class Bars:
    """Which bars a desk has: whether one was corrected, whether one is there, whether a split is known."""

    corrected: bool = False
    complete: bool = True
    split_known: bool = False


def content(handles: Mapping[str, ExchangeHandle]) -> dict[str, Any]:
    """The settings of a desk on these exchanges."""
    ports = {
        "exchange_alpaca": urlsplit(handles[US].alpaca_url).port,
        "exchange_upbit": urlsplit(handles[KRW].upbit_url).port,
    }
    shared = {"min_history_sessions": 20, "vote": {"mode": "abstain"}}
    markets = {
        name: {"symbols": list(SYMBOLS[name]), "history_start": FIRST[name], **shared, **changes}
        for name, changes in _CHANGES.items()
    }
    return {"ports": ports, "markets": markets}


def walks(name: str) -> pd.DataFrame:
    """The bars as they were first told. A share is split, which its raw prices show."""
    frames = [_walk(name, symbol, _SEED[name] + i) for i, symbol in enumerate(SYMBOLS[name])]
    found = pd.concat(frames, ignore_index=True)
    if name == US:
        after = ((found["symbol"] == SPLIT.symbol) & (found["ts"].dt.date >= SPLIT.ex_date)).to_numpy()
        found.loc[after, ["open", "high", "low", "close"]] /= 2.0
        found.loc[after, "volume"] *= 2.0
    return found


def _walk(name: str, symbol: str, seed: int) -> pd.DataFrame:
    if name == US:
        return trending_walk(symbol, SESSIONS[US], seed=seed)
    starts = [datetime(d.year, d.month, d.day, 4 * i, tzinfo=UTC) for d in SESSIONS[KRW] for i in range(6)]
    walk = trending_walk(symbol, calendar.sessions("nyse", date(2023, 1, 3), LAST[US])[: len(starts)], seed=seed)
    return walk.assign(ts=pd.DatetimeIndex(starts).as_unit("ns"))


def bar_of(name: str, session: date, *, corrected: bool = False) -> pd.DataFrame:
    """A bar of the first symbol in that session: its last one, as first told or corrected."""
    walk = walks(name)
    mine = walk[(walk["symbol"] == SYMBOLS[name][0]) & (walk["ts"].dt.date == session)].tail(1)
    return mine.assign(close=mine["close"] * 1.004, volume=mine["volume"] + 500) if corrected else mine


def make(desk: Desk, name: str, given: Bars) -> None:
    """Import the bars and make everything of them, as runs over all sessions do."""
    frame = walks(name)
    if given.corrected:
        other = bar_of(name, CHANGED[name], corrected=True)
        frame = pd.concat([frame.drop(bar_of(name, CHANGED[name]).index), other]).sort_index()
    if given.split_known and name == US:
        record_actions(desk.db, [SPLIT])
    import_bars(desk, name, frame, NOW, interval=INTERVAL[name])
    if not given.complete:
        delete_bars(desk.db, name, INTERVAL[name], bar_of(name, ABSENT[name]), at=NOW)
    market, context = desk.settings.market(name), RunContext(NOW, "first")
    bars.run(desk, market, SESSIONS[name], context, collect=False)
    for step in (indicators, signals, features):
        step.run(desk, market, SESSIONS[name], context)
    if name == KRW:
        tuning.run(desk, market, MONTHS[name], context)
    training.run(desk, market, MONTHS[name], context)
    finetuning.run(desk, market, UPDATED[name], context)
    for step in (predictions, decisions, performance):
        step.run(desk, market, DECIDED[name], context)


@dataclass(frozen=True, slots=True)
class Results:
    """What a desk holds of a market: hashes of contents and of inputs, which model serves, what was said and decided.

    When something was made, and by which run, is left out.
    """

    versions: Mapping[tuple[str, date, str], tuple[str, str]]
    models: Mapping[tuple[date, str], str]
    rows: Mapping[str, tuple[tuple[Any, ...], ...]]


def results(desk: Desk, name: str) -> Results:
    """Everything that is in force in a desk now."""
    sql = (
        "SELECT step, session, symbol, content_hash, inputs_hash FROM data_versions"
        " WHERE is_current AND market = :name AND step <> :told"
    )
    with desk.db.begin() as connection:
        # What is said about bars has a version only where it was said anew: a trace of the change, not a result.
        rows = connection.execute(text(sql), {"name": name, "told": facts.STEP})
        stored = {(r.step, r.session, r.symbol): (r.content_hash, r.inputs_hash) for r in rows}
    served = resolve_models(desk.db, name, SYMBOLS[name], SESSIONS[name])
    steps = (predictions.STEP, decisions.STEP, performance.STEP)
    rows = {step: _rows(read_step(desk, name, step, DECIDED[name])) for step in steps}
    return Results(stored, {key: version.content_hash for key, version in served.items()}, rows)


def _rows(frame: pd.DataFrame) -> tuple[tuple[Any, ...], ...]:
    """Rows that compare equal when their values are, absent numbers too."""
    plain = frame.astype(object).where(frame.notna(), None)
    return tuple(plain.itertuples(index=False, name=None))
