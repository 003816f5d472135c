"""Opening a desk from settings: its database, lake, venues and clock. This is where modes become addresses and keys."""

from __future__ import annotations

from datetime import UTC, datetime

import requests

from quant_pipeline.cluster import databases
from quant_pipeline.core.identity import platform_fingerprint
from quant_pipeline.core.values import Mode
from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.studies import Studies
from quant_pipeline.settings import MarketSettings, Settings, SettingsError
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.identity import put_code, put_platform, put_settings
from quant_pipeline.storage.lake import Lake
from quant_pipeline.storage.migrate import check_revision
from quant_pipeline.venues.factory import VenueConfig, connect, connect_actions

SIMULATED_KEYS = {
    "alpaca": ("SIM-ALPACA-KEY", "SIM-ALPACA-SECRET"),
    "upbit": ("SIM-UPBIT-ACCESS", "SIM-UPBIT-SECRET-0123456789-0123456789-0123"),
}
"""What the simulated exchange accepts. They open nothing else; real keys are never sent to it."""

_LIVE_URLS = {"alpaca": ("https://api.alpaca.markets", "https://data.alpaca.markets")}
_LIVE_URLS["upbit"] = ("https://api.upbit.com", "https://api.upbit.com")
_PAPER_URLS = {"alpaca": ("https://paper-api.alpaca.markets", "https://data.alpaca.markets")}
_KEY_NAMES = {
    "alpaca": ("ALPACA_API_KEY", "ALPACA_API_SECRET"),
    "upbit": ("UPBIT_OPEN_API_ACCESS_KEY", "UPBIT_OPEN_API_SECRET_KEY"),
}
_CLOCK_SECONDS = 5.0


def open_desk(settings: Settings) -> Desk:
    """Open the desk. The database must have been migrated; venues are connected at first use.

    Raises:
        SchemaVersionError: the database needs `quant migrate`.
    """
    found = databases(settings)
    check_revision(found.quant)
    db = Database(found.quant)
    put_settings(db, settings.content())
    for market in settings.markets:
        put_settings(db, market.trading_content())
    platform = put_platform(db, dict(platform_fingerprint()))
    desk = Desk(
        settings=settings,
        db=db,
        lake=Lake(settings.lake_root, db),
        connect=lambda market: connect_venue(venue_config(settings, market)),
        clock=lambda market: market_clock(settings, market),
        registry=ModelRegistry(found.mlflow.sqlalchemy(), str(settings.mlruns)),
        studies=Studies(found.optuna.sqlalchemy()),
        platform_hash=platform,
    )
    put_code(db, desk.core_hash, "quant_pipeline.core")
    return desk


def connect_venue(config: VenueConfig) -> Venue:
    """All sides of a venue; nothing is sent yet."""
    return Venue(*connect(config), actions=connect_actions(config))


def venue_config(settings: Settings, market: MarketSettings) -> VenueConfig:
    """Where the orders of a market go, and with which keys.

    Raises:
        SettingsError: a key that the mode needs is missing.
    """
    venue = market.market.venue
    trading, data = _urls(settings, market)
    key, secret = _keys(settings, market)
    return VenueConfig(
        venue=venue,
        mode=market.mode,
        trading_url=market.trading_url or trading,
        data_url=market.data_url or data,
        key=key,
        secret=secret,
        live_account=market.live_account.strip() or None if market.mode is Mode.LIVE else None,
        feed=market.feed,
        limits=settings.home / "rate-limits",
    )


def market_clock(settings: Settings, market: MarketSettings) -> datetime:
    """The time at which the market lives: the simulated exchange's own clock in simulated mode, else the real time."""
    if market.mode is not Mode.SIMULATED:
        return datetime.now(UTC)
    url = f"{venue_config(settings, market).trading_url}/admin/clock"
    try:
        answer = requests.get(url, timeout=_CLOCK_SECONDS)
        answer.raise_for_status()
        return datetime.fromisoformat(answer.json()["now"]).astimezone(UTC)
    except requests.RequestException as error:
        msg = (
            f"the simulated exchange does not answer at {url}; start it with `quant exchange` (or `quant up`), "
            f"or change markets.{market.name}.mode"
        )
        raise ConnectionError(msg) from error


def _urls(settings: Settings, market: MarketSettings) -> tuple[str, str]:
    venue = market.market.venue
    if market.mode is Mode.SIMULATED:
        port = settings.ports.exchange_alpaca if venue == "alpaca" else settings.ports.exchange_upbit
        return (f"http://127.0.0.1:{port}",) * 2
    return (_PAPER_URLS if market.mode is Mode.PAPER else _LIVE_URLS)[venue]


def _keys(settings: Settings, market: MarketSettings) -> tuple[str, str]:
    venue = market.market.venue
    if market.mode is Mode.SIMULATED:
        return SIMULATED_KEYS[venue]
    names = _KEY_NAMES[venue]
    key, secret = (getattr(settings.secrets, name.lower()).get_secret_value() for name in names)
    if not key or not secret:
        missing = names[0] if not key else names[1]
        msg = f"markets.{market.name}.mode is {market.mode.value!r} but {missing} is empty; set it in the environment or .env"
        raise SettingsError(msg)
    return key, secret
