"""Intents: idempotent, never sent past their time, closed when their orders are."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest
from sqlalchemy.exc import IntegrityError

from quant_pipeline.core.values import OrderState, Side
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions
from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.ledger import (
    Intent,
    IntentStatus,
    Leg,
    add_intent,
    expire_intents,
    intent,
    intents_between,
    mark_order,
    open_intents,
    plan_order,
    record_order,
    set_intent_status,
    settle_intents,
)
from quant_pipeline_tests.storage.builders import (
    AT,
    BOOK,
    MARKET,
    VENUE,
    decision,
    fill,
    later,
    report,
    request,
    stored_intent,
)


def _add(db: Database, wanted: Intent) -> bool:
    with db.begin() as connection:
        return add_intent(connection, wanted)


def _status(db: Database, wanted: Intent) -> IntentStatus:
    found = intent(db, wanted.id)
    assert found is not None
    return found.status


def _send(db: Database, wanted: Intent, client_id: str, attempt: int = 1) -> None:
    plan_order(db, request(client_id), wanted.id, attempt, MARKET, BOOK, VENUE, AT)


def test_intent_comes_back_exactly(database: Database) -> None:
    first = stored_intent(database, qty=None, notional=Decimal("50000.5"), leg=Leg.REBALANCE_IN)
    second = stored_intent(database, side=Side.SELL, leg=Leg.REBALANCE_OUT, depends_on=first.id, reason="rebalance")
    assert intent(database, first.id) == first
    assert intent(database, second.id) == second
    assert intent(database, "nobody") is None


def test_same_intent_again_changes_nothing_even_after_it_was_sent(database: Database) -> None:
    wanted = stored_intent(database)
    _send(database, wanted, "order-1")
    assert not _add(database, wanted)
    assert _status(database, wanted) is IntentStatus.SENT


@pytest.mark.parametrize("changes", [{"qty": Decimal(11)}, {"symbol": "MSFT"}, {"expires_at": later(61)}])
def test_same_id_with_another_content_is_refused(database: Database, changes: dict) -> None:
    wanted = stored_intent(database)
    with pytest.raises(LedgerConflictError, match=f"{wanted.id} is in the ledger with another {next(iter(changes))}"):
        _add(database, replace(wanted, **changes))


@pytest.mark.parametrize(
    "changes",
    [
        {"decision_id": "nobody"},
        {"depends_on": "nobody"},
        {"qty": Decimal(0)},
        {"qty": None},
        {"notional": Decimal(1)},
        {"expires_at": AT},
    ],
)
def test_unsound_intent_is_refused_by_the_database(database: Database, changes: dict) -> None:
    wanted = stored_intent(database)
    with pytest.raises(IntegrityError):
        _add(database, replace(wanted, id="other", **changes))


def test_only_due_open_intents_that_have_not_expired_may_be_sent(database: Database) -> None:
    first = stored_intent(database, created_at=later(-2))
    second = stored_intent(database)
    future = stored_intent(database, not_before=later(30))
    stored_intent(database, expires_at=later(5), not_before=later(-10))
    stored_intent(database, book="live")
    sent = stored_intent(database)
    _send(database, sent, "order-1")
    assert open_intents(database, MARKET, BOOK, later(5)) == (first, second)
    assert open_intents(database, MARKET, BOOK, later(30)) == (first, second, future)
    assert open_intents(database, MARKET, BOOK, later(60)) == ()


def test_expiry_takes_open_intents_and_spares_sent_ones(database: Database) -> None:
    waiting, sent = stored_intent(database), stored_intent(database)
    _send(database, sent, "order-1")
    assert expire_intents(database, MARKET, BOOK, later(59)) == ()
    expired = expire_intents(database, MARKET, BOOK, later(60))
    assert expired == (replace(waiting, status=IntentStatus.EXPIRED),)
    assert _status(database, sent) is IntentStatus.SENT
    with pytest.raises(LedgerConflictError, match="is expired; nothing more may be sent"):
        _send(database, waiting, "order-2")


def test_status_of_a_finished_intent_stays(database: Database) -> None:
    wanted = stored_intent(database)
    set_intent_status(database, wanted.id, IntentStatus.CANCELLED, at=later(1), reason="paused")
    set_intent_status(database, wanted.id, IntentStatus.CANCELLED, at=later(2))
    found = intent(database, wanted.id)
    assert found is not None
    assert (found.status, found.reason) == (IntentStatus.CANCELLED, "paused")
    with pytest.raises(LedgerConflictError, match="is cancelled; it cannot become open"):
        set_intent_status(database, wanted.id, IntentStatus.OPEN, at=later(3))
    with pytest.raises(UnknownRecordError, match="nobody"):
        set_intent_status(database, "nobody", IntentStatus.OPEN, at=AT)


def test_sent_intents_are_settled_by_their_orders(database: Database) -> None:
    filled, refused, unfilled, standing, partly, retried, waiting = (stored_intent(database) for _ in range(7))
    for number, one in enumerate((filled, refused, unfilled, standing, partly, retried)):
        _send(database, one, f"order-{number}")
    record_order(database, "order-0", report(request("order-0"), OrderState.FILLED, fill("f", "10", "1")), later(1))
    mark_order(database, "order-1", OrderState.REJECTED, later(1), "no money")
    record_order(database, "order-2", report(request("order-2"), OrderState.CANCELED), later(1))
    record_order(database, "order-3", report(request("order-3"), OrderState.ACCEPTED), later(1))
    record_order(database, "order-4", report(request("order-4"), OrderState.CANCELED, fill("f", "3", "1")), later(1))
    mark_order(database, "order-5", OrderState.REJECTED, later(1), "wrong tick")
    _send(database, retried, "order-5b", attempt=2)
    settled = {one.id: one.status for one in settle_intents(database, MARKET, BOOK, later(2))}
    assert settled == {
        filled.id: IntentStatus.DONE,
        refused.id: IntentStatus.REJECTED,
        unfilled.id: IntentStatus.CANCELLED,
        partly.id: IntentStatus.DONE,
    }
    assert _status(database, standing) is IntentStatus.SENT
    assert _status(database, retried) is IntentStatus.SENT
    assert _status(database, waiting) is IntentStatus.OPEN
    assert settle_intents(database, MARKET, BOOK, later(3)) == ()


def test_intents_of_a_span_are_those_created_in_it(database: Database) -> None:
    first, second = stored_intent(database), stored_intent(database, created_at=later(10))
    assert intents_between(database, MARKET, BOOK, AT, later(10)) == (first,)
    assert intents_between(database, MARKET, BOOK, AT, later(11)) == (first, second)


def test_intent_is_added_with_what_the_caller_does_or_not_at_all(database: Database) -> None:
    made = decision()
    append_decisions(database, [made])
    wanted = replace(stored_intent(database), id="together", decision_id=made.id)

    def add_and_fail() -> None:
        with database.begin() as connection:
            add_intent(connection, wanted)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        add_and_fail()
    assert intent(database, "together") is None
