"""A broker that can lose requests and answers, and a journal that survives: the ground of the order protocol's tests.

`Exchange` and `Store` outlive a crash; `FakeBroker` and `FakeJournal` are built anew by every "process".
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import StrEnum

from quant_pipeline.core.values import (
    Account,
    Fill,
    OrderRequest,
    OrderState,
    Position,
    Side,
    VenueClock,
    VenueOrder,
)
from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    DuplicateOrder,
    OrderInDoubt,
    OrderRejected,
    RateLimited,
    VenueUnavailable,
)

AT = datetime(2026, 3, 2, 15, 0, tzinfo=UTC)


class Crash(BaseException):
    """The process was killed."""


@dataclass
class Boundaries:
    """Counts every crossing between the process and the outside; kills the process at the chosen ones."""

    kill_at: frozenset[int] = frozenset()
    crossed: int = 0

    def cross(self) -> None:
        """One crossing."""
        self.crossed += 1
        if self.crossed in self.kill_at:
            raise Crash


class Fault(StrEnum):
    """What happens to one POST."""

    NONE = "none"
    REQUEST_LOST = "request lost"
    REQUEST_LATE = "request arrives later"
    ANSWER_LOST = "accepted, answer lost"
    REFUSED = "refused"
    REFUSAL_LOST = "refused, answer lost"
    RATE_LIMITED = "429"
    KEYS_REFUSED = "401"
    UNAVAILABLE = "unavailable"


class Sight(StrEnum):
    """What a look-up sees."""

    CLEAR = "clear"
    FAILS = "fails"
    BLIND = "does not see the order yet"


@dataclass
class Exchange:
    """The exchange's own truth. It has money for one order, and keeps an id for ever."""

    faults: list[Fault] = field(default_factory=list)
    sights: list[Sight] = field(default_factory=list)
    funds_before_ids: bool = False
    orders: dict[str, VenueOrder] = field(default_factory=dict)
    on_the_way: list[OrderRequest] = field(default_factory=list)
    posts: list[str] = field(default_factory=list)

    def post(self, request: OrderRequest) -> VenueOrder:
        """Carry out one POST with the next fault of the script."""
        self.posts.append(request.client_id)
        fault = self.faults.pop(0) if self.faults else Fault.NONE
        if fault is Fault.RATE_LIMITED:
            raise RateLimited(1.0)
        if fault is Fault.KEYS_REFUSED:
            raise AuthenticationFailed(fault)
        if fault is Fault.UNAVAILABLE:
            raise VenueUnavailable(fault)
        if fault is Fault.REQUEST_LOST:
            raise OrderInDoubt(fault)
        if fault is Fault.REQUEST_LATE:
            self.on_the_way.append(request)
            raise OrderInDoubt(fault)
        if fault is Fault.REFUSED:
            raise OrderRejected("40310000", "not now")
        if fault is Fault.REFUSAL_LOST:
            raise OrderInDoubt(fault)
        order = self.accept(request)
        if fault is Fault.ANSWER_LOST:
            raise OrderInDoubt(fault)
        return order

    def accept(self, request: OrderRequest) -> VenueOrder:
        """The matching engine's door: ids are unique, and the money is enough for one order."""
        broke = len(self.orders) > 0
        if broke and self.funds_before_ids:
            raise OrderRejected("insufficient_funds_bid", "not enough")
        if request.client_id in self.orders:
            raise DuplicateOrder(request.client_id)
        if broke:
            raise OrderRejected("insufficient_funds_bid", "not enough")
        order = VenueOrder(
            client_id=request.client_id,
            venue_id=f"v-{request.client_id}",
            symbol=request.symbol,
            side=request.side,
            state=OrderState.ACCEPTED,
            filled_qty=Decimal(0),
            avg_price=None,
            fee=Decimal(0),
            submitted_at=AT,
            updated_at=AT,
        )
        self.orders[request.client_id] = order
        return order

    def time_passes(self) -> None:
        """Late requests arrive and orders execute, half and then whole."""
        late, self.on_the_way = self.on_the_way, []
        for request in late:
            try:
                self.accept(request)
            except (OrderRejected, DuplicateOrder):
                continue
        for client_id, order in self.orders.items():
            if len(order.fills) < 2:
                number = len(order.fills) + 1
                fill = Fill(f"{client_id}/{number}", Decimal(5), Decimal(10 + number), Decimal("0.01"), AT)
                fills = (*order.fills, fill)
                self.orders[client_id] = replace(
                    order,
                    state=OrderState.FILLED if len(fills) == 2 else OrderState.PARTIALLY_FILLED,
                    filled_qty=sum((one.qty for one in fills), Decimal(0)),
                    avg_price=sum((one.qty * one.price for one in fills), Decimal(0)) / sum(one.qty for one in fills),
                    fee=sum((one.fee for one in fills), Decimal(0)),
                    fills=fills,
                    updated_at=AT + timedelta(minutes=len(fills)),
                )

    def look(self, client_id: str) -> VenueOrder | None:
        """One look-up with the next sight of the script."""
        sight = self.sights.pop(0) if self.sights else Sight.CLEAR
        if sight is Sight.FAILS:
            raise VenueUnavailable(sight)
        return None if sight is Sight.BLIND else self.orders.get(client_id)


