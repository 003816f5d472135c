"""The rules of trading of one market as one validated value; where they are read from belongs to the settings."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from quant_pipeline.core.trading.kernel_types import KernelParams

_MAX_DECIMALS = 9
_HOUR_NS = 3_600_000_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class TradingParams:
    """Limits, thresholds, lot grid and costs of one market. Fractions are of the book's equity; losses are negative.

    Attributes:
        max_exposure: most that holdings and pending buys may be worth together.
        max_positions: most symbols held or being bought; a holding worth less than `min_notional` takes no place.
        max_position: most that one symbol may be worth, what is already held included.
        stop_loss: unrealised return at which everything of the symbol is sold; -1 switches it off.
        take_profit: unrealised return at which `take_profit_fraction` of the symbol is sold, once per position.
        sell_fraction: part of a holding that a SELL gives away.
        max_daily_loss: return since day start (cash flows set apart) that halts entries for `halt_hours`.
        max_daily_trades: decisions that may act in one session; exits count and are never blocked.
        buy_threshold, sell_threshold: expected return that a BUY must exceed, and that a SELL must be below.
        min_confidence: confidence that must be exceeded to act.
        vote_abstains: whether there is no rule vote, so that the AI alone decides by its thresholds.
        rebalance_factor: how many times better than the weakest holding a blocked BUY must be to replace it.
        vol_reference: daily volatility up to which a position has its full size.
        slippage: fraction by which a simulated fill is worse than the price that it is based on.
        min_notional: smallest order value in quote currency.
        qty_decimals: decimals of a quantity: 0 for whole shares, 8 for Upbit.
        buys_by_notional: whether entries are amounts of quote currency (rounded down to `money_decimals`).
        money_decimals: decimals of such an amount: 0 for KRW.
        fee_decimals: decimals to which each fee is rounded up, or None for fees that are not rounded.
        buy_rate, sell_rate: fees as fractions of the traded value.
        sell_per_share, sell_per_share_cap: fee for each unit sold, and its most per order (0: no cap).
        expiry_bars: bars that an undone order of the simulated book may wait for a bar in which its symbol trades.
    """

    max_exposure: float = 0.80
    max_positions: int = 7
    max_position: float = 0.10
    stop_loss: float = -0.05
    take_profit: float = 0.10
    take_profit_fraction: float = 1.0
    sell_fraction: float = 1.0
    max_daily_loss: float = -0.02
    halt_hours: float = 24.0
    max_daily_trades: int = 50
    buy_threshold: float = 0.005
    sell_threshold: float = -0.005
    min_confidence: float = 0.7
    vote_abstains: bool = False
    rebalance_factor: float = 1.5
    vol_reference: float = 0.015
    slippage: float = 0.0005
    min_notional: float = 0.0
    qty_decimals: int = 0
    buys_by_notional: bool = False
    money_decimals: int = 2
    fee_decimals: int | None = None
    buy_rate: float = 0.0
    sell_rate: float = 0.0
    sell_per_share: float = 0.0
    sell_per_share_cap: float = 0.0
    expiry_bars: int = 1

    def __post_init__(self) -> None:
        """Refuse values under which the rules would mean nothing.

        Raises:
            ValueError: a value is outside its range; the message names it and the range.
            TypeError: a value is not of the declared kind.
        """
        _check_kinds(self)
        for name, low, high in _RANGES:
            value = getattr(self, name)
            if not low <= value <= high:
                msg = f"trading parameter {name}={value} is outside [{low:g}, {high:g}]; set a value in that range"
                raise ValueError(msg)
        for name in _POSITIVE:
            if not getattr(self, name) > 0:
                msg = f"trading parameter {name}={getattr(self, name)} must be above 0"
                raise ValueError(msg)
        for name in ("stop_loss", "max_daily_loss"):
            if not getattr(self, name) < 0:
                msg = f"trading parameter {name}={getattr(self, name)} must be below 0: losses are negative fractions"
                raise ValueError(msg)
        if self.fee_decimals is not None and not 0 <= self.fee_decimals <= _MAX_DECIMALS:
            msg = f"trading parameter fee_decimals={self.fee_decimals} is outside [0, {_MAX_DECIMALS}]; leave it None"
            raise ValueError(msg)

    @property
    def qty_scale(self) -> int:
        """Lots in one unit (share, coin)."""
        return int(10**self.qty_decimals)

    def to_kernel(self) -> KernelParams:
        """The same values in the exact types that the compiled kernel takes."""
        return KernelParams(
            max_exposure=float(self.max_exposure),
            max_positions=int(self.max_positions),
            max_position=float(self.max_position),
            stop_loss=float(self.stop_loss),
            take_profit=float(self.take_profit),
            take_profit_fraction=float(self.take_profit_fraction),
            sell_fraction=float(self.sell_fraction),
            max_daily_loss=float(self.max_daily_loss),
            halt_ns=round(self.halt_hours * _HOUR_NS),
            max_daily_trades=int(self.max_daily_trades),
            buy_threshold=float(self.buy_threshold),
            sell_threshold=float(self.sell_threshold),
            min_confidence=float(self.min_confidence),
            vote_abstains=bool(self.vote_abstains),
            rebalance_factor=float(self.rebalance_factor),
            vol_reference=float(self.vol_reference),
            slippage=float(self.slippage),
            min_notional=float(self.min_notional),
            qty_scale=float(self.qty_scale),
            buys_by_notional=bool(self.buys_by_notional),
            money_scale=float(10**self.money_decimals),
            fee_scale=0.0 if self.fee_decimals is None else float(10**self.fee_decimals),
            expiry_bars=int(self.expiry_bars),
        )

    def fee_row(self) -> tuple[float, float, float, float]:
        """The fee rates in the order in which the kernel reads them."""
        return (self.buy_rate, self.sell_rate, self.sell_per_share, self.sell_per_share_cap)


_RANGES: tuple[tuple[str, float, float], ...] = (
    ("max_exposure", 0.0, 1.0),
    ("max_positions", 1, 10_000),
    ("max_position", 0.0, 1.0),
    ("stop_loss", -1.0, 0.0),
    ("take_profit", 0.0, 1e6),
    ("take_profit_fraction", 0.0, 1.0),
    ("sell_fraction", 0.0, 1.0),
    ("max_daily_loss", -1.0, 0.0),
    ("halt_hours", 0.0, 24.0 * 365),
    ("max_daily_trades", 1, 1_000_000),
    ("buy_threshold", 0.0, 1.0),
    ("sell_threshold", -1.0, 0.0),
    ("min_confidence", 0.0, 1.0),
    ("rebalance_factor", 1.0, 1e6),
    ("vol_reference", 0.0, 10.0),
    ("slippage", 0.0, 0.5),
    ("min_notional", 0.0, 1e12),
    ("qty_decimals", 0, _MAX_DECIMALS),
    ("money_decimals", 0, _MAX_DECIMALS),
    ("buy_rate", 0.0, 0.5),
    ("sell_rate", 0.0, 0.5),
    ("sell_per_share", 0.0, 1e6),
    ("sell_per_share_cap", 0.0, 1e12),
    ("expiry_bars", 1, 1_000_000),
)
_POSITIVE = (
    *("max_exposure", "max_position", "take_profit", "take_profit_fraction", "sell_fraction"),
    *("halt_hours", "vol_reference"),
)
_INTEGERS = ("max_positions", "max_daily_trades", "qty_decimals", "money_decimals", "expiry_bars")
_FLAGS = ("vote_abstains", "buys_by_notional")


def _check_kinds(params: TradingParams) -> None:
    for field in fields(params):
        value = getattr(params, field.name)
        if field.name in _FLAGS:
            kind_fits = isinstance(value, bool)
        elif field.name in _INTEGERS or field.name == "fee_decimals":
            kind_fits = isinstance(value, int) and not isinstance(value, bool)
            kind_fits = kind_fits or (field.name == "fee_decimals" and value is None)
        else:
            kind_fits = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
        if not kind_fits:
            msg = f"trading parameter {field.name}={value!r} must be a finite value of type {field.type}"
            raise TypeError(msg)
