"""What a demo can be told, and the settings that follow from it. Running it belongs to the other modules."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings, load_settings
from quant_pipeline.settings.defaults import KRW_WATCHLIST, US_WATCHLIST

GENERATED_START = {"us_equity": date(2026, 3, 2), "krw_crypto": date(2026, 4, 1)}
GENERATED_HISTORY = {"us_equity": 264, "krw_crypto": 230}
TRAINED_FROM = 200
"""Sessions with bars from which on a demo trains: its history is short."""
RECORDED_START = {"us_equity": date(2021, 11, 1), "krw_crypto": date(2025, 9, 1)}
RECORDED_HISTORY_START = {"us_equity": date(2020, 1, 2), "krw_crypto": date(2024, 11, 1)}
RECORDED_END = {"us_equity": date(2021, 12, 31), "krw_crypto": date(2025, 10, 3)}
RECORDED_KRW = ("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-DOGE")
"""Crypto that the recorded files hold; DOGE has minutes only, so its history is too short to trade on."""


@dataclass(frozen=True, slots=True)
class DemoOptions:
    """What to run.

    `data` is a folder of real files (None: the seeded generator); `sessions` live sessions per market (None: 20
    generated, or all recorded ones); `symbols` so many stocks and half as many coins (None: all that are watched);
    `home` is made anew; `keep` leaves it, and what is in it, for looking at.
    """

    home: Path
    seed: int = 7
    sessions: int | None = None
    threads: int = 1
    data: Path | None = None
    keep: bool = False
    symbols: int | None = None


def live_sessions(options: DemoOptions, market: MarketSettings) -> tuple[date, ...]:
    """The sessions that are traded tick by tick; those before them are history."""
    name = market.market.calendar
    if options.data is not None:
        listed = calendar.sessions(name, RECORDED_START[market.name], RECORDED_END[market.name])
        return listed if options.sessions is None else listed[: options.sessions]
    first = GENERATED_START[market.name]
    count = 20 if options.sessions is None else options.sessions
    return calendar.sessions(name, first, first + timedelta(days=2 * count + 10))[:count]


def clock_start(options: DemoOptions, market: MarketSettings) -> datetime:
    """When the market's clock stands at first: at the open of its first live session."""
    return calendar.session_hours(market.market.calendar, live_sessions(options, market)[0]).opens_at.astimezone(UTC)


def demo_settings(options: DemoOptions, ports: dict[str, int]) -> Settings:
    """The settings of a demo: the defaults, its own home, the given ports, and how much history there is."""
    home = options.home.resolve()
    markets: dict[str, Any] = {}
    for name in ("us_equity", "krw_crypto"):
        markets[name] = {
            "history_start": _history_start(options, name),
            "ai": {"threads": options.threads, "tuning_symbols": 2, "min_training_sessions": TRAINED_FROM},
        }
    markets["krw_crypto"] |= {"base_interval": "1h", "decision_interval": "4h", "horizon_bars": 6}
    markets["us_equity"]["ai"] |= {"training_sessions": 280}
    markets["krw_crypto"]["ai"] |= {"training_sessions": 220}
    if options.data is not None:
        markets["us_equity"]["ai"]["training_sessions"] = 440
        markets["krw_crypto"]["ai"]["training_sessions"] = 300
        markets["krw_crypto"] |= {"base_interval": "1m", "symbols": RECORDED_KRW}
        markets["us_equity"]["symbols"] = tuple(symbol for symbol in US_WATCHLIST if symbol != "SPY")
    if options.symbols is not None:
        for name, watched, count in (
            ("us_equity", US_WATCHLIST, options.symbols),
            ("krw_crypto", KRW_WATCHLIST, (options.symbols + 1) // 2),
        ):
            markets[name]["symbols"] = markets[name].get("symbols", watched)[:count]
    changes = {"state": {"home": str(home), "mlruns": str(home / "mlruns")}, "ports": ports, "markets": markets}
    changes["exchange"] = {"seed": options.seed}
    return load_settings(environ={}, changes=changes, config=_no_file(home))


def _history_start(options: DemoOptions, name: str) -> date:
    if options.data is not None:
        return RECORDED_HISTORY_START[name]
    first = GENERATED_START[name]
    kind = "nyse" if name == "us_equity" else "always"
    listed = calendar.sessions(kind, first - timedelta(days=2 * GENERATED_HISTORY[name]), first)
    return listed[-GENERATED_HISTORY[name] - 1]


def _no_file(home: Path) -> Path:
    """An empty settings file, so that a demo does not depend on what a person changed in theirs."""
    home.mkdir(parents=True, exist_ok=True)
    empty = home / "quant.toml"
    if not empty.exists():
        empty.write_text("# The demo runs with the defaults.\n", encoding="utf-8")
    return empty
