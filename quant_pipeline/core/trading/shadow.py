"""The typed door to the simulated book: bars and opinions in, decisions, fills and the next state out.

The fill model, stated once: what is decided at the close of a bar fills at the open of the next bar in which its
symbol trades, `slippage` worse than that open, with the fees of that bar; sales before entries. An entry that a gap
made too expensive is cut to what cash can pay. Stops and take profits are judged inside each bar after those fills:
at the open when it is already beyond the level, else at the level, the stop first when both are inside the bar.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quant_pipeline.core.trading.checks import check_all, fresh
from quant_pipeline.core.trading.decisions import BarInputs, empty_decisions, kernel_inputs
from quant_pipeline.core.trading.kernel_roll import OVERDRAWN, roll
from quant_pipeline.core.trading.kernel_types import (
    L_BAR,
    L_DECIDED,
    L_FEE,
    L_LOTS,
    L_PRICE,
    L_REALISED,
    L_REASON,
    L_SIDE,
    L_SYMBOL,
    LOG_FLOATS,
    LOG_INTS,
    BarsK,
    Floats,
    LogK,
    StateK,
    TrackK,
)
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.state import BookState
from quant_pipeline.core.trading.state_arrays import from_arrays, to_arrays

_FIRST_LOG_ROWS = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class ShadowBars:
    """T bars of S symbols with what was known at their closes (`inputs`, whose `price` is the close).

    Attributes:
        inputs: (T, S) arrays.
        open, high, low: float64 (T, S), quote currency; read only where `traded`.
        traded: bool (T, S), whether the symbol traded in the bar; without a trade nothing fills and the mark stays.
        session: int64 (T,), date ordinal of the session, never falling, at least 1.
        start_ns, end_ns: int64 (T,), open and close of the bar, UTC epoch ns.
        paused: bool (T,), whether the desk is paused at the close of the bar; default never.
        split: float64 (T, S), new units for one old unit before the open of the bar; default 1.
        dividend: float64 (T, S), cash for each unit held before the open of the bar; default 0.
        flow: float64 (T,), deposit (or withdrawal) before the open of the bar; default 0.
        fees: float64 (T, 4), buy rate, sell rate, fee per unit sold and its cap; default those of the parameters.
    """

    inputs: BarInputs
    open: NDArray[np.float64]
    high: NDArray[np.float64]
    low: NDArray[np.float64]
    traded: NDArray[np.bool_]
    session: NDArray[np.int64]
    start_ns: NDArray[np.int64]
    end_ns: NDArray[np.int64]
    paused: NDArray[np.bool_] | None = None
    split: NDArray[np.float64] | None = None
    dividend: NDArray[np.float64] | None = None
    flow: NDArray[np.float64] | None = None
    fees: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class Fills:
    """Fills in the order in which they happened, one row each (N,).

    Attributes:
        bar, symbol: int64, indices of the call.
        side: int8, 1 bought, -1 sold.
        lots: int64, at least 1.
        price: float64, slippage included.
        fee: float64, in quote currency.
        realised: float64, result of a sale after its fee, or minus the fee of a purchase.
        reason: int8, `Reason` of the order, or STOP_LOSS or TAKE_PROFIT.
        decided_ns: int64, close of the bar that decided it; 0 for exits inside a bar.
    """

    bar: NDArray[np.int64]
    symbol: NDArray[np.int64]
    side: NDArray[np.int8]
    lots: NDArray[np.int64]
    price: NDArray[np.float64]
    fee: NDArray[np.float64]
    realised: NDArray[np.float64]
    reason: NDArray[np.int8]
    decided_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drops:
    """Orders that ended unfilled, one row each (N,): columns as in `Fills`, `reason` says why.

    The entry of an exchange (REBALANCE_IN) that fails its second check is here as well, with the veto.
    """

    bar: NDArray[np.int64]
    symbol: NDArray[np.int64]
    side: NDArray[np.int8]
    reason: NDArray[np.int8]
    decided_ns: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ShadowResult:
    """What T bars did to the simulated book.

    Attributes:
        symbols: S names.
        action, reason: int8 (T, S), lots: int64 (T, S), notional: float64 (T, S), pair: int64 (T, S): as in
            `BarDecisions`, one row for each bar.
        fills, drops: what became of the orders.
        equity, cash: float64 (T,), at the close of each bar, before its decisions.
        exposure: float64 (T,), holdings and entries under way after its decisions.
        holdings: int64 (T, S), lots held at the close.
        halted_until_ns: int64 (T,), end of the last halt so far, 0 without any.
        state: the book after the last bar; rolling on from it equals rolling in one go.
    """

    symbols: tuple[str, ...]
    action: NDArray[np.int8]
    reason: NDArray[np.int8]
    lots: NDArray[np.int64]
    notional: NDArray[np.float64]
    pair: NDArray[np.int64]
    fills: Fills
    drops: Drops
    equity: NDArray[np.float64]
    cash: NDArray[np.float64]
    exposure: NDArray[np.float64]
    holdings: NDArray[np.int64]
    halted_until_ns: NDArray[np.int64]
    state: BookState


def roll_shadow(bars: ShadowBars, state: BookState, params: TradingParams) -> ShadowResult:
    """Roll the simulated book over the bars, from `state` on.

    Pure: no argument is changed and the same arguments give the same bytes.

    Raises:
        ValueError: arrays that do not fit together, a traded bar without sane prices, times that fall, a held symbol
            without bars, or a withdrawal that exceeds the cash.
        TypeError: an array of another kind than stated.
    """
    symbols = bars.inputs.symbols
    shape = (len(bars.start_ns), len(symbols))
    x = kernel_inputs(bars.inputs, shape)
    book = to_arrays(state, symbols)
    kernel_bars = _kernel_bars(bars, x.price, params, state.session)
    out = empty_decisions(shape)
    track = _new_track(shape)
    log = _new_log(max(_FIRST_LOG_ROWS, 8 * len(symbols)))
    done, problem = roll(params.to_kernel(), kernel_bars, x, book, out, log, track, 0)
    while done < shape[0]:
        if problem == OVERDRAWN:
            _refuse_withdrawal(kernel_bars, book, done)
        log = _larger(log)
        done, problem = roll(params.to_kernel(), kernel_bars, x, book, out, log, track, done)
    fills, drops = _events(log)
    return ShadowResult(
        symbols=symbols,
        action=out.action.astype(np.int8),
        reason=out.reason.astype(np.int8),
        lots=out.lots,
        notional=out.notional,
        pair=out.pair,
        fills=fills,
        drops=drops,
        equity=track.equity,
        cash=track.cash,
        exposure=track.exposure,
        holdings=track.lots,
        halted_until_ns=track.halted_until,
        state=from_arrays(book, symbols),
    )


def _kernel_bars(bars: ShadowBars, close: Floats, params: TradingParams, session: int) -> BarsK:
    shape = close.shape
    count = shape[0]
    made = BarsK(
        open=fresh("open", bars.open, np.float64, shape),
        high=fresh("high", bars.high, np.float64, shape),
        low=fresh("low", bars.low, np.float64, shape),
        close=close,
        traded=fresh("traded", bars.traded, np.bool_, shape),
        split=np.ones(shape) if bars.split is None else fresh("split", bars.split, np.float64, shape),
        dividend=np.zeros(shape) if bars.dividend is None else fresh("dividend", bars.dividend, np.float64, shape),
        session=fresh("session", bars.session, np.int64, (count,)),
        start=fresh("start_ns", bars.start_ns, np.int64, (count,)),
        end=fresh("end_ns", bars.end_ns, np.int64, (count,)),
        paused=np.zeros(count, np.bool_) if bars.paused is None else fresh("paused", bars.paused, np.bool_, (count,)),
        flow=np.zeros(count) if bars.flow is None else fresh("flow", bars.flow, np.float64, (count,)),
        fees=np.tile(np.array(params.fee_row()), (count, 1))
        if bars.fees is None
        else fresh("fees", bars.fees, np.float64, (count, 4)),
    )
    _check_bars(made, session)
    return made


def _check_bars(made: BarsK, session: int) -> None:
    prices = (made.open, made.high, made.low, made.close)
    sane = np.logical_and.reduce([np.isfinite(price) & (price > 0.0) for price in prices])
    with np.errstate(invalid="ignore"):
        sane &= (made.low <= np.minimum(made.open, made.close)) & (made.high >= np.maximum(made.open, made.close))
    rule = "a traded bar has positive prices with low <= open, close <= high; mark a bad bar as not traded"
    check_all("bar (bar, symbol)", ~made.traded | sane, rule)
    check_all("end_ns", made.end > made.start, "a bar ends after it starts")
    check_all("start_ns", np.append(np.zeros(min(1, made.start.size)), made.start[1:] - made.end[:-1]) >= 0, "rising")
    check_all("session", np.diff(made.session, prepend=max(session, 1)) >= 0, "never falling, also from the state on")
    check_all("split", np.isfinite(made.split) & (made.split > 0.0), "a positive ratio")
    check_all("dividend", np.isfinite(made.dividend) & (made.dividend >= 0.0), "an amount of at least 0")
    check_all("flow", np.isfinite(made.flow), "a finite amount")
    check_all("fees", np.isfinite(made.fees) & (made.fees >= 0.0), "rates of at least 0")


def _new_track(shape: tuple[int, int]) -> TrackK:
    return TrackK(
        equity=np.zeros(shape[0]),
        cash=np.zeros(shape[0]),
        exposure=np.zeros(shape[0]),
        halted_until=np.zeros(shape[0], np.int64),
        lots=np.zeros(shape, np.int64),
    )


def _new_log(rows: int) -> LogK:
    return LogK(np.zeros((rows, LOG_INTS), np.int64), np.zeros((rows, LOG_FLOATS)), np.zeros(1, np.int64))


def _larger(log: LogK) -> LogK:
    larger = _new_log(2 * len(log.ints))
    used = int(log.size[0])
    larger.ints[:used], larger.floats[:used], larger.size[0] = log.ints[:used], log.floats[:used], used
    return larger


def _refuse_withdrawal(bars: BarsK, book: StateK, bar: int) -> None:
    msg = f"bar {bar} withdraws {-bars.flow[bar]} but the book has only {book.money[0]} in cash;"
    msg += " lower the withdrawal or date it after a sale"
    raise ValueError(msg)


def _events(log: LogK) -> tuple[Fills, Drops]:
    ints, floats = log.ints[: log.size[0]], log.floats[: log.size[0]]
    filled = ints[:, L_LOTS] > 0
    done, money, dropped = ints[filled], floats[filled], ints[~filled]
    fills = Fills(
        bar=done[:, L_BAR].copy(),
        symbol=done[:, L_SYMBOL].copy(),
        side=done[:, L_SIDE].astype(np.int8),
        lots=done[:, L_LOTS].copy(),
        price=money[:, L_PRICE].copy(),
        fee=money[:, L_FEE].copy(),
        realised=money[:, L_REALISED].copy(),
        reason=done[:, L_REASON].astype(np.int8),
        decided_ns=done[:, L_DECIDED].copy(),
    )
    drops = Drops(
        bar=dropped[:, L_BAR].copy(),
        symbol=dropped[:, L_SYMBOL].copy(),
        side=dropped[:, L_SIDE].astype(np.int8),
        reason=dropped[:, L_REASON].astype(np.int8),
        decided_ns=dropped[:, L_DECIDED].copy(),
    )
    return fills, drops
