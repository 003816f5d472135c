"""The settings as typed, frozen models with their ranges and defaults. Reading them from files belongs to `load.py`."""

from __future__ import annotations

import hashlib
import json
import re
from datetime import date
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from quant_pipeline.core.values import Book, Mode, OrderType, TimeInForce
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, Market, get_market
from quant_pipeline.settings.quality import QualitySettings
from quant_pipeline.settings.section import Fraction, Section

US_WATCHLIST = (
    *("AAPL", "MSFT", "GOOGL", "TSLA", "NVDA", "AMZN", "META", "NFLX", "AMD", "JNJ", "UNH", "JPM", "PG", "CAT", "XOM"),
    *("V", "MA", "DIS", "HD", "KO", "PEP", "INTC", "CSCO", "CMCSA", "VZ", "T", "MRK", "PFE", "ABT", "NKE", "WMT"),
    "SPY",
)
KRW_WATCHLIST = (
    *("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL", "KRW-DOGE"),
    *("KRW-ADA", "KRW-AVAX", "KRW-BCH", "KRW-DOT", "KRW-LINK"),
)

Port = Annotated[int, Field(ge=1, le=65535)]
_SYMBOLS = {
    "alpaca": (r"[A-Z]{1,6}(\.[A-Z]{1,3})?", "'AAPL' or 'BRK.B'"),
    "upbit": (r"KRW-[A-Z0-9]{1,12}", "'KRW-BTC'"),
}
INTERVAL_BARS_PER_DAY = {"1d": 1, "4h": 6, "1h": 24}


class RiskSettings(Section):
    """Limits of one market. Fractions are of the market's equity; losses are negative."""

    max_portfolio_exposure: Fraction = 0.80
    max_positions: Annotated[int, Field(ge=1, le=1000)] = 7
    max_position_size: Fraction = 0.10
    stop_loss_pct: Annotated[float, Field(ge=-0.9, lt=0)] = -0.05
    take_profit_pct: Annotated[float, Field(gt=0, le=10)] = 0.10
    take_profit_fraction: Fraction = 1.0
    max_daily_loss: Annotated[float, Field(ge=-0.9, lt=0)] = -0.02
    halt_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 24
    max_daily_trades: Annotated[int, Field(ge=1, le=10_000)] = 50
    sell_fraction: Fraction = 1.0
    rebalance_factor: Annotated[float, Field(ge=1, le=100)] = 1.5
    volatility_reference: Annotated[float, Field(gt=0, le=1)] = 0.015


class AiSettings(Section):
    """The ensemble: thresholds of its opinion (daily returns), how it is trained and tuned."""

    buy_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.005
    sell_threshold: Annotated[float, Field(gt=-1, lt=0)] = -0.005
    confidence_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.7
    training_sessions: Annotated[int, Field(ge=60, le=5000)] = 500
    min_training_sessions: Annotated[int, Field(ge=30, le=5000)] = 500
    tuning_trials: Annotated[int, Field(ge=4, le=1000)] = 8
    tuning_symbols: Annotated[int, Field(ge=1, le=500)] = 500
    threads: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.min_training_sessions > self.training_sessions:
            msg = (
                f"ai.min_training_sessions ({self.min_training_sessions}) is above ai.training_sessions "
                f"({self.training_sessions}); lower the first or raise the second"
            )
            raise ValueError(msg)
        return self


class VoteSettings(Section):
    """The rule vote: weights by strategy name, and the score at which it becomes BUY or SELL."""

    mode: Literal["rules", "abstain"] = "rules"
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    buy_at: Annotated[float, Field(gt=0, le=1)] = 0.2
    sell_at: Annotated[float, Field(ge=-1, lt=0)] = -0.2

    @field_validator("weights")
    @classmethod
    def _strategies_exist(cls, weights: dict[str, float]) -> dict[str, float]:
        if weights:
            from quant_pipeline.core.strategies.registry import DEFAULT_WEIGHTS

            unknown = sorted(set(weights) - set(DEFAULT_WEIGHTS))
            if unknown:
                msg = f"vote.weights names {unknown[0]!r}, which is no strategy; known: {', '.join(DEFAULT_WEIGHTS)}"
                raise ValueError(msg)
        return weights


class OrderSettings(Section):
    """How intents become orders: type, time in force, how long an intent may wait, assumed slippage of the shadow."""

    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce | None = None
    expiry_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 120
    max_quote_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    slippage_bps: Annotated[float, Field(ge=0, le=1000)] = 5.0

    @model_validator(mode="after")
    def _best_needs_ioc(self) -> Self:
        if self.type is OrderType.BEST and self.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
            msg = f"orders.type 'best' needs orders.time_in_force 'ioc' or 'fok', not {self.time_in_force!s}"
            raise ValueError(msg)
        return self


