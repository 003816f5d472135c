"""The two markets as frozen values. Rules that compute something from them are in `rules.py`."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from quant_pipeline.markets.calendar import CalendarName


@dataclass(frozen=True, slots=True)
class Market:
    """Everything about a market that no setting changes.

    `qty_decimals` is the lot grid (0: whole shares, 8: hundred-millionths of a coin). `buy_by` says whether market
    buys are given as a quantity or as an amount of quote currency. `min_notional` is in quote currency.
    """

    name: str
    venue: Literal["alpaca", "upbit"]
    currency: str
    calendar: CalendarName
    timezone: str
    qty_decimals: int
    money_decimals: int
    min_notional: Decimal
    buy_by: Literal["qty", "notional"]
    base_intervals: tuple[str, ...]
    sessions_per_year: int


US_EQUITY = Market(
    name="us_equity",
    venue="alpaca",
    currency="USD",
    calendar="nyse",
    timezone="America/New_York",
    qty_decimals=0,
    money_decimals=2,
    min_notional=Decimal(1),
    buy_by="qty",
    base_intervals=("1d", "1m"),
    sessions_per_year=252,
)

KRW_CRYPTO = Market(
    name="krw_crypto",
    venue="upbit",
    currency="KRW",
    calendar="always",
    timezone="Asia/Seoul",
    qty_decimals=8,
    money_decimals=0,
    min_notional=Decimal(5000),
    buy_by="notional",
    base_intervals=("1m", "1h"),
    sessions_per_year=365,
)

MARKETS: tuple[Market, ...] = (US_EQUITY, KRW_CRYPTO)


def get_market(name: str) -> Market:
    """The market called `name`.

    Raises:
        ValueError: there is no such market.
    """
    for market in MARKETS:
        if market.name == name:
            return market
    msg = f"unknown market {name!r}; use one of {', '.join(m.name for m in MARKETS)}"
    raise ValueError(msg)
