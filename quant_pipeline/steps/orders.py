"""The orders step: in a tick, resolve doubts, exit what must be left, send what decisions intend; else show stored rows.

Only a tick for the session of the market's own clock sends anything. Everything else, in every mode, only reads.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from decimal import Decimal

from quant_pipeline.core.identity import client_order_id, combine_hashes
from quant_pipeline.core.values import OrderRequest, OrderState, Reason, Side
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.account import day_state, desk_lock, journal_of, marked, open_book, sync
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.exits import plan_exits
from quant_pipeline.steps.rebalance import review_rebalance
from quant_pipeline.steps.splits import Doubts, doubts, quoted
from quant_pipeline.steps.tables import Number, RunContext, SessionOutcome, StepResult
from quant_pipeline.steps.timing import session_span, tick_session
from quant_pipeline.storage.books import book_state
from quant_pipeline.storage.cash import cash
from quant_pipeline.storage.control import ControlState, control_state
from quant_pipeline.storage.intents import Intent, IntentStatus, Leg, intent, open_intents, set_intent_status
from quant_pipeline.storage.orders import LedgerOrder, order, orders_between, orders_of_intent
from quant_pipeline.storage.risk import RiskState, risk_state
from quant_pipeline.venues.order_protocol import resolve_doubtful, submit_once

STEP = "orders"


@dataclass(slots=True)
class Sent:
    """What a tick did: states of the orders it sent, and why intents were not sent."""

    states: list[OrderState] = field(default_factory=list)
    held_back: list[Reason] = field(default_factory=list)

    def numbers(self) -> dict[str, Number]:
        """Counts for the UI."""
        counted = Counter(f"sent_{state}" for state in self.states)
        counted.update(f"held_back_{reason.code}" for reason in self.held_back)
        return dict(counted)


@dataclass(frozen=True, slots=True)
class Seen:
    """Last prices: `marks` of all quotes, for the value of the book; `fresh` of those young enough to trade on.

    `doubts` are fresh ones that look like a split nobody told of.
    """

    marks: Mapping[str, Decimal]
    fresh: Mapping[str, Decimal]
    doubts: Doubts


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Trade if this is the live tick of the session in progress, then report the stored orders of `sessions`."""
    sent = Sent()
    if context.tick and sessions[-1] == tick_session(market, context.now):
        with desk.db.advisory_lock(desk_lock(market), wait=True):
            _trade(desk, market, sessions[-1], context, sent)
    outcomes = [_stored(desk, market, session) for session in sessions]
    return StepResult(tuple(outcomes), numbers=sent.numbers())


def _trade(desk: Desk, market: MarketSettings, session: date, context: RunContext, sent: Sent) -> None:
    now = context.now
    open_book(desk, market, now)
    switch = control_state(desk.db, market.name)
    resolve_doubtful(
        desk.venue(market).broker,
        journal_of(desk, market),
        at=now,
        expired=lambda client_id: _expired(desk, client_id, now),
        may_send=lambda request: _may_repeat(desk, market, request, switch, now),
    )
    sync(desk, market, now)
    if switch is ControlState.HALTED or not calendar.is_open(market.market.calendar, now):
        return
    seen = _look(desk, market, session, now)
    book = marked(desk, market, seen.marks)
    day = day_state(desk, market, session, book, now)
    sent.held_back += [Reason.BAD_DATA] * len(seen.doubts.foreign)
    trusted = {symbol: price for symbol, price in seen.fresh.items() if symbol not in seen.doubts.foreign}
    plan_exits(desk, market, session, book, trusted, context)
    due = open_intents(desk.db, market.name, market.broker_book, now)
    for one in sorted(due, key=lambda i: (i.side is Side.BUY, i.created_at, i.id)):
        _send(desk, market, one, seen, day, switch, now, sent)
    sync(desk, market, now)


def _expired(desk: Desk, client_id: str, now: datetime) -> bool:
    stored = order(desk.db, client_id)
    planned = intent(desk.db, stored.intent_id) if stored is not None else None
    return planned is None or now >= planned.expires_at


def _may_repeat(desk: Desk, market: MarketSettings, request: OrderRequest, switch: ControlState, now: datetime) -> bool:
    """Whether an order in doubt may go out again now: what holds a new order back holds it back too."""
    if switch is ControlState.HALTED or not calendar.is_open(market.market.calendar, now):
        return False
    if request.side is Side.SELL:
        return True
    risk = risk_state(desk.db, market.name, market.broker_book)
    halted = risk is not None and risk.halted_until is not None and now < risk.halted_until
    return switch is ControlState.RUNNING and not halted


def _look(desk: Desk, market: MarketSettings, session: date, now: datetime) -> Seen:
    """Quotes of everything held or intended."""
    state = book_state(desk.db, market.name, market.broker_book)
    symbols = sorted({p.symbol for p in state.positions if p.qty > 0} | {p.symbol for p in state.pending})
    quotes = desk.venue(market).data.quotes(symbols) if symbols else {}
    oldest = now - timedelta(seconds=market.orders.max_quote_age_seconds)
    marks = quoted(desk, market, quotes, now)
    fresh = {symbol: price for symbol, price in marks.items() if quotes[symbol].at >= oldest}
    return Seen(marks, fresh, doubts(desk, market, session, fresh, now))