class MarketSettings(Section):
    """Everything that can be chosen for one market."""

    name: str
    enabled: bool = True
    mode: Mode = Mode.SIMULATED
    live_account: str = ""
    symbols: Annotated[tuple[str, ...], Field(min_length=1, max_length=500)]
    base_interval: Literal["1m", "1h", "1d"]
    recent_base_sessions: Annotated[int, Field(ge=1, le=5000)] = 7
    decision_interval: Literal["1d", "4h", "1h"]
    horizon_bars: Annotated[int, Field(ge=1, le=1000)]
    tick_minutes: Annotated[int, Field(ge=1, le=60)]
    history_start: date
    catch_up_sessions: Annotated[int, Field(ge=1, le=10_000)]
    recheck_bars: Annotated[int, Field(ge=0, le=1000)] = 3
    collect_chunk_rows: Annotated[int, Field(ge=1, le=1_000_000)] = 20_000
    capital: Annotated[float, Field(gt=0)]
    min_history_sessions: Annotated[int, Field(ge=1, le=2000)] = 120
    feed: Literal["iex", "sip", "upbit"] = "iex"
    trading_url: str | None = None
    data_url: str | None = None
    vote: VoteSettings = VoteSettings()
    risk: RiskSettings = RiskSettings()
    ai: AiSettings = AiSettings()
    orders: OrderSettings = OrderSettings()
    quality: QualitySettings = QualitySettings()

    @property
    def market(self) -> Market:
        """The fixed facts of this market."""
        return get_market(self.name)

    @property
    def bars_per_day(self) -> int:
        """Decision bars in one full session."""
        return INTERVAL_BARS_PER_DAY[self.decision_interval]

    @property
    def broker_book(self) -> Book:
        """The book that the broker account of this mode keeps."""
        return Book.LIVE if self.mode is Mode.LIVE else Book.PAPER

    def trading_content(self) -> dict[str, Any]:
        """What a decision depends on, as plain JSON: no URLs, modes or accounts, so that it is equal on any machine."""
        kept = {"name", "symbols", "decision_interval", "horizon_bars", "capital", "min_history_sessions"}
        return self.model_dump(mode="json", include=kept | {"vote", "risk", "ai", "orders", "quality"})

    def trading_hash(self) -> str:
        """SHA-256 of `trading_content`."""
        return content_hash(self.trading_content())

    @field_validator("symbols")
    @classmethod
    def _symbols_differ(cls, symbols: tuple[str, ...]) -> tuple[str, ...]:
        doubled = sorted({symbol for symbol in symbols if symbols.count(symbol) > 1})
        if doubled:
            msg = f"symbols name {', '.join(doubled)} more than once; list each symbol once"
            raise ValueError(msg)
        return symbols

    @field_validator("tick_minutes")
    @classmethod
    def _ticks_are_even(cls, minutes: int) -> int:
        if 60 % minutes:
            msg = f"tick_minutes {minutes} does not divide an hour; use one of 1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60"
            raise ValueError(msg)
        return minutes

    @field_validator("trading_url", "data_url")
    @classmethod
    def _urls_are_whole(cls, url: str | None) -> str | None:
        if url is not None and (urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).hostname):
            shown = url.rpartition("@")[2]  # what stands before it may be a password
            msg = f"URL {shown!r} is empty or not http(s)://host; leave the setting out to use the venue's own address"
            raise ValueError(msg)
        return url

    @model_validator(mode="after")
    def _mode_is_deliberate(self) -> Self:
        if self.mode is Mode.LIVE and not self.live_account.strip():
            msg = f"markets.{self.name}.mode is 'live' but live_account is empty; name the account that may be traded"
            raise ValueError(msg)
        if self.mode is Mode.PAPER and self.market.venue == "upbit":
            msg = "markets.krw_crypto.mode 'paper' is impossible: Upbit has no paper accounts; use 'simulated'"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _symbols_belong_here(self) -> Self:
        pattern, example = _SYMBOLS[self.market.venue]
        wrong = [symbol for symbol in self.symbols if not re.fullmatch(pattern, symbol)]
        if wrong:
            msg = f"markets.{self.name}.symbols holds {wrong[0]!r}; symbols of {self.name} are written like {example}"
            raise ValueError(msg)
        return self


