"""A slow decision in plain Python, written from the rules and not from the kernel, for comparison bit for bit."""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, field

from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Reason

SLACK = 1e-12
MOST_LOTS = 2**61
type FeeRow = tuple[float, float, float, float]


@dataclass
class Symbol:
    """What is known of a symbol, what is held of it and what is under way."""

    price: float
    vote: int
    status: int
    expected: float
    confidence: float
    members: int
    has_model: bool
    has_opinion: bool
    vol: float
    lots: int = 0
    mark: float = 0.0
    buying: float = 0.0
    selling: int = 0


@dataclass
class Desk:
    """A book under review: symbols by position, money, and what the limits look at."""

    symbols: list[Symbol]
    cash: float
    equity: float
    day_start: float
    day_flows: float
    trades: int
    halted_until: int
    now: int
    paused: bool
    rebalancing: int | None = None


@dataclass
class Verdict:
    """The outcome for one symbol."""

    action: int = 0
    reason: int = 0
    lots: int = 0
    notional: float = 0.0
    pair: int = -1


@dataclass
class Rules:
    """Parameters, the fees in force, and the arithmetic of money."""

    params: TradingParams
    fees: FeeRow
    scale: float = field(init=False)

    def __post_init__(self) -> None:
        self.scale = float(10**self.params.qty_decimals)

    def value(self, lots: int, price: float) -> float:
        return float(lots) / self.scale * price

    def whole_lots(self, amount: float, price: float) -> int:
        exact = amount / price * self.scale
        return min(math.floor(exact), MOST_LOTS) if exact >= 1 else 0

    def fee_step(self, amount: float) -> float:
        if self.params.fee_decimals is None:
            return amount
        cents = float(10**self.params.fee_decimals)
        return math.ceil(amount * cents - 1e-6) / cents

    def buy_fee(self, value: float) -> float:
        return self.fee_step(value * self.fees[0])

    def sell_fee(self, lots: int, value: float) -> float:
        per_unit = float(lots) / self.scale * self.fees[2]
        if self.fees[3] > 0:
            per_unit = min(per_unit, self.fees[3])
        return min(self.fee_step(value * self.fees[1]) + self.fee_step(per_unit), value)

    def reserve(self, notional: float) -> float:
        spent = notional if self.params.buys_by_notional else notional * (1.0 + self.params.slippage)
        return spent + self.buy_fee(spent)

    def affordable(self, cash: float, price: float, wanted: int) -> int:
        def cost(lots: int) -> float:
            value = self.value(lots, price)
            return value + self.buy_fee(value)

        return bisect.bisect_right(range(wanted + 1), cash, key=cost) - 1

    def part_to_sell(self, held: int, fraction: float, price: float) -> int:
        def too_small(lots: int) -> bool:
            return self.value(lots, price) < self.params.min_notional

        if held <= 0 or too_small(held):
            return 0
        if fraction >= 1:
            return held
        part = min(held, math.floor(float(held) * fraction))
        stuck = part == 0 or too_small(part) or (part < held and too_small(held - part))
        return held if stuck else part

    def fraction(self, confidence: float, vol: float) -> float:
        most = self.params.max_position
        return min(most * confidence / max(vol / self.params.vol_reference, 1.0), most)


def wish(p: TradingParams, s: Symbol) -> int | Reason:
    """+1 or -1 when vote and opinion agree to act, else the reason why nothing is wanted."""
    if s.status:
        return Reason(s.status)
    if not 0 < s.price < math.inf:
        return Reason.BAD_DATA
    if s.vote == 0 and not p.vote_abstains:
        return Reason.HOLD_VOTE
    if not s.has_model or not math.isfinite(s.expected):
        return Reason.NO_MODEL
    if s.members < 2:
        return Reason.TOO_FEW_MEMBERS
    opinion = 1 if s.expected > p.buy_threshold else -1 if s.expected < p.sell_threshold else 0
    sure = s.confidence > p.min_confidence
    if p.vote_abstains:
        return opinion if sure and opinion else Reason.HOLD_VOTE
    if not sure:
        return Reason.AI_UNSURE
    return s.vote if opinion == s.vote else Reason.AI_DISAGREES