def _send(
    desk: Desk,
    market: MarketSettings,
    one: Intent,
    seen: Seen,
    day: RiskState,
    switch: ControlState,
    now: datetime,
    sent: Sent,
) -> None:
    """Send one intent, or say why not: a veto that lasts ends it, one that may pass leaves it for a later tick."""
    if not _sale_is_over(desk, one, now):
        return
    veto, lasting = _entry_veto(one, seen, day, switch, now)
    if veto is None and one.depends_on is not None:
        reviewed = review_rebalance(desk, market, one, seen.marks, day, now)
        if isinstance(reviewed, Reason):
            veto, lasting = reviewed, True
        else:
            one = reviewed
    if veto is None and one.side is Side.BUY and not _is_payable(desk, market, one, seen):
        veto, lasting = Reason.INSUFFICIENT_CASH, True
    if veto is not None:
        sent.held_back.append(veto)
        if lasting:
            set_intent_status(desk.db, one.id, IntentStatus.CANCELLED, at=now, reason=veto.code)
        return
    attempt = len(orders_of_intent(desk.db, one.id)) + 1
    request = OrderRequest(
        client_id=client_order_id(one.decision_id, one.leg, attempt),
        symbol=one.symbol,
        side=one.side,
        order_type=market.orders.type,
        time_in_force=market.orders.time_in_force,
        qty=one.qty,
        notional=one.notional,
    )
    broker, journal = desk.venue(market).broker, journal_of(desk, market)
    sent.states.append(submit_once(broker, journal, request, intent_id=one.id, attempt=attempt, at=now))


def _sale_is_over(desk: Desk, one: Intent, now: datetime) -> bool:
    """Whether the sale that an entry waits for is filled; without one, yes. An entry whose sale failed is cancelled."""
    if one.depends_on is None:
        return True
    sale = intent(desk.db, one.depends_on)
    if sale is None or not sale.status.is_over:
        return False
    if sale.status is not IntentStatus.DONE:
        set_intent_status(desk.db, one.id, IntentStatus.CANCELLED, at=now, reason="sale_not_filled")
        return False
    return True


def _entry_veto(
    one: Intent, seen: Seen, day: RiskState, switch: ControlState, now: datetime
) -> tuple[Reason | None, bool]:
    """Why an intent is not sent now, and whether that is final.

    An exit that was decided is sent whatever the age of the quote: holding on is the greater risk. Everything that
    opens a position needs a fresh price, and so does the sale that only makes room for another symbol. What looks like
    a split nobody told of is not bought, and not sold while the venue holds another quantity than the ledger.
    """
    if one.symbol in (seen.doubts.foreign if one.side is Side.SELL else seen.doubts.jumped):
        return Reason.BAD_DATA, False
    if one.side is Side.SELL and one.leg is not Leg.REBALANCE_OUT:
        return None, False
    if one.symbol not in seen.fresh:
        return Reason.STALE_QUOTE, False
    if one.side is Side.SELL:
        return None, False
    if switch is not ControlState.RUNNING:
        return Reason.PAUSED, False
    if day.halted_until is not None and now < day.halted_until:
        return Reason.HALTED, True
    return None, False


def _is_payable(desk: Desk, market: MarketSettings, one: Intent, seen: Seen) -> bool:
    """Whether an entry can be paid at the fresh price from cash that no standing entry may still spend."""
    standing = [p for p in book_state(desk.db, market.name, market.broker_book).pending if p.client_id is not None]
    bound = sum(
        (_cost(p.notional, p.qty, p.limit_price or seen.marks.get(p.symbol)) for p in standing if p.side is Side.BUY),
        Decimal(0),
    )
    needed = _cost(one.notional, one.qty, seen.fresh[one.symbol])
    available = cash(desk.db, market.name, market.broker_book)
    return (needed + bound) * _reserve(market) <= available


def _cost(notional: Decimal | None, qty: Decimal | None, price: Decimal | None) -> Decimal:
    return notional if notional is not None else (qty or Decimal(0)) * (price or Decimal(0))


def _reserve(market: MarketSettings) -> Decimal:
    """What an entry may cost at most, as a multiple of its value: slippage and fees."""
    fees = Decimal("0.001") if market.market.venue == "upbit" else Decimal(0)
    return 1 + Decimal(repr(market.orders.slippage_bps)) / 10_000 + fees


def _stored(desk: Desk, market: MarketSettings, session: date) -> SessionOutcome:
    """What the ledger has for a session; reading it changes nothing."""
    rows = orders_between(desk.db, market.name, market.broker_book, *session_span(session, session))
    counted: Counter[str] = Counter(f"orders_{row.state}" for row in rows)
    counted.update(f"orders_{row.side}" for row in rows)
    return SessionOutcome(session, len(rows), _content(rows), dict(counted))


def _content(rows: Sequence[LedgerOrder]) -> str:
    parts = sorted(f"{r.client_id}|{r.state}|{r.filled_qty}|{r.avg_price}|{r.fee}" for r in rows)
    return combine_hashes(*parts)
