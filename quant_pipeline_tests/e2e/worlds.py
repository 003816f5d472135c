"""What the end-to-end tests trade: few symbols, a short history, a few live sessions of both markets. No assertions."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

from quant_pipeline.automation import tick_config
from quant_pipeline.demo.history import build_history, run_job
from quant_pipeline.demo.worker import tick_times
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.server import ExchangeHandle, running_exchange
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import MARKETS, get_market
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.timing import tick_session
from quant_pipeline_tests.e2e.desks import OpenDesk

NAMES: Final = tuple(market.name for market in MARKETS)
SEED: Final = 11
LIVE_FROM: Final = date(2026, 3, 2)
LIVE: Final = {"us_equity": 4, "krw_crypto": 2}
HISTORY: Final = {"us_equity": 200, "krw_crypto": 110}
SERVED_MONTH: Final = date(2026, 3, 1)
TRAINED: Final = {"us_equity": (date(2026, 2, 1), SERVED_MONTH), "krw_crypto": (SERVED_MONTH,)}
"""The months with models. There is too little history for earlier ones."""

# Models of so short a history are seldom sure, hence lower thresholds; early profits are taken so that there are sales.
_AI: Final = {
    "min_training_sessions": 80,
    "tuning_trials": 4,
    "tuning_symbols": 1,
    "buy_threshold": 0.001,
    "sell_threshold": -0.001,
    "confidence_threshold": 0.3,
}
_US: Final[dict[str, Any]] = {
    "symbols": ["MSFT", "XOM", "JPM", "NVDA"],
    "min_history_sessions": 40,
    "ai": {**_AI, "min_training_sessions": 150},
    "risk": {"take_profit_pct": 0.02},
}
_KRW: Final[dict[str, Any]] = {
    "symbols": ["KRW-SOL", "KRW-ETH"],
    "decision_interval": "4h",
    "horizon_bars": 6,
    "min_history_sessions": 40,
    "ai": _AI,
    "risk": {"take_profit_pct": 0.005},
}
_NO_LIMITS: Final = {
    "alpaca_trading_per_minute": 1_000_000,
    "alpaca_data_per_minute": 1_000_000,
    "upbit_quotation_per_second": 100_000,
    "upbit_exchange_per_second": 100_000,
    "upbit_order_per_second": 100_000,
}


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick that was run: when, for which session, as which Dagster run."""

    at: datetime
    session: date
    run_id: str


def live_sessions(name: str) -> tuple[date, ...]:
    """The sessions that are traded tick by tick."""
    kind = get_market(name).calendar
    return calendar.sessions(kind, LIVE_FROM, LIVE_FROM + timedelta(days=14))[: LIVE[name]]


def past_sessions(name: str) -> tuple[date, ...]:
    """The sessions before them."""
    kind = get_market(name).calendar
    return calendar.sessions(kind, LIVE_FROM - timedelta(days=3 * HISTORY[name]), LIVE_FROM)[:-1][-HISTORY[name] :]


@contextmanager
def exchanges() -> Iterator[dict[str, ExchangeHandle]]:
    """One simulated exchange for each market, standing at the first live open, so that each has a clock of its own."""
    with ExitStack() as stack:
        handles: dict[str, ExchangeHandle] = {}
        for name in NAMES:
            opens = calendar.session_hours(get_market(name).calendar, LIVE_FROM).opens_at.astimezone(UTC)
            config = ExchangeConfig(alpaca_port=0, upbit_port=0, seed=SEED, clock=opens.isoformat())
            config = dataclasses.replace(config, **_NO_LIMITS)
            handles[name] = stack.enter_context(running_exchange(config))
        yield handles


def content(handles: Mapping[str, ExchangeHandle]) -> dict[str, Any]:
    """The settings of a desk that trades on these exchanges."""
    ports = {
        "exchange_alpaca": urlsplit(handles["us_equity"].alpaca_url).port,
        "exchange_upbit": urlsplit(handles["krw_crypto"].upbit_url).port,
    }
    markets = {
        name: {**changes, "history_start": past_sessions(name)[0]}
        for name, changes in (("us_equity", _US), ("krw_crypto", _KRW))
    }
    return {"ports": ports, "markets": markets}


def make_history(desk: OpenDesk, name: str, last: date) -> None:
    """Everything from the first session to `last`, with all models that can be trained by then."""
    market = desk.settings.market(name)
    build_history(
        desk.defs,
        desk.instance,
        market,
        market.history_start,
        last,
        months=TRAINED[name],
        progress=lambda _text, _part: None,
    )


def trade(desk: OpenDesk, name: str, admin: AdminClient) -> tuple[Tick, ...]:
    """Move the exchange's clock through the live sessions and run the live chain at each tick."""
    market = desk.settings.market(name)
    done: list[Tick] = []
    for at in tick_times(market, live_sessions(name)):
        admin.set_clock(at)
        done.append(run_tick(desk, market, at))
    return tuple(done)


def run_tick(desk: OpenDesk, market: MarketSettings, at: datetime) -> Tick:
    """One run of the live chain, launched as the schedule launches it."""
    session = tick_session(market, at)
    tags = {"quant/tick": at.astimezone(UTC).isoformat()}
    done = run_job(
        desk.defs,
        desk.instance,
        market,
        "smart_trading_pipeline",
        session,
        run_config=tick_config(),
        tags=tags,
    )
    return Tick(at, session, done.run_id)
