"""Small inputs, books and tapes for hand-computed scenarios; everything not named has a harmless default."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import settings

from quant_pipeline.core.trading.decisions import BarDecisions, BarInputs, BookView
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import Fills, ShadowBars, ShadowResult
from quant_pipeline.core.values import Reason

PROPERTY = settings(deadline=None)
"""For property tests of compiled functions: the first call compiles, so time says nothing."""
HOUR_NS = 3_600_000_000_000
NOW_NS = 1_750_000_000_000_000_000
BUY, HOLD, SELL = 1, 0, -1

PLAIN = TradingParams(slippage=0.0)
"""The default limits without any costs: what remains is easy to compute by hand."""
KRW = TradingParams(
    slippage=0.0,
    min_notional=5000.0,
    qty_decimals=8,
    buys_by_notional=True,
    money_decimals=0,
    buy_rate=0.0005,
    sell_rate=0.0005,
)
"""The rules of Upbit's KRW markets without slippage."""

_DEFAULTS: dict[str, tuple[Any, Any]] = {
    "price": (100.0, np.float64),
    "vote": (HOLD, np.int8),
    "status": (0, np.int8),
    "expected_return": (0.02, np.float64),
    "confidence": (0.9, np.float64),
    "members_usable": (4, np.int64),
    "has_model": (True, np.bool_),
    "has_opinion": (True, np.bool_),
    "vol20": (0.01, np.float64),
}


def names(count: int) -> tuple[str, ...]:
    """`count` symbols: A, B, C, ..."""
    return tuple(chr(ord("A") + i) for i in range(count))


def inputs(shape: int | tuple[int, int], **columns: Any) -> BarInputs:
    """Inputs of one bar (S) or many (T, S); a column may be a number for all, a row, or everything."""
    size = shape if isinstance(shape, tuple) else (shape,)
    made = {
        name: np.broadcast_to(np.asarray(columns.pop(name, default), dtype), size)
        for name, (default, dtype) in _DEFAULTS.items()
    }
    assert not columns, f"unknown columns {columns}"
    return BarInputs(symbols=names(size[-1]), **made)


def book(count: int, **fields: Any) -> BookView:
    """A book of `count` symbols, by default 100,000 in cash and nothing held (average cost 100 where it is)."""
    longs = {name: np.asarray(fields.pop(name, [0] * count), np.int64) for name in ("lots", "pending_sell_lots")}
    floats = {
        "avg_price": np.asarray(fields.pop("avg_price", [100.0] * count)),
        "pending_buy_notional": np.asarray(fields.pop("pending_buy_notional", [0.0] * count)),
    }
    equity = float(fields.pop("equity", 100_000.0))
    rest = {"cash": equity, "equity": equity, "day_start_equity": equity, "now_ns": NOW_NS} | fields
    return BookView(symbols=names(count), **longs, **floats, **rest)


def outcome(decisions: BarDecisions) -> list[tuple[int, Reason, int]]:
    """(action, reason, lots) of each symbol."""
    return [
        (int(action), Reason(int(reason)), int(lots))
        for action, reason, lots in zip(decisions.action, decisions.reason, decisions.lots, strict=True)
    ]


def reasons(decisions: BarDecisions) -> list[Reason]:
    """The reason of each symbol."""
    return [Reason(int(reason)) for reason in decisions.reason]


def tape(close: Any, **columns: Any) -> ShadowBars:
    """Hourly bars (T, S) around `close`: without more, every bar opens, peaks and ends at it; session = day number.

    A column of `ShadowBars` or `BarInputs` may be given as a number, a row or everything.
    """
    close = np.asarray(close, np.float64)
    shape = close.shape
    opened = np.broadcast_to(np.asarray(columns.pop("open", close), np.float64), shape)
    high = columns.pop("high", np.maximum(opened, close))
    low = columns.pop("low", np.minimum(opened, close))
    start = NOW_NS + np.arange(shape[0]) * HOUR_NS
    per_bar = {
        name: np.asarray(columns.pop(name))
        for name in ("session", "start_ns", "end_ns", "paused", "flow", "fees")
        if name in columns
    }
    per_cell = {name: np.broadcast_to(columns.pop(name), shape) for name in ("split", "dividend") if name in columns}
    return ShadowBars(
        open=opened,
        high=np.broadcast_to(np.asarray(high, np.float64), shape),
        low=np.broadcast_to(np.asarray(low, np.float64), shape),
        traded=np.broadcast_to(np.asarray(columns.pop("traded", True)), shape),
        inputs=inputs((shape[0], shape[1]), price=close, **columns),
        **({"session": np.ones(shape[0], np.int64), "start_ns": start, "end_ns": start + HOUR_NS} | per_bar),
        **per_cell,
    )


def fill_rows(result: ShadowResult) -> list[tuple[int, str, int, int, float, Reason]]:
    """(bar, symbol, side, lots, price, reason) of each fill, prices to 9 decimals."""
    fills: Fills = result.fills
    return [
        (
            int(fills.bar[k]),
            result.symbols[fills.symbol[k]],
            int(fills.side[k]),
            int(fills.lots[k]),
            round(float(fills.price[k]), 9),
            Reason(int(fills.reason[k])),
        )
        for k in range(len(fills.bar))
    ]


def drop_rows(result: ShadowResult) -> list[tuple[int, str, int, Reason]]:
    """(bar, symbol, side, reason) of each dropped order."""
    drops = result.drops
    return [
        (int(drops.bar[k]), result.symbols[drops.symbol[k]], int(drops.side[k]), Reason(int(drops.reason[k])))
        for k in range(len(drops.bar))
    ]
