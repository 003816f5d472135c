"""Venue rules as functions: price ticks, lots, minimums, dated fee rates. Values come from the venues' documents.

Upbit KRW ticks: docs.upbit.com, table in force since 2025-07-31. Upbit fee: 0.05 % each side on KRW markets.
Alpaca: no commission; SEC section 31 and FINRA TAF are passed on for sells, at dated rates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, ROUND_UP, Decimal

from quant_pipeline.core.values import Side
from quant_pipeline.markets.market import Market

_KRW_TICKS: tuple[tuple[Decimal, Decimal], ...] = (
    (Decimal(1_000_000), Decimal(1_000)),
    (Decimal(500_000), Decimal(500)),
    (Decimal(100_000), Decimal(100)),
    (Decimal(50_000), Decimal(50)),
    (Decimal(10_000), Decimal(10)),
    (Decimal(5_000), Decimal(5)),
    (Decimal(100), Decimal(1)),
    (Decimal(10), Decimal("0.1")),
    (Decimal(1), Decimal("0.01")),
    (Decimal("0.1"), Decimal("0.001")),
    (Decimal("0.01"), Decimal("0.0001")),
    (Decimal("0.001"), Decimal("0.00001")),
    (Decimal("0.0001"), Decimal("0.000001")),
    (Decimal("0.00001"), Decimal("0.0000001")),
)
_KRW_SMALLEST_TICK = Decimal("0.00000001")

_SEC_RATES: tuple[tuple[date, float], ...] = (
    (date(2024, 5, 22), 27.80e-6),
    (date(2025, 5, 14), 0.0),
    (date(2026, 4, 4), 20.60e-6),
)
_TAF_RATES: tuple[tuple[date, float, float], ...] = (
    (date(2024, 1, 1), 0.000166, 8.30),
    (date(2026, 1, 1), 0.000195, 9.79),
    (date(2027, 1, 1), 0.000232, 11.61),
)
_UPBIT_KRW_FEE = 0.0005


@dataclass(frozen=True, slots=True)
class FeeRates:
    """Fees in force in one session: fractions of the amount, and a fee per share sold with its cap per order."""

    buy_rate: float
    sell_rate: float
    sell_per_share: float
    sell_per_share_cap: float


def tick_size(market: Market, price: Decimal) -> Decimal:
    """The price step of `market` at `price` (quote currency).

    Raises:
        ValueError: the price is not positive.
    """
    if not price > 0:
        msg = f"price {price} must be positive to have a tick in {market.name}"
        raise ValueError(msg)
    if market.venue == "alpaca":
        return Decimal("0.01") if price >= 1 else Decimal("0.0001")
    return next((tick for floor, tick in _KRW_TICKS if price >= floor), _KRW_SMALLEST_TICK)


def round_price(market: Market, price: Decimal, *, side: Side | None = None) -> Decimal:
    """`price` on the tick grid: nearest without a side, else away from the taker (buys up, sells down)."""
    tick = tick_size(market, price)
    mode = {None: ROUND_HALF_EVEN, Side.BUY: ROUND_UP, Side.SELL: ROUND_DOWN}[side]
    return (price / tick).to_integral_value(mode) * tick


def round_qty(market: Market, qty: Decimal) -> Decimal:
    """`qty` rounded down to the lot grid."""
    return qty.quantize(Decimal(1).scaleb(-market.qty_decimals), ROUND_DOWN)


def round_money(market: Market, amount: Decimal) -> Decimal:
    """An amount of quote currency rounded down to what an order may name."""
    return amount.quantize(Decimal(1).scaleb(-market.money_decimals), ROUND_DOWN)


def min_notional(market: Market) -> Decimal:
    """The smallest order value in quote currency."""
    return market.min_notional


def fee_rates(market: Market, session: date) -> FeeRates:
    """The fee rates in force in `session`. Before the first dated row the first row applies."""
    if market.venue == "upbit":
        return FeeRates(_UPBIT_KRW_FEE, _UPBIT_KRW_FEE, 0.0, 0.0)
    sec = max((row for row in _SEC_RATES if row[0] <= session), default=_SEC_RATES[0])
    taf = max((row for row in _TAF_RATES if row[0] <= session), default=_TAF_RATES[0])
    return FeeRates(0.0, sec[1], taf[1], taf[2])