class Review:
    """Decides all symbols of one bar."""

    def __init__(self, rules: Rules, desk: Desk) -> None:
        self.rules, self.p, self.desk = rules, rules.params, desk
        self.out = [Verdict() for _ in desk.symbols]

    def decide(self) -> list[Verdict]:
        self.trip()
        wishes = [wish(self.p, s) for s in self.desk.symbols]
        for verdict, wanted in zip(self.out, wishes, strict=True):
            if isinstance(wanted, Reason):
                verdict.reason = int(wanted)
        for i, wanted in enumerate(wishes):
            if wanted == -1 and not isinstance(wanted, Reason):
                self.sell_by_signal(i)
        buys = [i for i, wanted in enumerate(wishes) if not isinstance(wanted, Reason) and wanted == 1]
        for i in sorted(buys, key=lambda i: -self.desk.symbols[i].expected):
            if not self.out[i].action:
                self.buy_by_signal(i)
        return self.out

    def trip(self) -> None:
        d = self.desk
        if d.now >= d.halted_until and d.day_start > 0:
            day = (d.equity - d.day_flows) / d.day_start - 1.0
            if day <= self.p.max_daily_loss + SLACK:
                d.halted_until = d.now + round(self.p.halt_hours * 3600 * 10**9)

    def sellable(self, s: Symbol) -> bool:
        return s.lots > 0 and self.rules.value(s.lots, s.mark) >= self.p.min_notional

    def exposure(self) -> float:
        total = 0.0
        for s in self.desk.symbols:
            total += self.rules.value(s.lots, s.mark) if s.lots else 0.0
            total += self.entered_before(s)
        for s in self.ordered_entries:
            total += s.buying
        return total

    # Entries decided in this bar are added after all others, in the order in which they were decided.
    @property
    def ordered_entries(self) -> list[Symbol]:
        return getattr(self, "_entries", [])

    def entered_before(self, s: Symbol) -> float:
        return 0.0 if any(s is entry for entry in self.ordered_entries) else s.buying

    def free_cash(self) -> float:
        free = self.desk.cash
        for s in self.desk.symbols:
            if self.entered_before(s) > 0:
                free -= self.rules.reserve(s.buying)
        for s in self.ordered_entries:
            free -= self.rules.reserve(s.buying)
        return free

    def act(self, i: int, action: int, reason: Reason, lots: int, notional: float) -> None:
        self.out[i] = Verdict(action, int(reason), lots, notional)
        self.desk.trades += 1

    def sell_by_signal(self, i: int) -> None:
        s = self.desk.symbols[i]
        lots = self.rules.part_to_sell(s.lots, self.p.sell_fraction, s.price)
        if s.lots - s.selling <= 0:
            self.out[i].reason = int(Reason.NOTHING_TO_SELL)
        elif s.selling or s.buying:
            self.out[i].reason = int(Reason.PENDING_ORDER)
        elif not lots:
            self.out[i].reason = int(Reason.BELOW_MINIMUM)
        else:
            self.act(i, -1, Reason.SELL_SIGNAL, lots, self.rules.value(lots, s.price))
            s.selling = lots

    def buy_by_signal(self, i: int) -> None:
        s = self.desk.symbols[i]
        outcome = self.review_entry(i, s.price, s.confidence, s.vol)
        if isinstance(outcome, Reason):
            self.out[i].reason = int(outcome)
            if outcome in (Reason.MAX_POSITIONS, Reason.MAX_EXPOSURE):
                self.exchange(i)
            return
        lots, notional = outcome
        self.act(i, 1, Reason.BUY_SIGNAL, lots, notional)
        s.buying = notional
        self._entries = [*self.ordered_entries, s]

    def review_entry(
        self, i: int, price: float, confidence: float, vol: float, without: int | None = None
    ) -> Reason | tuple[int, float]:
        d, p = self.desk, self.p
        s = d.symbols[i]
        if not 0 <= vol < math.inf:
            return Reason.NO_HISTORY
        if s.buying or s.selling or d.rebalancing == i:
            return Reason.PENDING_ORDER
        if d.paused:
            return Reason.PAUSED
        if d.now < d.halted_until:
            return Reason.HALTED
        if d.trades + (1 if without is None else 2) > p.max_daily_trades:
            return Reason.MAX_DAILY_TRADES
        others = [o for j, o in enumerate(d.symbols) if j not in (i, without) and (o.buying or self.sellable(o))]
        if not self.sellable(s) and len(others) >= p.max_positions:
            return Reason.MAX_POSITIONS
        room = self.rules.fraction(confidence, vol) * d.equity - (self.rules.value(s.lots, s.mark) if s.lots else 0.0)
        if not room > SLACK * d.equity:
            return Reason.MAX_POSITION_SIZE
        return self.fit(room, price, without)

    def fit(self, room: float, price: float, without: int | None) -> Reason | tuple[int, float]:
        lots, freed, proceeds = 0, 0.0, 0.0
        if self.p.buys_by_notional:
            unit = float(10**self.p.money_decimals)
            notional = math.floor(room * unit) / unit
        else:
            lots = self.rules.whole_lots(room, price)
            notional = self.rules.value(lots, price)
        if without is not None:
            given = self.desk.symbols[without]
            freed = self.rules.value(given.lots, given.mark)
            proceeds = freed * (1.0 - self.p.slippage)
            proceeds -= self.rules.sell_fee(given.lots, proceeds)
        if self.exposure() - freed + notional > (self.p.max_exposure + SLACK) * self.desk.equity:
            return Reason.MAX_EXPOSURE
        if self.rules.reserve(notional) > self.free_cash() + proceeds:
            return Reason.INSUFFICIENT_CASH
        if notional <= 0 or notional < self.p.min_notional:
            return Reason.BELOW_MINIMUM
        return lots, notional

    def exchange(self, i: int) -> None:
        d = self.desk
        if d.rebalancing is not None:
            return
        candidates = [
            j
            for j, s in enumerate(d.symbols)
            if j != i and not s.status and not s.buying and not s.selling and self.sellable(s)
            if s.has_opinion and s.members >= 2 and math.isfinite(s.expected)
        ]
        if not candidates:
            return
        j = min(candidates, key=lambda j: d.symbols[j].expected)
        new, own = d.symbols[i].expected, d.symbols[j].expected
        if not (new > 0 and (own < 0 or new > self.p.rebalance_factor * own)):
            return
        s = d.symbols[i]
        if isinstance(self.review_entry(i, s.price, s.confidence, s.vol, without=j), Reason):
            return
        given = d.symbols[j]
        self.act(j, -1, Reason.REBALANCE_OUT, given.lots, self.rules.value(given.lots, given.mark))
        self.out[j].pair = i
        given.selling = given.lots
        d.rebalancing = i
