"""What is known about symbols before any price: name, listing, and the level and liveliness of the generated market."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SymbolSpec:
    """One symbol.

    `level` is the price round which its generated path swings, `volatility` scales its own noise, `beta` its share of
    the market's moves, `activity` is a usual session's volume (shares or coins). `listing` is the exchange of a share,
    the Korean name of a coin.
    """

    symbol: str
    name: str
    listing: str
    level: float
    volatility: float
    beta: float
    activity: float


_US: tuple[tuple[str, str, str, float, float, float, float], ...] = (
    ("AAPL", "Apple Inc.", "NASDAQ", 205.0, 1.0, 1.1, 55e6),
    ("ABT", "Abbott Laboratories", "NYSE", 115.0, 0.8, 0.7, 6e6),
    ("AMD", "Advanced Micro Devices, Inc.", "NASDAQ", 145.0, 1.7, 1.6, 48e6),
    ("AMZN", "Amazon.com, Inc.", "NASDAQ", 190.0, 1.2, 1.2, 42e6),
    ("CAT", "Caterpillar Inc.", "NYSE", 340.0, 1.1, 1.1, 3e6),
    ("CMCSA", "Comcast Corporation", "NASDAQ", 38.0, 0.9, 0.8, 20e6),
    ("CSCO", "Cisco Systems, Inc.", "NASDAQ", 58.0, 0.9, 0.9, 18e6),
    ("DIS", "The Walt Disney Company", "NYSE", 105.0, 1.1, 1.1, 10e6),
    ("GOOGL", "Alphabet Inc.", "NASDAQ", 170.0, 1.1, 1.1, 28e6),
    ("HD", "The Home Depot, Inc.", "NYSE", 370.0, 0.9, 0.9, 3.4e6),
    ("INTC", "Intel Corporation", "NASDAQ", 30.0, 1.5, 1.3, 60e6),
    ("JNJ", "Johnson & Johnson", "NYSE", 155.0, 0.7, 0.5, 7e6),
    ("JPM", "JPMorgan Chase & Co.", "NYSE", 215.0, 1.0, 1.1, 9e6),
    ("KO", "The Coca-Cola Company", "NYSE", 65.0, 0.6, 0.5, 13e6),
    ("MA", "Mastercard Incorporated", "NYSE", 480.0, 0.9, 0.9, 2.6e6),
    ("META", "Meta Platforms, Inc.", "NASDAQ", 530.0, 1.4, 1.3, 14e6),
    ("MRK", "Merck & Co., Inc.", "NYSE", 110.0, 0.8, 0.5, 10e6),
    ("MSFT", "Microsoft Corporation", "NASDAQ", 420.0, 0.9, 1.0, 21e6),
    ("NFLX", "Netflix, Inc.", "NASDAQ", 680.0, 1.4, 1.2, 4e6),
    ("NKE", "NIKE, Inc.", "NYSE", 82.0, 1.2, 1.0, 11e6),
    ("NVDA", "NVIDIA Corporation", "NASDAQ", 125.0, 1.9, 1.7, 280e6),
    ("PEP", "PepsiCo, Inc.", "NASDAQ", 170.0, 0.6, 0.5, 6e6),
    ("PFE", "Pfizer Inc.", "NYSE", 28.0, 0.9, 0.6, 35e6),
    ("PG", "The Procter & Gamble Company", "NYSE", 168.0, 0.6, 0.5, 7e6),
    ("SPY", "SPDR S&P 500 ETF Trust", "ARCA", 560.0, 0.2, 1.0, 60e6),
    ("T", "AT&T Inc.", "NYSE", 20.0, 0.8, 0.6, 32e6),
    ("TSLA", "Tesla, Inc.", "NASDAQ", 245.0, 2.1, 1.7, 90e6),
    ("UNH", "UnitedHealth Group Incorporated", "NYSE", 560.0, 1.0, 0.7, 3.5e6),
    ("V", "Visa Inc.", "NYSE", 280.0, 0.8, 0.9, 6.5e6),
    ("VZ", "Verizon Communications Inc.", "NYSE", 42.0, 0.7, 0.5, 17e6),
    ("WMT", "Walmart Inc.", "NYSE", 78.0, 0.8, 0.6, 16e6),
    ("XOM", "Exxon Mobil Corporation", "NYSE", 116.0, 0.9, 0.8, 15e6),
)
_KRW: tuple[tuple[str, str, str, float, float, float, float], ...] = (
    ("KRW-ADA", "Ada", "에이다", 620.0, 1.3, 1.1, 45e6),
    ("KRW-AVAX", "Avalanche", "아발란체", 38_000.0, 1.4, 1.2, 450e3),
    ("KRW-BCH", "Bitcoin Cash", "비트코인캐시", 560_000.0, 1.2, 1.0, 12e3),
    ("KRW-BTC", "Bitcoin", "비트코인", 90_000_000.0, 0.6, 0.9, 4e3),
    ("KRW-DOGE", "Dogecoin", "도지코인", 210.0, 1.5, 1.2, 400e6),
    ("KRW-DOT", "Polkadot", "폴카닷", 8_600.0, 1.2, 1.1, 900e3),
    ("KRW-ETH", "Ethereum", "이더리움", 4_300_000.0, 0.8, 1.1, 35e3),
    ("KRW-LINK", "Chainlink", "체인링크", 21_000.0, 1.3, 1.1, 700e3),
    ("KRW-SOL", "Solana", "솔라나", 210_000.0, 1.3, 1.2, 600e3),
    ("KRW-XRP", "XRP", "엑스알피(리플)", 820.0, 1.2, 1.0, 250e6),
)
_KNOWN = {row[0]: SymbolSpec(*row) for row in _US + _KRW}

US_SYMBOLS: tuple[str, ...] = tuple(row[0] for row in _US)
"""The stocks that are listed when no others are configured."""

KRW_SYMBOLS: tuple[str, ...] = tuple(row[0] for row in _KRW)
"""The KRW markets that are listed when no others are configured."""


def symbol_spec(symbol: str) -> SymbolSpec:
    """What is known about `symbol`; one that is not in the tables gets a plausible spec from its name alone."""
    if symbol in _KNOWN:
        return _KNOWN[symbol]
    digest = hashlib.blake2b(symbol.encode(), digest_size=8).digest()
    lot = [byte / 255 for byte in digest]
    if symbol.startswith("KRW-"):
        level = 10.0 ** (1 + round(lot[0] * 4)) * (1 + round(lot[1] * 8))
        return SymbolSpec(symbol, symbol[4:], symbol[4:], level, 1 + lot[2], 0.8 + 0.5 * lot[3], 5e10 / level)
    level = 20.0 + round(lot[0] * 280)
    return SymbolSpec(symbol, symbol, "NYSE", level, 0.7 + lot[2], 0.5 + lot[3], 1e9 / level)
