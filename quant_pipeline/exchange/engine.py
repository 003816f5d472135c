"""One venue's trading: takes orders, binds money, lets bars fill them, keeps the log. No HTTP, no wire formats.

Everything is a function of the clock: `advance(now)` brings all orders to `now`, in order of time and then of
submission, and gives the same result in one step or in many.
"""

from __future__ import annotations

import heapq
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Context, Decimal, localcontext
from fractions import Fraction

from quant_pipeline.core.values import Fill, OrderState, Side
from quant_pipeline.exchange.account import Account
from quant_pipeline.exchange.actions import ActionList, ScriptedAction
from quant_pipeline.exchange.feed import Feed, instant
from quant_pipeline.exchange.matching import Event, EventKind, MatchRules, arrival_second, next_event
from quant_pipeline.exchange.orders import Force, RefusalReason, RefusedError, SimOrder, Ticket
from quant_pipeline.markets.calendar import session_at, session_hours

_EXACT = Context(prec=60)
_ZERO = Decimal(0)


@dataclass(frozen=True, slots=True)
class EngineRules:
    """How a venue treats orders.

    `fee_rates` are fractions of the amount, (buy, sell). `burns_ids`: an id is used up even when its order is refused.
    `refuses_wash_trades`: no order against a standing one of the same account. `keeps_remainder`: an order by funds
    ends as cancelled when a remainder too small for a lot was not spent.
    """

    match: MatchRules
    fee_rates: tuple[Decimal, Decimal]
    burns_ids: bool
    refuses_wash_trades: bool
    keeps_remainder: bool


ChangeListener = Callable[[SimOrder | None, str | None], None]
"""Told of each changed order, or of a client id that was used up; of neither when only the account changed."""


def _ignore(_order: SimOrder | None, _burnt_id: str | None) -> None:
    """Listen to nothing."""


@contextmanager
def exact_money() -> Iterator[None]:
    """Decimal arithmetic that loses no digit of any amount that occurs here."""
    with localcontext(_EXACT):
        yield


