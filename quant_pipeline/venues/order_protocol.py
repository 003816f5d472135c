"""Send an order so that there is never more than one of it, whatever breaks. Which orders to send is decided elsewhere.

The journal is the ledger's memory of orders; each of its calls commits on its own. The broker keeps the exchange's rule
that a client id is unique for ever. States of one client id in the journal, and what each says about the exchange:

    pending     committed; no request that may still be carried out has left. Safe to send.
    unknown     a request may have left, and no answer was understood. The order may exist, or may still arrive.
    accepted, partially_filled      the exchange has it; it is polled until it is finished.
    filled, canceled, expired, rejected     finished, never touched again.

    (none) --plan--> pending --about to send--> unknown --answer--> accepted | partially_filled | filled | ...
       unknown --refused, and it was the first request--> rejected
       unknown --refused for rate or keys, and it was the first request--> pending     (sent again later, same id)
       unknown --no or odd answer, duplicate--> unknown, and looked up once
       unknown --look-up finds it--> accepted | partially_filled | filled | ...
       unknown --not found, intent in force--> sent again under the SAME id
       pending, unknown --not found, may not be sent now--> stays as it is
       unknown --not found, intent expired--> stays unknown and watched: the first request may still arrive
       pending --intent expired, not found--> expired

Three rules carry it. The state is committed before the request leaves, so a crash at any point leaves `unknown`, never
an order that nobody knows of. An id is only ever sent again as itself, so the exchange removes the double. And a
refusal counts as final only for the first request under an id: a second one may be refused *because* the first got
through (its money is already bound), so then the id stays in doubt until a look-up finds it.

A 429 means that the request was not carried out; nothing depends on that being true, since the retry has the same id.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from quant_pipeline.core.values import OrderRequest, OrderState, VenueOrder
from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    BadRequest,
    DuplicateOrder,
    OrderRejected,
    RateLimited,
    UnknownSymbol,
    VenueError,
    cause_text,
)
from quant_pipeline.venues.protocols import Broker

_REFUSED = (OrderRejected, UnknownSymbol, BadRequest)
_NOT_CARRIED_OUT = (RateLimited, AuthenticationFailed)
_DOUBTFUL = (OrderState.PENDING, OrderState.UNKNOWN)


class Journal(Protocol):
    """What must survive a crash. Every method is one committed transaction."""

    def plan(self, request: OrderRequest, intent_id: str, attempt: int, at: datetime) -> None:
        """Write the order as `pending`. An id that is already there is an error (a second writer), not an update."""
        ...

    def record(self, order: VenueOrder, at: datetime) -> None:
        """Take over state, quantities, fee and fills as the exchange has them. Doing it again changes nothing.

        `order.fills` may hold fewer executions than are known already (the answer to a POST has none), never others.
        """
        ...

    def mark(self, client_id: str, state: OrderState, at: datetime, error: str) -> None:
        """Set our own view of the order, with the reason."""
        ...

    def doubtful(self) -> tuple[OrderRequest, ...]:
        """The requests whose state is `pending` or `unknown`, oldest first."""
        ...

    def open(self) -> tuple[tuple[str, str], ...]:
        """(client_id, symbol) of the orders that are `accepted` or `partially_filled`, oldest first."""
        ...

    def state(self, client_id: str) -> OrderState | None:
        """The state of an order, None when it was never planned."""
        ...


def submit_once(
    broker: Broker, journal: Journal, request: OrderRequest, *, intent_id: str, attempt: int, at: datetime
) -> OrderState:
    """Send `request` unless its id was ever planned; then only look it up. Returns the state in the journal.

    No exchange failure is raised: it is in the journal. Calling it again, after a crash too, is always safe.
    """
    state = journal.state(request.client_id)
    if state is None:
        journal.plan(request, intent_id, attempt, at)
        return _send(broker, journal, request, at, first=True)
    if state.is_terminal:
        return state
    return _look_up(broker, journal, request.client_id, request.symbol, state, at)


def _always(_: OrderRequest) -> bool:
    return True


def resolve_doubtful(
    broker: Broker,
    journal: Journal,
    *,
    at: datetime,
    expired: Callable[[str], bool],
    may_send: Callable[[OrderRequest], bool] = _always,
) -> tuple[OrderState, ...]:
    """Look up every order in doubt; send it again, under its own id, while its intent has not expired.

    Args:
        broker: the account.
        journal: the ledger's memory.
        at: the time written to the journal.
        expired: of a client id: has its intent expired?
        may_send: whether a request may go out now. One that may not is looked up all the same, and waits if not found.

    Returns:
        The states afterwards, in the order of `journal.doubtful()`.
    """
    return tuple(
        _resolve(broker, journal, request, at, expired=expired(request.client_id), may_send=may_send)
        for request in journal.doubtful()
    )


def poll_open(broker: Broker, journal: Journal, *, at: datetime) -> tuple[OrderState, ...]:
    """Ask for every order that stands at the exchange and record what became of it.

    A failure leaves the order as it was, with the reason; an order that the exchange has lost is never sent again.

    Returns:
        The states afterwards, in the order of `journal.open()`.
    """
    states = []
    for client_id, symbol in journal.open():
        state = journal.state(client_id) or OrderState.ACCEPTED
        states.append(_look_up(broker, journal, client_id, symbol, state, at))
    return tuple(states)


def _resolve(
    broker: Broker,
    journal: Journal,
    request: OrderRequest,
    at: datetime,
    *,
    expired: bool,
    may_send: Callable[[OrderRequest], bool],
) -> OrderState:
    before = journal.state(request.client_id)
    if before not in _DOUBTFUL:
        return before if before is not None else OrderState.UNKNOWN
    try:
        found = broker.find(request.client_id, request.symbol)
    except VenueError as error:
        journal.mark(request.client_id, before, at, cause_text(error))
        return before
    if found is not None:
        journal.record(found, at)
        return found.state
    if not expired and may_send(request):
        return _send(broker, journal, request, at, first=before is OrderState.PENDING)
    if not expired:
        journal.mark(request.client_id, before, at, "the exchange does not know the order; it may not be sent now")
        return before
    if before is OrderState.PENDING:
        journal.mark(request.client_id, OrderState.EXPIRED, at, "the intent expired before the order could be sent")
        return OrderState.EXPIRED
    journal.mark(
        request.client_id, before, at, "the intent expired; the exchange does not know the order; still watched"
    )
    return before


def _send(broker: Broker, journal: Journal, request: OrderRequest, at: datetime, *, first: bool) -> OrderState:
    """One request. `first`: no earlier request under this id may have been carried out."""
    journal.mark(request.client_id, OrderState.UNKNOWN, at, "being sent")
    try:
        order = broker.submit(request)
    except DuplicateOrder as error:
        return _look_up_after(broker, journal, request, at, error)
    except _REFUSED as error:
        if not first:
            return _look_up_after(broker, journal, request, at, error)
        journal.mark(request.client_id, OrderState.REJECTED, at, cause_text(error))
        return OrderState.REJECTED
    except _NOT_CARRIED_OUT as error:
        state = OrderState.PENDING if first else OrderState.UNKNOWN
        journal.mark(request.client_id, state, at, cause_text(error))
        return state
    except VenueError as error:
        return _look_up_after(broker, journal, request, at, error)
    journal.record(order, at)
    return order.state


def _look_up_after(
    broker: Broker, journal: Journal, request: OrderRequest, at: datetime, error: VenueError
) -> OrderState:
    journal.mark(request.client_id, OrderState.UNKNOWN, at, cause_text(error))
    return _look_up(broker, journal, request.client_id, request.symbol, OrderState.UNKNOWN, at)


def _look_up(
    broker: Broker, journal: Journal, client_id: str, symbol: str, state: OrderState, at: datetime
) -> OrderState:
    """Record what the exchange has under this id; without an answer, or without an order, the state stays."""
    try:
        found = broker.find(client_id, symbol)
    except VenueError as error:
        journal.mark(client_id, state, at, cause_text(error))
        return state
    if found is None:
        if state not in _DOUBTFUL:
            journal.mark(client_id, state, at, "the exchange does not know this order any more")
        return state
    journal.record(found, at)
    return found.state
