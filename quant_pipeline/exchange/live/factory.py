"""Putting one market of a dry run together from the exchange's settings. No behaviour."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime

from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.live.address import VenueAddress, checked_url
from quant_pipeline.exchange.live.alpaca import AlpacaWire
from quant_pipeline.exchange.live.market import LiveMarket
from quant_pipeline.exchange.live.memory import Memory
from quant_pipeline.exchange.live.upbit import UpbitWire
from quant_pipeline.exchange.live.upstream import Upstream
from quant_pipeline.exchange.live.wire import Wire
from quant_pipeline.markets.market import Market


def live_market(market: Market, config: ExchangeConfig, now: Callable[[], datetime]) -> LiveMarket:
    """The market at the venue that `config` names for it; nothing is connected yet."""
    timeout = float(config.live_timeout_seconds)
    wire: Wire
    if market.venue == "alpaca":
        keys = {"APCA-API-KEY-ID": config.live_alpaca_key, "APCA-API-SECRET-KEY": config.live_alpaca_secret}
        url = checked_url("live_us_equity", "alpaca", config.live_us_equity)
        address = VenueAddress("alpaca", url, config.live_alpaca_per_minute / 60.0, timeout, keys)
        wire, symbols = AlpacaWire(config.live_alpaca_feed), config.us_symbols
    else:
        url = checked_url("live_krw_crypto", "upbit", config.live_krw_crypto)
        address = VenueAddress("upbit", url, float(config.live_upbit_per_second), timeout)
        wire, symbols = UpbitWire(), config.krw_symbols
    return LiveMarket(Memory(market, symbols), wire, Upstream(address, now), now)
