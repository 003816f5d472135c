"""What a market's settings are where nobody has chosen. The ranges of what may be chosen belong to `market.py`."""

from __future__ import annotations

from datetime import date
from typing import Any

from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, get_market

US_WATCHLIST = (
    *("AAPL", "MSFT", "GOOGL", "TSLA", "NVDA", "AMZN", "META", "NFLX", "AMD", "JNJ", "UNH", "JPM", "PG", "CAT", "XOM"),
    *("V", "MA", "DIS", "HD", "KO", "PEP", "INTC", "CSCO", "CMCSA", "VZ", "T", "MRK", "PFE", "ABT", "NKE", "WMT"),
    "SPY",
)
KRW_WATCHLIST = (
    *("KRW-BTC", "KRW-ETH", "KRW-XRP", "KRW-SOL", "KRW-DOGE"),
    *("KRW-ADA", "KRW-AVAX", "KRW-BCH", "KRW-DOT", "KRW-LINK"),
)


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