class Engine:
    """Orders and balances of one account at one venue."""

    def __init__(self, feed: Feed, rules: EngineRules, cash: Decimal, seed: int) -> None:
        """Open an account with `cash`; ids of orders and fills follow from `seed` and their order."""
        self.feed = feed
        self.rules = rules
        self.account = Account(feed.market.currency, cash)
        self.orders: dict[str, SimOrder] = {}
        self.fill_log: list[tuple[str, Fill]] = []
        self.used_ids: dict[str, str] = {}
        self.on_change: ChangeListener = _ignore
        self.actions = ActionList()
        self._open: dict[str, SimOrder] = {}
        self._namespace = uuid.uuid5(uuid.NAMESPACE_OID, f"{seed}/{feed.market.name}")

    # Reading

    def by_client_id(self, client_id: str) -> SimOrder | None:
        """The order that a client named `client_id`, if it was taken."""
        return self.orders.get(self.used_ids.get(client_id, ""))

    def open_orders(self) -> tuple[SimOrder, ...]:
        """Orders that can still be filled, oldest first."""
        return tuple(self._open.values())

    def identifier(self, *parts: object) -> str:
        """A UUID that follows from the seed, the market and `parts`."""
        return str(uuid.uuid5(self._namespace, "/".join(map(str, parts))))

    # Changing

    def submit(self, ticket: Ticket, now: datetime, *, dry: bool = False) -> SimOrder:
        """Take an order, or with `dry` only say how it would stand.

        Raises:
            RefusedError: the id was used before, or cash, holding, price or a standing order forbid it.
        """
        with exact_money():
            if ticket.client_id in self.used_ids:
                raise RefusedError(RefusalReason.DUPLICATE_ID)
            try:
                order = self._draft(ticket, now)
                self._require_balances(order)
            except RefusedError:
                if self.rules.burns_ids and not dry:
                    self.used_ids[ticket.client_id] = ""
                    self.on_change(None, ticket.client_id)
                raise
            if not dry:
                self.used_ids[ticket.client_id] = order.venue_id
                self.account.lock(order.reserved, ticket.symbol, order.reserved_qty)
                self._put(order)
            return order

    def cancel(self, venue_id: str, now: datetime) -> SimOrder | None:
        """Cancel an order; None if it is unknown or can no longer be cancelled."""
        with exact_money():
            order = self._open.get(venue_id)
            return None if order is None else self._close(order, OrderState.CANCELED, now)

    def advance(self, now: datetime) -> None:
        """Let everything happen that is due up to `now`: orders, and splits after the orders before them."""
        at = int(now.timestamp())
        for action in self.actions.all():
            if action.ratio is not None and action.effective <= at and action.key not in self.account.splits:
                self._advance_orders(action.effective - 1)
                self._split(action, action.ratio)
        self._advance_orders(at)

    def _advance_orders(self, at: int) -> None:
        """Let orders meet the bars up to `at` (epoch seconds)."""
        if not self._open:
            return
        with exact_money():
            due = [
                (event.at, order.seq, order, event)
                for order in self.open_orders()
                if (event := self._next(order, at)) is not None
            ]
            heapq.heapify(due)
            while due:
                _, _, order, event = heapq.heappop(due)
                changed = self._apply(order, event)
                following = self._next(changed, at) if changed.is_open else None
                if following is not None:
                    heapq.heappush(due, (following.at, changed.seq, changed, following))

    def restore(self, account: Account, orders: list[SimOrder], used_ids: dict[str, str]) -> None:
        """Become what a journal remembers."""
        self.account = account
        self.orders = {order.venue_id: order for order in sorted(orders, key=lambda order: order.seq)}
        self._open = {venue_id: order for venue_id, order in self.orders.items() if order.is_open}
        self.used_ids = dict(used_ids)
        logged = [(fill.at, order.seq, order.venue_id, fill) for order in orders for fill in order.fills]
        self.fill_log = [(venue_id, fill) for _, _, venue_id, fill in sorted(logged, key=lambda row: row[:2])]

    # Inside

    def _split(self, action: ScriptedAction, ratio: Fraction) -> None:
        """Cancel the orders of a share that splits, as brokers do, and multiply what is held of it."""
        with exact_money():
            for order in self.open_orders():
                if order.ticket.symbol == action.symbol:
                    self._close(order, OrderState.CANCELED, instant(action.effective))
            self.account.split(action.symbol, ratio, action.key)
            self.on_change(None, None)

    def _draft(self, ticket: Ticket, now: datetime) -> SimOrder:
        tick = self.feed.tick(ticket.symbol, now)
        if tick is None:
            raise RefusedError(RefusalReason.NO_PRICE)
        if self.rules.refuses_wash_trades:
            self._refuse_wash_trade(ticket, tick.bid, tick.ask)
        seq = len(self.orders) + 1
        market = self.feed.market
        expires = None
        if ticket.force is Force.DAY:
            expires = session_hours(market.calendar, session_at(market.calendar, now)).closes_at
        order = SimOrder(
            seq=seq,
            venue_id=self.identifier("order", seq),
            ticket=ticket,
            state=OrderState.ACCEPTED,
            submitted_at=now,
            updated_at=now,
            looked_until=0,
            expires_at=expires,
            hold_price=ticket.limit_price or tick.ask,
        )
        return self._rebound(replace(order, looked_until=arrival_second(order)))

    def _rebound(self, order: SimOrder) -> SimOrder:
        """The order with what it binds recomputed from what is still wanted."""
        ticket = order.ticket
        if not order.is_open:
            return replace(order, reserved=_ZERO, reserved_qty=_ZERO)
        if ticket.side is Side.SELL:
            return replace(order, reserved_qty=order.remaining_qty or _ZERO)
        wanted = order.remaining_qty
        amount = (ticket.funds or _ZERO) - order.filled_funds if wanted is None else wanted * order.hold_price
        return replace(order, reserved=amount * (1 + self.rules.fee_rates[0]))

    def _require_balances(self, order: SimOrder) -> None:
        held = self.account.holding(order.ticket.symbol).available
        if order.reserved_qty > held:
            raise RefusedError(RefusalReason.HOLDING, order.reserved_qty, held)
        if order.reserved > self.account.available:
            raise RefusedError(RefusalReason.CASH, order.reserved, self.account.available)

    def _refuse_wash_trade(self, ticket: Ticket, bid: Decimal, ask: Decimal) -> None:
        for other in self._open.values():
            if other.ticket.symbol != ticket.symbol or other.ticket.side is ticket.side:
                continue
            mine = ticket.limit_price or (ask if ticket.side is Side.BUY else bid)
            theirs = other.ticket.limit_price or mine
            if (mine >= theirs) if ticket.side is Side.BUY else (mine <= theirs):
                raise RefusedError(RefusalReason.WASH_TRADE, other_id=other.venue_id)

    def _next(self, order: SimOrder, at: int) -> Event | None:
        """The next event up to `at` that changes the order; how far it was looked is remembered."""
        while True:
            known = self.feed.horizon(order.ticket.symbol, order.looked_until, at)
            event = next_event(order, self.feed, self.rules.match, known)
            if event.kind is not EventKind.NOTHING:
                return event
            if event.look_from == order.looked_until:
                return None
            order = replace(order, looked_until=event.look_from)
            self.orders[order.venue_id] = self._open[order.venue_id] = order

    def _apply(self, order: SimOrder, event: Event) -> SimOrder:
        order = self._open[order.venue_id]
        at = instant(event.at)
        if event.kind is EventKind.EXPIRE:
            return self._close(order, OrderState.EXPIRED, at)
        if event.kind is EventKind.CANCEL:
            return self._close(order, OrderState.CANCELED, at)
        return self._fill(order, event, at)

    def _fill(self, order: SimOrder, event: Event, at: datetime) -> SimOrder:
        ticket = order.ticket
        funds = event.price * event.qty
        fee = funds * self.rules.fee_rates[0 if ticket.side is Side.BUY else 1]
        fill = Fill(self.identifier("fill", order.seq, len(order.fills) + 1), event.qty, event.price, fee, at)
        filled = replace(
            order,
            looked_until=event.look_from,
            updated_at=at,
            filled_qty=order.filled_qty + event.qty,
            filled_funds=order.filled_funds + funds,
            fee=order.fee + fee,
            fills=(*order.fills, fill),
            state=OrderState.PARTIALLY_FILLED,
        )
        if event.last:
            filled = replace(filled, state=self._final_state(filled))
        filled = self._rebound(filled)
        self.account.lock(filled.reserved - order.reserved, ticket.symbol, filled.reserved_qty - order.reserved_qty)
        self.account.fill(ticket.symbol, ticket.side, event.qty, funds, fee)
        self.fill_log.append((order.venue_id, fill))
        self._put(filled)
        return filled

    def _final_state(self, order: SimOrder) -> OrderState:
        """A remainder that cannot be filled ends an order as cancelled, also when nearly all of it was executed."""
        ticket = order.ticket
        if ticket.qty is not None:
            return OrderState.FILLED if order.filled_qty == ticket.qty else OrderState.CANCELED
        if not self.rules.keeps_remainder:
            return OrderState.FILLED
        return OrderState.FILLED if order.filled_funds == ticket.funds else OrderState.CANCELED

    def _close(self, order: SimOrder, state: OrderState, at: datetime) -> SimOrder:
        closed = self._rebound(replace(order, state=state, updated_at=at))
        self.account.lock(-order.reserved, order.ticket.symbol, -order.reserved_qty)
        self._put(closed)
        return closed

    def _put(self, order: SimOrder) -> None:
        self.orders[order.venue_id] = order
        if order.is_open:
            self._open[order.venue_id] = order
        else:
            self._open.pop(order.venue_id, None)
        self.on_change(order, None)
