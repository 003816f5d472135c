"""The ledger as the journal of the order protocol: the protocol's own rules, on a real database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderRequest, OrderState, VenueOrder
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import LedgerConflictError
from quant_pipeline.storage.ledger import SqlJournal, order_events, positions
from quant_pipeline.venues.errors import DuplicateOrder, OrderInDoubt, OrderRejected, RateLimited
from quant_pipeline.venues.order_protocol import Journal, poll_open, resolve_doubtful, submit_once
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, VENUE, fill, later, report, request, stored_intent


class _Venue:
    """A venue with the rule that counts: an id is one order for ever. `answers` are what the next requests meet."""

    def __init__(self) -> None:
        self.orders: dict[str, VenueOrder] = {}
        self.answers: list[Exception | None] = []
        self.posts = 0

    def submit(self, asked: OrderRequest) -> VenueOrder:
        self.posts += 1
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, OrderRejected | RateLimited):
            raise answer
        if asked.client_id in self.orders:
            raise DuplicateOrder(asked.client_id)
        self.orders[asked.client_id] = report(asked, OrderState.ACCEPTED)
        if answer is not None:
            raise answer
        return self.orders[asked.client_id]

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        found = self.orders.get(client_id)
        return found if found is not None and found.symbol == symbol else None

    def execute(self, asked: OrderRequest) -> None:
        done = fill("f1", "4", "100"), fill("f2", "6", "101")
        self.orders[asked.client_id] = report(asked, OrderState.FILLED, *done, minutes=5)


@pytest.fixture
def journal(database: Database) -> Journal:
    """The journal of a market's book."""
    return SqlJournal(database, MARKET, BOOK, VENUE)


def _send(journal: Journal, venue: _Venue, intent_id: str, client_id: str = "a", minutes: float = 0) -> OrderState:
    asked = request(client_id)
    return submit_once(venue, journal, asked, intent_id=intent_id, attempt=1, at=later(minutes))  # type: ignore[arg-type]


def test_order_is_sent_once_polled_and_booked(database: Database, journal: Journal) -> None:
    venue, intent_id = _Venue(), stored_intent(database).id
    assert [_send(journal, venue, intent_id) for _ in range(3)] == [OrderState.ACCEPTED] * 3
    assert venue.posts == 1
    assert journal.open() == (("a", "AAPL"),)
    venue.execute(request("a"))
    assert poll_open(venue, journal, at=later(6)) == (OrderState.FILLED,)  # type: ignore[arg-type]
    assert (journal.open(), journal.doubtful(), journal.state("a")) == ((), (), OrderState.FILLED)
    assert [(one.symbol, one.qty) for one in positions(database, MARKET, BOOK)] == [("AAPL", Decimal(10))]
    assert [event.state for event in order_events(database, "a")] == ["pending", "unknown", "accepted", "filled"]


def test_answer_in_doubt_is_looked_up_and_not_sent_again(database: Database, journal: Journal) -> None:
    venue, intent_id = _Venue(), stored_intent(database).id
    venue.answers = [OrderInDoubt("timeout")]
    assert _send(journal, venue, intent_id) is OrderState.ACCEPTED
    assert venue.posts == 1


def test_process_killed_before_the_answer_finds_its_order_again(database: Database, journal: Journal) -> None:
    venue, wanted = _Venue(), stored_intent(database)
    journal.plan(request("a"), wanted.id, 1, AT)
    journal.mark("a", OrderState.UNKNOWN, AT, "being sent")
    venue.submit(request("a"))
    assert journal.doubtful() == (request("a"),)
    states = resolve_doubtful(venue, journal, at=later(1), expired=lambda _: False)  # type: ignore[arg-type]
    assert states == (OrderState.ACCEPTED,)
    assert venue.posts == 1


def test_refusal_for_haste_leaves_the_order_to_be_sent_under_its_id(database: Database, journal: Journal) -> None:
    venue, wanted = _Venue(), stored_intent(database)
    venue.answers = [RateLimited(1.0)]
    assert _send(journal, venue, wanted.id) is OrderState.PENDING
    assert journal.state("a") is OrderState.PENDING
    venue.answers = [OrderRejected("no_money", "insufficient funds")]
    states = resolve_doubtful(venue, journal, at=later(1), expired=lambda _: False)  # type: ignore[arg-type]
    assert states == (OrderState.REJECTED,)
    assert journal.state("a") is OrderState.REJECTED


def test_pending_order_of_an_expired_intent_is_never_sent(database: Database, journal: Journal) -> None:
    venue, wanted = _Venue(), stored_intent(database)
    journal.plan(request("a"), wanted.id, 1, AT)
    states = resolve_doubtful(venue, journal, at=wanted.expires_at, expired=lambda _: True)  # type: ignore[arg-type]
    assert (states, venue.posts, journal.state("a")) == ((OrderState.EXPIRED,), 0, OrderState.EXPIRED)


def test_second_process_that_plans_the_same_order_is_refused(database: Database, journal: Journal) -> None:
    wanted = stored_intent(database)
    journal.plan(request("a"), wanted.id, 1, AT)
    with pytest.raises(LedgerConflictError, match="order a is planned already"):
        journal.plan(request("a"), wanted.id, 1, AT)


def test_doubtful_and_open_are_those_of_this_book_oldest_first(database: Database, journal: Journal) -> None:
    other = SqlJournal(database, MARKET, "live", VENUE)
    other.plan(request("x"), stored_intent(database, book="live").id, 1, AT)
    for number, client_id in enumerate(("c", "b", "a")):
        wanted = stored_intent(database)
        journal.plan(request(client_id), wanted.id, 1, AT + timedelta(seconds=number))
    journal.mark("b", OrderState.UNKNOWN, later(1), "being sent")
    journal.record(replace(report(request("a"), OrderState.ACCEPTED)), later(1))
    assert [one.client_id for one in journal.doubtful()] == ["c", "b"]
    assert journal.open() == (("a", "AAPL"),)
    assert journal.state("nobody") is None
