"""The order protocol writing to the real ledger in PostgreSQL, killed before and after every one of its commits."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderRequest, OrderState, VenueOrder
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import LedgerConflictError
from quant_pipeline.storage.fills import fills_of
from quant_pipeline.storage.intents import Intent
from quant_pipeline.storage.journal import SqlJournal
from quant_pipeline.storage.orders import order
from quant_pipeline.storage.positions import positions
from quant_pipeline.venues.order_protocol import Journal, poll_open, resolve_doubtful, submit_once
from quant_pipeline_tests.storage.builders import AT, MARKET, VENUE, stored_intent
from quant_pipeline_tests.venues.order_fakes import Boundaries, Crash, Exchange, FakeBroker, Fault, request

_EXPIRY, _TICKS = 3, 7


@dataclass
class KilledJournal:
    """The ledger's journal with a crossing before and after each commit."""

    inner: Journal
    boundaries: Boundaries

    def plan(self, wanted: OrderRequest, intent_id: str, attempt: int, at: datetime) -> None:
        self.boundaries.cross()
        self.inner.plan(wanted, intent_id, attempt, at)
        self.boundaries.cross()

    def record(self, found: VenueOrder, at: datetime) -> None:
        self.boundaries.cross()
        self.inner.record(found, at)
        self.boundaries.cross()

    def mark(self, client_id: str, state: OrderState, at: datetime, error: str) -> None:
        self.boundaries.cross()
        self.inner.mark(client_id, state, at, error)
        self.boundaries.cross()

    def doubtful(self) -> tuple[OrderRequest, ...]:
        return self.inner.doubtful()

    def open(self) -> tuple[tuple[str, str], ...]:
        return self.inner.open()

    def state(self, client_id: str) -> OrderState | None:
        return self.inner.state(client_id)


def _run(db: Database, book: str, fault: Fault, kill_at: int) -> tuple[Exchange, Boundaries, str]:
    """A few ticks of a desk with one intent; each book is a ledger of its own."""
    intent: Intent = stored_intent(db, book=book)
    client_id = f"{book}-1"
    exchange, boundaries = Exchange([fault]), Boundaries(frozenset({kill_at}))
    for number in range(_TICKS):
        broker = FakeBroker(exchange, boundaries, lambda _: None)
        journal = KilledJournal(SqlJournal(db, MARKET, book, VENUE), boundaries)
        gone = number >= _EXPIRY
        try:
            resolve_doubtful(broker, journal, at=AT, expired=lambda _, gone=gone: gone)
            if not gone:
                submit_once(broker, journal, request(client_id), intent_id=intent.id, attempt=1, at=AT)
            poll_open(broker, journal, at=AT)
        except Crash:
            pass
        exchange.time_passes()
    return exchange, boundaries, client_id


def _check(db: Database, book: str, exchange: Exchange, client_id: str) -> None:
    stored = order(db, client_id)
    assert stored is not None
    found = exchange.orders.get(client_id)
    held = {one.symbol: one.qty for one in positions(db, MARKET, book)}
    if found is None:
        assert stored.state in (OrderState.REJECTED, OrderState.EXPIRED, OrderState.UNKNOWN)
        assert held.get("AAPL", Decimal(0)) == 0
        return
    assert stored.state is found.state is OrderState.FILLED
    assert (stored.filled_qty, stored.fee) == (found.filled_qty, found.fee)
    assert [(one.fill_id, one.qty, one.price, one.fee) for one in fills_of(db, client_id)] == [
        (one.fill_id, one.qty, one.price, one.fee) for one in found.fills
    ]
    assert held == {"AAPL": Decimal(10)}


@pytest.mark.parametrize("fault", Fault)
def test_every_fault_leaves_a_ledger_that_agrees(database: Database, fault: Fault) -> None:
    exchange, _, client_id = _run(database, "whole", fault, 0)
    _check(database, "whole", exchange, client_id)


@pytest.mark.parametrize("fault", [Fault.NONE, Fault.ANSWER_LOST, Fault.REQUEST_LATE, Fault.RATE_LIMITED])
def test_killed_at_every_commit_the_ledger_agrees_in_the_end(database: Database, fault: Fault) -> None:
    _, boundaries, _ = _run(database, "counting", fault, 0)
    for kill_at in range(1, boundaries.crossed + 1):
        book = f"killed-{kill_at}"
        exchange, _, client_id = _run(database, book, fault, kill_at)
        assert len(exchange.orders) == 1
        assert set(exchange.posts) == {client_id}
        _check(database, book, exchange, client_id)


def test_a_second_process_that_plans_the_same_order_is_stopped_before_it_sends(database: Database) -> None:
    class Late(SqlJournal):
        """Its reader looked just before the other process wrote."""

        def state(self, client_id: str) -> OrderState | None:
            return None

    intent = stored_intent(database)
    exchange = Exchange()
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    first, second = SqlJournal(database, MARKET, "paper", VENUE), Late(database, MARKET, "paper", VENUE)
    submit_once(broker, first, request("a"), intent_id=intent.id, attempt=1, at=AT)
    with pytest.raises(LedgerConflictError):
        submit_once(broker, second, request("a"), intent_id=intent.id, attempt=1, at=AT)
    assert exchange.posts == ["a"]
