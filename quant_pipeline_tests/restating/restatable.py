"""A desk of two shares with all results and three months of models, and what happens to its bars afterwards. No tests."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import pandas as pd

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import bars, decisions, features, indicators, performance, predictions, signals, training
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import delete_bars
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.restating import (
    import_bars,
    trending_walk,
)
from quant_pipeline_tests.steps.world import settings_for

US = "us_equity"
SYMBOLS = ("AAA", "BBB")
SESSIONS = calendar.sessions("nyse", date(2024, 6, 3), date(2026, 3, 13))
MONTHS = (date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1))
NOW = calendar.session_hours("nyse", SESSIONS[-1]).closes_at + timedelta(days=4)
LATER = NOW + timedelta(hours=1)
WALKS = pd.concat([trending_walk(symbol, SESSIONS, seed=i) for i, symbol in enumerate(SYMBOLS)], ignore_index=True)
HOLE = SESSIONS[-90]
"""A session of which AAA's bar was not there: the venue was asked and had none."""

type Change = Callable[[Desk, date], None]

MID_MONTH = SESSIONS[-150]


def start_of(session: date) -> pd.Timestamp:
    return pd.Timestamp(calendar.daily_bar_start("nyse", session))


def market_of(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def bar_of(symbol: str, session: date) -> pd.DataFrame:
    return WALKS[(WALKS["symbol"] == symbol) & (WALKS["ts"] == start_of(session))]


def correct(desk: Desk, session: date) -> None:
    bar = bar_of("AAA", session)
    store_bars(desk, US, "1d", bar.assign(close=bar["close"] * 1.004, volume=bar["volume"] + 500), at=LATER)


def deliver(desk: Desk, session: date) -> None:
    store_bars(desk, US, "1d", bar_of("AAA", session), at=LATER)


def withdraw(desk: Desk, session: date) -> None:
    delete_bars(desk.db, US, "1d", bar_of("AAA", session), at=LATER)


def restatable_settings(folder: Path) -> Settings:
    """Its settings, with its state below `folder`."""
    ai = {
        "training_sessions": 200,
        "min_training_sessions": 150,
        "confidence_threshold": 0.1,
        "buy_threshold": 1e-4,
        "sell_threshold": -1e-4,
    }
    given = {"symbols": SYMBOLS, "history_start": SESSIONS[0], "min_history_sessions": 20, "ai": ai}
    return settings_for(folder, US, vote={"mode": "abstain"}, **given)


def make_restatable(desk: Desk) -> None:
    """Everything of the bars of `WALKS`, but for the one of `HOLE`."""
    desk.registry = None  # type: ignore[assignment]
    at_hole = (WALKS["symbol"] == "AAA") & (WALKS["ts"] == start_of(HOLE))
    import_bars(desk, US, WALKS, NOW)
    delete_bars(desk.db, US, "1d", WALKS[at_hole], at=NOW)
    context = RunContext(NOW, "first")
    market = desk.settings.us_equity
    bars.run(desk, market, SESSIONS, context, collect=False)
    for step in (indicators, signals, features):
        step.run(desk, market, SESSIONS, context)
    training.run(desk, market, MONTHS, context)
    for step in (predictions, decisions, performance):
        step.run(desk, market, SESSIONS, context)
    assert restatements(desk.db) == ()
    assert next_work(desk, market, now=NOW) == ()
