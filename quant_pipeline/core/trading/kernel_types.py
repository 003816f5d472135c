"""The tuples of arrays and the numbers that the compiled kernels share; nothing here computes.

T is the number of bars, S the number of symbols. Reasons are those of `core.values.Reason` as plain integers, because
compiled code knows no enumerations.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from quant_pipeline.core.values import Reason

type Floats = NDArray[np.float64]
type Longs = NDArray[np.int64]
type Bytes = NDArray[np.int8]
type Flags = NDArray[np.bool_]

EDGE = 1e-12
"""Slack of limit comparisons, so that exactly -5 % or 80 % is met whatever its binary rounding."""
MAX_LOTS = 2**61
"""Most lots of one order: two of them still fit 64 bits."""
MIN_MEMBERS = 2
"""Usable ensemble members below which an opinion is none."""


def _constant(number: int) -> int:
    """A number as numpy integer: the compiler makes one more copy of a function for each plain one it is given."""
    made: int = np.int64(number)  # type: ignore[assignment]
    return made


NONE = _constant(-1)
"""No symbol."""
NOTHING = _constant(0)
BOUGHT = _constant(1)
SOLD = _constant(-1)

HOLD_VOTE = _constant(Reason.HOLD_VOTE)
BAD_DATA = _constant(Reason.BAD_DATA)
NOT_OPEN = _constant(Reason.NOT_OPEN)
NO_HISTORY = _constant(Reason.NO_HISTORY)
NO_BAR = _constant(Reason.NO_BAR)
NO_MODEL = _constant(Reason.NO_MODEL)
TOO_FEW_MEMBERS = _constant(Reason.TOO_FEW_MEMBERS)
AI_DISAGREES = _constant(Reason.AI_DISAGREES)
AI_UNSURE = _constant(Reason.AI_UNSURE)
HALTED = _constant(Reason.HALTED)
MAX_POSITIONS = _constant(Reason.MAX_POSITIONS)
MAX_EXPOSURE = _constant(Reason.MAX_EXPOSURE)
MAX_POSITION_SIZE = _constant(Reason.MAX_POSITION_SIZE)
MAX_DAILY_TRADES = _constant(Reason.MAX_DAILY_TRADES)
BELOW_MINIMUM = _constant(Reason.BELOW_MINIMUM)
INSUFFICIENT_CASH = _constant(Reason.INSUFFICIENT_CASH)
NOTHING_TO_SELL = _constant(Reason.NOTHING_TO_SELL)
PENDING_ORDER = _constant(Reason.PENDING_ORDER)
PAUSED = _constant(Reason.PAUSED)
EXPIRED = _constant(Reason.EXPIRED)
BUY_SIGNAL = _constant(Reason.BUY_SIGNAL)
SELL_SIGNAL = _constant(Reason.SELL_SIGNAL)
STOP_LOSS = _constant(Reason.STOP_LOSS)
TAKE_PROFIT = _constant(Reason.TAKE_PROFIT)
REBALANCE_OUT = _constant(Reason.REBALANCE_OUT)
REBALANCE_IN = _constant(Reason.REBALANCE_IN)


class KernelParams(NamedTuple):
    """`TradingParams` in the types of the kernel; scales are powers of ten, `fee_scale` 0 means not rounded."""

    max_exposure: float
    max_positions: int
    max_position: float
    stop_loss: float
    take_profit: float
    take_profit_fraction: float
    sell_fraction: float
    max_daily_loss: float
    halt_ns: int
    max_daily_trades: int
    buy_threshold: float
    sell_threshold: float
    min_confidence: float
    vote_abstains: bool
    rebalance_factor: float
    vol_reference: float
    slippage: float
    min_notional: float
    qty_scale: float
    buys_by_notional: bool
    money_scale: float
    fee_scale: float
    expiry_bars: int


# Columns of a fee row.
BUY_RATE, SELL_RATE, PER_SHARE, PER_SHARE_CAP = range(4)


class InputsK(NamedTuple):
    """What is known of each symbol at the close of a bar: (S,) for one bar, (T, S) for many."""

    price: Floats
    vote: Bytes
    status: Bytes
    expected: Floats
    confidence: Floats
    members: Longs
    has_model: Flags
    has_opinion: Flags
    vol: Floats


class BookK(NamedTuple):
    """A book under review, changed while a bar is decided. Arrays are (S,), `money` and `counts` as indexed below."""

    lots: Longs
    mark: Floats
    pending_buy: Floats
    pending_sell: Longs
    money: Floats
    counts: Longs


EQUITY, CASH, DAY_START, DAY_FLOWS, EXPOSURE, FREE_CASH, BOOK_MONEY = range(7)
TRADES, HALTED_UNTIL, NOW, IS_PAUSED, REBALANCING, POSITIONS, BOOK_COUNT = range(7)


class OutK(NamedTuple):
    """What was decided: (S,) for one bar, (T, S) for many. `pair` is the symbol that a sold holding makes room for."""

    action: Longs
    reason: Longs
    lots: Longs
    notional: Floats
    pair: Longs


class BarsK(NamedTuple):
    """Bars and events: prices, `traded`, `split` and `dividend` (T, S), `fees` (T, 4), the rest (T,)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    traded: Flags
    split: Floats
    dividend: Floats
    session: Longs
    start: Longs
    end: Longs
    paused: Flags
    flow: Floats
    fees: Floats


class StateK(NamedTuple):
    """The simulated book between two bars, changed in place. Arrays are (S,), `money` and `counts` as indexed below."""

    lots: Longs
    avg: Floats
    last: Floats
    taken: Flags
    side: Longs
    order_lots: Longs
    order_notional: Floats
    order_reason: Longs
    order_seq: Longs
    order_left: Longs
    order_decided: Longs
    money: Floats
    counts: Longs


S_CASH, S_DAY_START, S_DAY_FLOWS, S_REALISED, S_FEES, PLAN_EXPECTED, PLAN_CONFIDENCE, PLAN_VOL, STATE_MONEY = range(9)
S_SESSION, S_TRADES, S_HALTED_UNTIL, S_SEQ, PLAN_IN, PLAN_OUT, PLAN_LEFT, PLAN_DECIDED, STATE_COUNT = range(9)


class LogK(NamedTuple):
    """Fills and dropped orders in the order in which they happened; a row without lots is a drop. `size` is (1,)."""

    ints: Longs
    floats: Floats
    size: Longs


L_BAR, L_SYMBOL, L_SIDE, L_LOTS, L_REASON, L_DECIDED, LOG_INTS = range(7)
L_PRICE, L_FEE, L_REALISED, LOG_FLOATS = range(4)


class TrackK(NamedTuple):
    """The book at the close of each bar: `lots` (T, S), the rest (T,)."""

    equity: Floats
    cash: Floats
    exposure: Floats
    halted_until: Longs
    lots: Longs
