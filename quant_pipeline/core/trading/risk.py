"""The risk of a book as numbers and warnings, for people and metrics. It changes nothing; limits are the kernel's."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from quant_pipeline.core.trading.decisions import BookView, kernel_book
from quant_pipeline.core.trading.kernel_review import measure
from quant_pipeline.core.trading.kernel_types import DAY_FLOWS, DAY_START, EDGE, EQUITY, EXPOSURE, FREE_CASH, POSITIONS
from quant_pipeline.core.trading.params import TradingParams


class AlertLevel(StrEnum):
    """How bad an alert is."""

    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True, slots=True)
class RiskAlert:
    """One level that is passed: `value` against `limit`."""

    name: str
    level: AlertLevel
    value: float
    limit: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertLimits:
    """Where warnings begin: exposure and daily return as fractions of equity, trades as a fraction of their maximum."""

    exposure: float = 0.7
    daily_return: float = -0.01
    trades: float = 0.8


@dataclass(frozen=True, slots=True, kw_only=True)
class RiskSnapshot:
    """A book's risk at one moment, in the currency of its market.

    `exposure` holds entries under way; `exposure_fraction` and `daily_return` are fractions (0 for an empty book);
    `halted_until_ns` is 0 when no halt runs.
    """

    equity: float
    exposure: float
    exposure_fraction: float
    free_cash: float
    positions: int
    daily_return: float
    trades_today: int
    halted_until_ns: int
    paused: bool
    alerts: tuple[RiskAlert, ...]


def risk_snapshot(book: BookView, params: TradingParams, limits: AlertLimits | None = None) -> RiskSnapshot:
    """Measure a book as the decision would, without deciding.

    Raises:
        ValueError: arrays of the book that do not fit together.
    """
    limits = limits or AlertLimits()
    b = kernel_book(book, np.full(len(book.symbols), np.nan))
    measure(params.to_kernel(), np.array(params.fee_row()), b)
    equity, exposure = float(b.money[EQUITY]), float(b.money[EXPOSURE])
    fraction = exposure / equity if equity > 0.0 else 0.0
    day_start = float(b.money[DAY_START])
    daily_return = (equity - float(b.money[DAY_FLOWS])) / day_start - 1.0 if day_start > 0.0 else 0.0
    halted_until = book.halted_until_ns if book.now_ns < book.halted_until_ns else 0
    trades = book.trades_today / params.max_daily_trades
    checks = (
        (fraction > limits.exposure + EDGE, RiskAlert("exposure", AlertLevel.WARNING, fraction, limits.exposure)),
        (trades > limits.trades + EDGE, RiskAlert("daily_trades", AlertLevel.WARNING, trades, limits.trades)),
        (
            daily_return < limits.daily_return - EDGE,
            RiskAlert("daily_return", AlertLevel.WARNING, daily_return, limits.daily_return),
        ),
        (halted_until > 0, RiskAlert("halted", AlertLevel.CRITICAL, daily_return, params.max_daily_loss)),
    )
    return RiskSnapshot(
        equity=equity,
        exposure=exposure,
        exposure_fraction=fraction,
        free_cash=float(b.money[FREE_CASH]),
        positions=int(b.counts[POSITIONS]),
        daily_return=daily_return,
        trades_today=book.trades_today,
        halted_until_ns=halted_until,
        paused=book.paused,
        alerts=tuple(alert for raised, alert in checks if raised),
    )
