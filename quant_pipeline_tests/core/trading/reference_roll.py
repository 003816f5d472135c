"""A slow simulated book in plain Python, written from the fill model and not from the kernel."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowBars
from quant_pipeline.core.values import Reason
from quant_pipeline_tests.core.trading.reference_decide import SLACK, Desk, Review, Rules, Symbol, Verdict


@dataclass
class Slot:
    """One symbol of the book."""

    lots: int = 0
    average: float = 0.0
    last: float = 0.0
    taken: bool = False


@dataclass
class Order:
    """An order under way."""

    symbol: int
    side: int
    lots: int
    notional: float
    reason: int
    left: int
    decided: int


@dataclass
class Plan:
    """An exchange under way."""

    into: int
    out_of: int | None
    expected: float
    confidence: float
    vol: float
    left: int
    decided: int


@dataclass
class Event:
    """A fill, or with no lots a drop."""

    bar: int
    symbol: int
    side: int
    lots: int
    reason: int
    decided: int
    price: float = 0.0
    fee: float = 0.0
    realised: float = 0.0


@dataclass
class Reference:
    """The book rolled bar by bar; `rows` collects what the kernel records at each close."""

    params: TradingParams
    bars: ShadowBars
    cash: float
    slots: list[Slot] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    plan: Plan | None = None
    events: list[Event] = field(default_factory=list)
    rows: list[tuple[float, float, float, int]] = field(default_factory=list)
    verdicts: list[list[Verdict]] = field(default_factory=list)
    session: int = 0
    day_start: float = 0.0
    day_flows: float = 0.0
    realised: float = 0.0
    fees_paid: float = 0.0
    trades: int = 0
    halted_until: int = 0

    def run(self) -> Reference:
        self.slots = [Slot() for _ in self.bars.inputs.symbols]
        for t in range(len(self.bars.start_ns)):
            self.bar(t)
        return self

    def bar(self, t: int) -> None:
        fees = self.params.fee_row() if self.bars.fees is None else tuple(float(v) for v in self.bars.fees[t])
        self.t, self.rules = t, Rules(self.params, fees)
        self.traded = [bool(v) for v in self.bars.traded[t]]
        self.open = [float(v) for v in self.bars.open[t]]
        self.begin()
        self.fill_orders()
        self.second_leg()
        for i in range(len(self.slots)):
            self.exits(i)
        self.close()

    def equity(self, marks: list[float]) -> float:
        total = self.cash
        for slot, mark in zip(self.slots, marks, strict=True):
            total += self.rules.value(slot.lots, mark) if slot.lots else 0.0
        return total

    def begin(self) -> None:
        bars, t = self.bars, self.t
        if int(bars.session[t]) != self.session:
            self.session, self.trades, self.day_flows = int(bars.session[t]), 0, 0.0
            self.day_start = self.equity([slot.last for slot in self.slots])
        flow = 0.0 if bars.flow is None else float(bars.flow[t])
        for i, slot in enumerate(self.slots):
            ratio = 1.0 if bars.split is None else float(bars.split[t, i])
            if ratio != 1.0:
                self.split(i, ratio)
            if slot.lots and bars.dividend is not None and bars.dividend[t, i]:
                flow += float(slot.lots) / self.rules.scale * float(bars.dividend[t, i])
        self.cash += flow
        self.day_flows += flow

    def split(self, i: int, ratio: float) -> None:
        slot = self.slots[i]
        for order in self.orders:
            if order.symbol == i:
                order.lots = math.floor(float(order.lots) * ratio)
        if slot.lots:
            slot.last, slot.average = slot.last / ratio, slot.average / ratio
            exact = float(slot.lots) * ratio
            slot.lots = math.floor(exact)
            fraction = (exact - float(slot.lots)) / self.rules.scale
            self.cash += fraction * slot.last
            self.realised += fraction * (slot.last - slot.average)
            self.forget_if_flat(slot)

    @staticmethod
    def forget_if_flat(slot: Slot) -> None:
        if not slot.lots:
            slot.average, slot.taken = 0.0, False

    def fill_orders(self) -> None:
        ready = [order for order in self.orders if self.traded[order.symbol]]
        waiting = [order for order in self.orders if not self.traded[order.symbol]]
        self.orders = waiting
        for order in sorted((o for o in ready if o.side < 0), key=lambda o: o.symbol):
            if self.plan and self.plan.out_of == order.symbol:
                self.plan.out_of = None
            lots = min(order.lots, self.slots[order.symbol].lots)
            if lots:
                self.sell(order.symbol, lots, self.open[order.symbol], order.reason, order.decided)
        for order in ready:
            if order.side > 0:
                self.enter(order)
        for order in sorted(waiting, key=lambda o: o.symbol):
            order.left -= 1
            if not order.left:
                self.drop(order, Reason.EXPIRED)

    def drop(self, order: Order, reason: int) -> None:
        self.orders = [o for o in self.orders if o is not order]
        self.events.append(Event(self.t, order.symbol, order.side, 0, int(reason), order.decided))

    def drop_plan(self, reason: int) -> None:
        assert self.plan is not None
        self.events.append(Event(self.t, self.plan.into, 1, 0, int(reason), self.plan.decided))
        self.plan = None

    def sell(self, i: int, lots: int, quoted: float, reason: int, decided: int) -> None:
        slot, price = self.slots[i], quoted * (1.0 - self.params.slippage)
        value = self.rules.value(lots, price)
        fee = self.rules.sell_fee(lots, value)
        gain = value - self.rules.value(lots, slot.average) - fee
        self.cash += value - fee
        self.realised += gain
        self.fees_paid += fee
        slot.lots -= lots
        self.forget_if_flat(slot)
        self.events.append(Event(self.t, i, -1, lots, int(reason), decided, price, fee, gain))

    def enter(self, order: Order) -> None:
        p, slot = self.params, self.slots[order.symbol]
        price = self.open[order.symbol] * (1.0 + p.slippage)
        wanted = self.rules.whole_lots(order.notional, price) if p.buys_by_notional else order.lots
        lots = self.rules.affordable(self.cash, price, wanted)
        value = self.rules.value(lots, price)
        if not wanted:
            self.drop(order, Reason.BELOW_MINIMUM)
        elif not lots or (lots < wanted and value < p.min_notional):
            self.drop(order, Reason.INSUFFICIENT_CASH)
        else:
            fee = self.rules.buy_fee(value)
            cost_so_far = self.rules.value(slot.lots, slot.average)
            self.cash -= value + fee
            self.realised -= fee
            self.fees_paid += fee
            slot.lots += lots
            slot.average, slot.taken = (cost_so_far + value) / (float(slot.lots) / self.rules.scale), False
            self.events.append(Event(self.t, order.symbol, 1, lots, order.reason, order.decided, price, fee, -fee))

    def desk(self, marks: list[float], now: int) -> Desk:
        inputs, t = self.bars.inputs, self.t
        symbols = [
            Symbol(
                float(inputs.price[t, i]),
                int(inputs.vote[t, i]),
                int(inputs.status[t, i]),
                float(inputs.expected_return[t, i]),
                float(inputs.confidence[t, i]),
                int(inputs.members_usable[t, i]),
                bool(inputs.has_model[t, i]),
                bool(inputs.has_opinion[t, i]),
                float(inputs.vol20[t, i]),
                lots=slot.lots,
                mark=marks[i],
            )
            for i, slot in enumerate(self.slots)
        ]
        for order in self.orders:
            if order.side > 0:
                symbols[order.symbol].buying = order.notional
            else:
                symbols[order.symbol].selling = order.lots
        into = None if self.plan is None else self.plan.into
        equity, halted = self.equity(marks), self.halted_until
        return Desk(
            symbols,
            self.cash,
            equity,
            self.day_start,
            self.day_flows,
            self.trades,
            halted,
            now,
            paused=False,
            rebalancing=into,
        )

    def second_leg(self) -> None:
        plan = self.plan
        if plan is None:
            return
        if plan.out_of is not None or not self.traded[plan.into]:
            plan.left -= 1
            if not plan.left:
                self.drop_plan(Reason.EXPIRED)
            return
        marks = [self.open[i] if self.traded[i] else slot.last for i, slot in enumerate(self.slots)]
        desk = self.desk(marks, int(self.bars.start_ns[self.t]))
        desk.rebalancing = None
        outcome = Review(self.rules, desk).review_entry(plan.into, marks[plan.into], plan.confidence, plan.vol)
        if isinstance(outcome, Reason):
            self.drop_plan(outcome)
            return
        self.plan = None
        self.trades += 1
        self.enter(Order(plan.into, 1, *outcome, int(Reason.REBALANCE_IN), 1, plan.decided))

    def due(self, price: float, slot: Slot) -> Reason | None:
        gain = price / slot.average - 1.0
        if gain <= self.params.stop_loss + SLACK:
            return Reason.STOP_LOSS
        if gain >= self.params.take_profit - SLACK and not slot.taken:
            return Reason.TAKE_PROFIT
        return None

    def exits(self, i: int) -> None:
        p, slot, t = self.params, self.slots[i], self.t
        if not self.traded[i]:
            return
        opened, high, low = self.open[i], float(self.bars.high[t, i]), float(self.bars.low[t, i])
        while slot.lots:
            reason, price = self.due(opened, slot), opened
            if reason is None and self.due(low, slot) is Reason.STOP_LOSS:
                reason, price = Reason.STOP_LOSS, min(max(slot.average * (1.0 + p.stop_loss), low), opened)
            if reason is None and self.due(high, slot) is Reason.TAKE_PROFIT:
                reason, price = Reason.TAKE_PROFIT, max(min(slot.average * (1.0 + p.take_profit), high), opened)
            if reason is None:
                return
            part = p.take_profit_fraction if reason is Reason.TAKE_PROFIT else 1.0
            lots = self.rules.part_to_sell(slot.lots, part, price)
            if not lots:
                return
            self.sell(i, lots, price, reason, 0)
            slot.taken = reason is Reason.TAKE_PROFIT and slot.lots > 0
            self.trades += 1

    def close(self) -> None:
        bars, t = self.bars, self.t
        for i, slot in enumerate(self.slots):
            if self.traded[i]:
                slot.last = float(bars.inputs.price[t, i])
        marks, now = [slot.last for slot in self.slots], int(bars.end_ns[t])
        desk = self.desk(marks, now)
        desk.paused = bars.paused is not None and bool(bars.paused[t])
        equity = desk.equity
        out = Review(self.rules, desk).decide()
        self.verdicts.append(out)
        self.halted_until, self.trades = desk.halted_until, desk.trades
        self.after_decision(out, now, paused=desk.paused)
        settled = Review(self.rules, self.desk(marks, now)).exposure()
        self.rows.append((equity, self.cash, settled, self.halted_until))

    def after_decision(self, out: list[Verdict], now: int, *, paused: bool) -> None:
        inputs, t, plan = self.bars.inputs, self.t, self.plan
        heard = plan is not None and out[plan.into].reason not in (Reason.NO_BAR, Reason.NOT_OPEN)
        if plan is not None and heard and out[plan.into].reason != Reason.PENDING_ORDER:
            self.drop_plan(out[plan.into].reason)
        elif plan is not None and heard:
            plan.expected = float(inputs.expected_return[t, plan.into])
            plan.confidence = float(inputs.confidence[t, plan.into])
            plan.vol = float(inputs.vol20[t, plan.into])
        if paused or now < self.halted_until:
            why = Reason.PAUSED if paused else Reason.HALTED
            for order in sorted((o for o in self.orders if o.side > 0), key=lambda o: o.symbol):
                self.drop(order, why)
            if self.plan is not None:
                self.drop_plan(why)
        acting = [i for i, verdict in enumerate(out) if verdict.action]
        sales = [i for i in acting if out[i].action < 0]
        entries = sorted((i for i in acting if out[i].action > 0), key=lambda i: -inputs.expected_return[t, i])
        for i in sales + entries:
            v, left = out[i], self.params.expiry_bars
            notional = v.notional if v.action > 0 else 0.0
            self.orders.append(Order(i, v.action, v.lots, notional, v.reason, left, now))
            if v.pair >= 0:
                opinion = (inputs.expected_return[t, v.pair], inputs.confidence[t, v.pair], inputs.vol20[t, v.pair])
                self.plan = Plan(v.pair, i, *(float(part) for part in opinion), left, now)


def events_of(reference: Reference) -> tuple[np.ndarray, np.ndarray]:
    """Events as the integer and float columns that the kernel logs."""
    ints = [[e.bar, e.symbol, e.side, e.lots, e.reason, e.decided] for e in reference.events]
    floats = [[e.price, e.fee, e.realised] for e in reference.events]
    return np.array(ints, np.int64).reshape(-1, 6), np.array(floats, np.float64).reshape(-1, 3)