def default_market(name: str) -> dict[str, Any]:
    """The defaults of one market as a plain mapping."""
    if name == US_EQUITY.name:
        base: dict[str, Any] = {
            "symbols": US_WATCHLIST,
            "base_interval": "1d",
            "decision_interval": "1d",
            "horizon_bars": 1,
            "tick_minutes": 10,
            "history_start": date(2024, 1, 2),
            "catch_up_sessions": 750,
            "capital": 100_000.0,
            "orders": {"expiry_minutes": 390, "slippage_bps": 5.0},
        }
    elif name == KRW_CRYPTO.name:
        base = {
            "symbols": KRW_WATCHLIST,
            "base_interval": "1m",
            "decision_interval": "1h",
            "horizon_bars": 24,
            "tick_minutes": 5,
            "history_start": date(2021, 1, 1),
            "catch_up_sessions": 600,
            "capital": 100_000_000.0,
            "feed": "upbit",
            "orders": {"expiry_minutes": 60, "slippage_bps": 10.0},
        }
    else:
        get_market(name)
        base = {}
    return {**base, "name": name}


class Ports(Section):
    """Loopback ports; every one can be changed when it is taken."""

    api: Port = 5000
    mlflow: Port = 5001
    dagster: Port = 3001
    dagster_readonly: Port = 3002
    exchange_alpaca: Port = 8100
    exchange_upbit: Port = 8101
    postgres: Annotated[int, Field(ge=0, le=65535)] = 0


class PostgresSettings(Section):
    """An own server, or (host empty) the embedded one."""

    host: str = ""
    port: Port = 5432
    user: str = "quant"
    password: SecretStr = SecretStr("")
    database: str = "quant"


class ExchangeSettings(Section):
    """The simulated exchange: the seed of its prices, or the venue whose real prices a market has (a dry run).

    `live_us_equity` and `live_krw_crypto` are addresses of market data; empty means prices of our own.
    """

    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 7
    live_us_equity: str = ""
    live_krw_crypto: str = ""


class Secrets(Section):
    """Credentials; they come from the environment only, under the names of the original systems."""

    alpaca_api_key: SecretStr = SecretStr("")
    alpaca_api_secret: SecretStr = SecretStr("")
    alpaca_paper: bool = True
    upbit_open_api_access_key: SecretStr = SecretStr("")
    upbit_open_api_secret_key: SecretStr = SecretStr("")
    discord_webhook_url: SecretStr = SecretStr("")
    secret_key: SecretStr = SecretStr("")
    redis_url: SecretStr = SecretStr("")


class Settings(Section):
    """The one settings object. `root` is the folder of `quant.toml`; `home` holds all state of this desk."""

    root: Path
    home: Path
    us_equity: MarketSettings
    krw_crypto: MarketSettings
    ports: Ports = Ports()
    postgres: PostgresSettings = PostgresSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    lake: str = ""
    mlruns: Path
    secrets: Secrets = Secrets()

    @property
    def markets(self) -> tuple[MarketSettings, ...]:
        """The enabled markets, in a fixed order."""
        return tuple(m for m in (self.us_equity, self.krw_crypto) if m.enabled)

    def market(self, name: str) -> MarketSettings:
        """The settings of the enabled market `name`.

        Raises:
            ValueError: unknown, or not enabled.
        """
        found = next((m for m in self.markets if m.name == name), None)
        if found is None:
            enabled = ", ".join(m.name for m in self.markets) or "none"
            msg = f"market {name!r} is unknown or not enabled (enabled: {enabled}); see markets in quant.toml"
            raise ValueError(msg)
        return found

    @property
    def lake_root(self) -> str:
        """Folder or fsspec URL of the lake."""
        return self.lake or str(self.home / "lake")

    def content(self) -> dict[str, Any]:
        """Everything but secrets and machine paths, as plain JSON values."""
        hidden: Any = {"root": True, "home": True, "mlruns": True, "secrets": True, "postgres": {"password"}}
        return self.model_dump(mode="json", exclude=hidden)

    def content_hash(self) -> str:
        """SHA-256 of `content`."""
        return content_hash(self.content())

    @model_validator(mode="after")
    def _paper_and_live_agree(self) -> Self:
        if self.us_equity.mode is Mode.LIVE and self.secrets.alpaca_paper:
            msg = (
                "markets.us_equity.mode is 'live' while ALPACA_PAPER is true (its default); "
                "set ALPACA_PAPER=false as well, or use mode 'paper'"
            )
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _ports_differ(self) -> Self:
        taken: dict[int, str] = {}
        for name, port in self.ports.model_dump().items():
            if port and port in taken:
                msg = f"ports.{name} and ports.{taken[port]} are both {port}; give them different numbers"
                raise ValueError(msg)
            taken[port] = name
        return self


def content_hash(content: dict[str, Any]) -> str:
    """SHA-256 of a JSON mapping in canonical form (sorted names, no spaces)."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()
