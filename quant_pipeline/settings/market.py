"""Everything that can be chosen for one market. What a market is, whatever is chosen, belongs to `markets/`."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from quant_pipeline.core.values import Book, Mode
from quant_pipeline.markets.market import Market, get_market
from quant_pipeline.settings.quality import QualitySettings
from quant_pipeline.settings.section import Section, content_hash
from quant_pipeline.settings.trading import AiSettings, OrderSettings, RiskSettings, VoteSettings

_SYMBOLS = {
    "alpaca": (r"[A-Z]{1,6}(\.[A-Z]{1,3})?", "'AAPL' or 'BRK.B'"),
    "upbit": (r"KRW-[A-Z0-9]{1,12}", "'KRW-BTC'"),
}
INTERVAL_BARS_PER_DAY = {"1d": 1, "4h": 6, "1h": 24}


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