@dataclass
class Row:
    """One order in the ledger."""

    request: OrderRequest
    intent_id: str
    attempt: int
    state: OrderState = OrderState.PENDING
    filled_qty: Decimal = Decimal(0)
    fills: dict[str, Fill] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)


type Store = dict[str, Row]


class FakeBroker:
    """One process's connection to the exchange."""

    def __init__(self, exchange: Exchange, boundaries: Boundaries, before_post: Callable[[str], None]) -> None:
        self._exchange = exchange
        self._boundaries = boundaries
        self._before_post = before_post

    def submit(self, request: OrderRequest) -> VenueOrder:
        self._boundaries.cross()
        self._before_post(request.client_id)
        try:
            return self._exchange.post(request)
        finally:
            self._boundaries.cross()

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        self._boundaries.cross()
        return self._exchange.look(client_id)

    def account(self) -> Account:
        raise NotImplementedError

    def positions(self) -> tuple[Position, ...]:
        raise NotImplementedError

    def open_orders(self) -> tuple[VenueOrder, ...]:
        raise NotImplementedError

    def cancel(self, client_id: str, symbol: str) -> None:
        raise NotImplementedError

    def clock(self) -> VenueClock:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


class FakeJournal:
    """One process's connection to the ledger: every call is one commit, with a crossing before and after."""

    def __init__(self, store: Store, boundaries: Boundaries) -> None:
        self._store = store
        self._boundaries = boundaries

    def plan(self, request: OrderRequest, intent_id: str, attempt: int, at: datetime) -> None:
        self._boundaries.cross()
        if request.client_id in self._store:
            msg = f"order {request.client_id} is there already"
            raise ValueError(msg)
        self._store[request.client_id] = Row(request, intent_id, attempt)
        self._boundaries.cross()

    def record(self, order: VenueOrder, at: datetime) -> None:
        self._boundaries.cross()
        row = self._store[order.client_id]
        assert not row.state.is_terminal or row.state is order.state, f"{row.state} became {order.state}"
        row.state = order.state
        row.filled_qty = max(row.filled_qty, order.filled_qty)
        row.fills |= {fill.fill_id: fill for fill in order.fills}
        self._boundaries.cross()

    def mark(self, client_id: str, state: OrderState, at: datetime, error: str) -> None:
        self._boundaries.cross()
        row = self._store[client_id]
        assert not row.state.is_terminal, f"{row.state} became {state}: {error}"
        assert error
        row.state = state
        row.errors.append(error)
        self._boundaries.cross()

    def doubtful(self) -> tuple[OrderRequest, ...]:
        doubtful = (OrderState.PENDING, OrderState.UNKNOWN)
        return tuple(row.request for row in self._store.values() if row.state in doubtful)

    def open(self) -> tuple[tuple[str, str], ...]:
        standing = (OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
        return tuple((key, row.request.symbol) for key, row in self._store.items() if row.state in standing)

    def state(self, client_id: str) -> OrderState | None:
        row = self._store.get(client_id)
        return None if row is None else row.state


def request(client_id: str) -> OrderRequest:
    """A buy of ten."""
    return OrderRequest(client_id=client_id, symbol="AAPL", side=Side.BUY, qty=Decimal(10))
