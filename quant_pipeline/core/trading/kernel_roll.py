"""The compiled roll of the simulated book over bars. Orders inside a bar: `kernel_orders`; decisions: `decide_bar`."""

from __future__ import annotations

from quant_pipeline.core.trading.jit import kernel
from quant_pipeline.core.trading.kernel_book import apply_events, book_of, drop_order, start_session
from quant_pipeline.core.trading.kernel_decide import by_expectation, decide_bar
from quant_pipeline.core.trading.kernel_orders import drop_plan, exits_inside, fill_at_open, finish_exchange
from quant_pipeline.core.trading.kernel_review import measure
from quant_pipeline.core.trading.kernel_types import (
    EQUITY,
    EXPOSURE,
    HALTED,
    HALTED_UNTIL,
    IS_PAUSED,
    NO_BAR,
    NOT_OPEN,
    NOW,
    PAUSED,
    PENDING_ORDER,
    PLAN_CONFIDENCE,
    PLAN_DECIDED,
    PLAN_EXPECTED,
    PLAN_IN,
    PLAN_LEFT,
    PLAN_OUT,
    PLAN_VOL,
    S_CASH,
    S_HALTED_UNTIL,
    S_SEQ,
    S_TRADES,
    TRADES,
    BarsK,
    BookK,
    InputsK,
    KernelParams,
    LogK,
    OutK,
    StateK,
    TrackK,
)

OVERDRAWN = -1


@kernel
def inputs_at(x: InputsK, t: int) -> InputsK:
    """The inputs of bar `t`."""
    return InputsK(
        x.price[t],
        x.vote[t],
        x.status[t],
        x.expected[t],
        x.confidence[t],
        x.members[t],
        x.has_model[t],
        x.has_opinion[t],
        x.vol[t],
    )


@kernel
def cancel_entries(s: StateK, log: LogK, t: int, b: BookK) -> None:
    """A halt or a pause ends the entries that are still under way; sales go on."""
    if b.counts[IS_PAUSED] != 0:
        reason = PAUSED
    elif b.counts[NOW] < b.counts[HALTED_UNTIL]:
        reason = HALTED
    else:
        return
    for i in range(s.lots.shape[0]):
        if s.side[i] > 0:
            drop_order(s, log, t, i, reason)
    if s.counts[PLAN_IN] >= 0:
        drop_plan(s, log, t, reason)


@kernel
def renew_plan(s: StateK, log: LogK, t: int, x: InputsK, out: OutK) -> None:
    """Give an exchange that still waits the newest opinion, or end it when its symbol is no longer wanted.

    A bar in which the symbol did not trade says nothing new.
    """
    i = s.counts[PLAN_IN]
    if i < 0 or out.reason[i] == NO_BAR or out.reason[i] == NOT_OPEN:
        return
    if out.reason[i] != PENDING_ORDER:
        drop_plan(s, log, t, out.reason[i])
        return
    s.money[PLAN_EXPECTED] = x.expected[i]
    s.money[PLAN_CONFIDENCE] = x.confidence[i]
    s.money[PLAN_VOL] = x.vol[i]


@kernel
def place(p: KernelParams, s: StateK, out: OutK, i: int, now: int) -> None:
    """Put the decision of symbol `i` under way."""
    s.side[i] = out.action[i]
    s.order_lots[i] = out.lots[i]
    s.order_notional[i] = out.notional[i] if out.action[i] > 0 else 0.0
    s.order_reason[i] = out.reason[i]
    s.order_seq[i] = s.counts[S_SEQ]
    s.order_left[i] = p.expiry_bars
    s.order_decided[i] = now
    s.counts[S_SEQ] += 1


@kernel
def place_orders(p: KernelParams, s: StateK, x: InputsK, out: OutK, now: int) -> None:
    """Put all decisions of a bar under way: sales by symbol, entries by expectation, and the plan of an exchange."""
    for i in range(s.lots.shape[0]):
        if out.action[i] < 0:
            place(p, s, out, i, now)
        if out.pair[i] >= 0:
            wanted = out.pair[i]
            s.counts[PLAN_OUT] = i
            s.counts[PLAN_IN] = wanted
            s.counts[PLAN_LEFT] = p.expiry_bars
            s.counts[PLAN_DECIDED] = now
            s.money[PLAN_EXPECTED] = x.expected[wanted]
            s.money[PLAN_CONFIDENCE] = x.confidence[wanted]
            s.money[PLAN_VOL] = x.vol[wanted]
    for i in by_expectation(x.expected, out.action):
        place(p, s, out, i, now)


@kernel
def close_bar(p: KernelParams, bars: BarsK, x: InputsK, s: StateK, out: OutK, log: LogK, track: TrackK, t: int) -> None:
    """Mark the book at the close of bar `t`, decide, put the decisions under way and record the book."""
    for i in range(s.lots.shape[0]):
        if bars.traded[t, i]:
            s.last[i] = bars.close[t, i]
    now = bars.end[t]
    b = book_of(p, s, s.last, now)
    b.counts[IS_PAUSED] = int(bars.paused[t])
    track.cash[t] = s.money[S_CASH]
    track.equity[t] = b.money[EQUITY]
    track.lots[t] = s.lots
    decide_bar(p, bars.fees[t], x, b, out)
    s.counts[S_HALTED_UNTIL] = b.counts[HALTED_UNTIL]
    s.counts[S_TRADES] = b.counts[TRADES]
    renew_plan(s, log, t, x, out)
    cancel_entries(s, log, t, b)
    place_orders(p, s, x, out, now)
    settled = book_of(p, s, s.last, now)
    measure(p, bars.fees[t], settled)
    track.exposure[t] = settled.money[EXPOSURE]
    track.halted_until[t] = s.counts[S_HALTED_UNTIL]


@kernel
def roll(
    p: KernelParams, bars: BarsK, x: InputsK, s: StateK, out: OutK, log: LogK, track: TrackK, first: int
) -> tuple[int, int]:
    """Roll state `s` from bar `first` on; returns (bars done, 0), or (bar, OVERDRAWN) for an impossible withdrawal.

    It stops early when `log` may not hold another bar: the caller enlarges it and goes on from the returned bar.
    """
    symbols = s.lots.shape[0]
    for t in range(first, bars.start.shape[0]):
        if log.ints.shape[0] - log.size[0] < 5 * symbols + 5:
            return t, 0
        start_session(p, s, bars.session[t])
        if not apply_events(p, bars, s, t):
            return t, OVERDRAWN
        fill_at_open(p, bars, s, log, t)
        finish_exchange(p, bars, s, log, t)
        exits_inside(p, bars, s, log, t)
        row = OutK(out.action[t], out.reason[t], out.lots[t], out.notional[t], out.pair[t])
        close_bar(p, bars, inputs_at(x, t), s, row, log, track, t)
    return bars.start.shape[0], 0
