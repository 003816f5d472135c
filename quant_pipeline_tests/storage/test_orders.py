"""Orders: planned once, states that never go back, every change an event."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderRequest, OrderState, OrderType, Side, TimeInForce
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.ledger import (
    IntentStatus,
    LedgerOrder,
    apply_fill,
    fills_of,
    intent,
    mark_order,
    open_orders,
    order,
    order_events,
    orders_between,
    orders_of_intent,
    plan_order,
    record_order,
    set_intent_status,
)
from quant_pipeline_tests.storage.builders import (
    AT,
    BOOK,
    MARKET,
    VENUE,
    fill,
    later,
    planned,
    report,
    request,
    stored_intent,
)


def _order(db: Database, client_id: str = "a") -> LedgerOrder:
    found = order(db, client_id)
    assert found is not None
    return found


def _states(db: Database, client_id: str = "a") -> list[OrderState]:
    return [event.state for event in order_events(db, client_id)]


def test_planned_order_is_pending_and_asks_for_exactly_what_was_planned(database: Database) -> None:
    wanted = stored_intent(database, symbol="KRW-BTC", qty=Decimal("0.00012345"), side=Side.SELL, market="krw_crypto")
    asked = request(
        "a",
        symbol="KRW-BTC",
        side=Side.SELL,
        order_type=OrderType.LIMIT,
        time_in_force=None,
        qty=Decimal("0.00012345"),
        limit_price=Decimal(95000000),
    )
    assert plan_order(database, asked, wanted.id, 1, "krw_crypto", BOOK, "upbit", AT)
    found = _order(database)
    assert found.request() == asked
    assert (found.state, found.venue_id, found.filled_qty, found.planned_at) == (OrderState.PENDING, None, 0, AT)
    sent = intent(database, wanted.id)
    assert sent is not None
    assert sent.status is IntentStatus.SENT
    assert orders_of_intent(database, wanted.id) == (found,)
    assert order(database, "nobody") is None


def test_same_plan_again_changes_nothing(database: Database) -> None:
    wanted = stored_intent(database)
    assert plan_order(database, request("a"), wanted.id, 1, MARKET, BOOK, VENUE, AT)
    record_order(database, "a", report(request("a"), OrderState.ACCEPTED), later(1))
    assert not plan_order(database, request("a"), wanted.id, 1, MARKET, BOOK, VENUE, later(2))
    assert _states(database) == [OrderState.PENDING, OrderState.ACCEPTED]


@pytest.mark.parametrize(
    ("asked", "attempt", "message"),
    [
        (request("a", qty=Decimal(11)), 1, "another qty"),
        (request("a", time_in_force=TimeInForce.GTC), 1, "another tif"),
        (request("a"), 2, "another attempt"),
        (request("b"), 1, "another client_id"),
    ],
)
def test_client_id_and_attempt_stand_for_one_order(
    database: Database, asked: OrderRequest, attempt: int, message: str
) -> None:
    wanted = stored_intent(database)
    plan_order(database, request("a"), wanted.id, 1, MARKET, BOOK, VENUE, AT)
    with pytest.raises(LedgerConflictError, match=message):
        plan_order(database, asked, wanted.id, attempt, MARKET, BOOK, VENUE, AT)
    assert len(open_orders(database, MARKET, BOOK)) == 1


def test_order_must_fit_its_intent(database: Database) -> None:
    wanted = stored_intent(database)
    for asked, book in (
        (request("a", symbol="MSFT"), BOOK),
        (request("a", side=Side.SELL), BOOK),
        (request("a"), "live"),
    ):
        with pytest.raises(LedgerConflictError, match="does not fit intent"):
            plan_order(database, asked, wanted.id, 1, MARKET, book, VENUE, AT)
    with pytest.raises(UnknownRecordError, match="intent nobody"):
        plan_order(database, request("a"), "nobody", 1, MARKET, BOOK, VENUE, AT)
    set_intent_status(database, wanted.id, IntentStatus.CANCELLED, at=AT)
    with pytest.raises(LedgerConflictError, match="is cancelled"):
        plan_order(database, request("a"), wanted.id, 1, MARKET, BOOK, VENUE, AT)
    assert order(database, "a") is None


def test_life_of_an_order_is_kept_event_by_event(database: Database) -> None:
    asked = planned(database, "a")
    mark_order(database, "a", OrderState.UNKNOWN, later(1), "being sent")
    record_order(database, "a", report(asked, OrderState.ACCEPTED, minutes=2), later(2))
    one, two = fill("f1", "4", "100", "0.1", 3), fill("f2", "6", "101", "0.2", 4)
    record_order(database, "a", report(asked, OrderState.PARTIALLY_FILLED, one, minutes=3), later(3))
    record_order(database, "a", report(asked, OrderState.FILLED, one, two, minutes=4), later(4))
    found = _order(database)
    assert (found.state, found.filled_qty, found.avg_price, found.fee) == (
        OrderState.FILLED,
        Decimal(10),
        Decimal("100.6"),
        Decimal("0.3"),
    )
    assert (found.venue_id, found.submitted_at, found.venue_updated_at) == ("venue-a", AT, later(4))
    events = order_events(database, "a")
    assert [(event.state, event.filled_qty, event.note) for event in events] == [
        (OrderState.PENDING, 0, ""),
        (OrderState.UNKNOWN, 0, "being sent"),
        (OrderState.ACCEPTED, 0, ""),
        (OrderState.PARTIALLY_FILLED, 4, ""),
        (OrderState.FILLED, 10, ""),
    ]
    assert [event.at for event in events] == [later(n) for n in range(5)]
    assert events[-1].venue_status == "filled"


def test_report_again_adds_no_event(database: Database) -> None:
    asked = planned(database, "a")
    for minute in (1, 2, 3):
        record_order(database, "a", report(asked, OrderState.ACCEPTED), later(minute))
    assert _states(database) == [OrderState.PENDING, OrderState.ACCEPTED]


def test_late_reports_never_turn_an_order_back(database: Database) -> None:
    asked = planned(database, "a")
    one, two = fill("f1", "4", "100"), fill("f2", "6", "101")
    record_order(database, "a", report(asked, OrderState.FILLED, one, two, minutes=4), later(4))
    for stale in (
        report(asked, OrderState.ACCEPTED, minutes=1),
        report(asked, OrderState.PARTIALLY_FILLED, one, minutes=2),
        report(asked, OrderState.CANCELED, one, minutes=3),
    ):
        assert record_order(database, "a", stale, later(5)) is OrderState.FILLED
    found = _order(database)
    assert (found.state, found.filled_qty, found.venue_updated_at) == (OrderState.FILLED, Decimal(10), later(4))
    assert len(order_events(database, "a")) == 2


def test_pending_and_unknown_may_follow_each_other(database: Database) -> None:
    """A first request that was refused for coming too soon was not carried out: it is pending again."""
    planned(database, "a")
    assert mark_order(database, "a", OrderState.UNKNOWN, later(1), "being sent") is OrderState.UNKNOWN
    assert mark_order(database, "a", OrderState.PENDING, later(2), "429") is OrderState.PENDING
    assert _order(database).last_error == "429"


def test_mark_never_turns_an_order_back_but_keeps_the_error(database: Database) -> None:
    asked = planned(database, "a")
    record_order(database, "a", report(asked, OrderState.ACCEPTED), later(1))
    assert mark_order(database, "a", OrderState.UNKNOWN, later(2), "no answer") is OrderState.ACCEPTED
    assert mark_order(database, "a", OrderState.ACCEPTED, later(3), "no answer") is OrderState.ACCEPTED
    assert _order(database).last_error == "no answer"
    assert _states(database) == [OrderState.PENDING, OrderState.ACCEPTED, OrderState.ACCEPTED]
    record_order(database, "a", report(asked, OrderState.FILLED, fill("f", "10", "1"), minutes=5), later(5))
    assert mark_order(database, "a", OrderState.REJECTED, later(6), "?") is OrderState.FILLED
    assert _order(database).state is OrderState.FILLED


def test_order_that_was_taken_for_rejected_and_stands_at_the_venue_is_alive(database: Database) -> None:
    asked = planned(database, "a")
    mark_order(database, "a", OrderState.REJECTED, later(1), "refused")
    assert open_orders(database, MARKET, BOOK) == ()
    assert record_order(database, "a", report(asked, OrderState.ACCEPTED), later(2)) is OrderState.ACCEPTED
    assert [one.client_id for one in open_orders(database, MARKET, BOOK)] == ["a"]


def test_report_about_something_else_is_refused(database: Database) -> None:
    asked = planned(database, "a")
    record_order(database, "a", report(asked, OrderState.ACCEPTED), later(1))
    for changes, message in (
        ({"symbol": "MSFT"}, "symbol AAPL"),
        ({"side": Side.SELL}, "side buy"),
        ({"venue_id": "other"}, "venue id venue-a"),
    ):
        with pytest.raises(LedgerConflictError, match=message):
            record_order(database, "a", replace(report(asked, OrderState.FILLED), **changes), later(2))
    with pytest.raises(UnknownRecordError, match="order nobody is not in the ledger"):
        record_order(database, "nobody", report(asked, OrderState.FILLED), later(2))
    with pytest.raises(UnknownRecordError, match="order nobody is not in the ledger"):
        mark_order(database, "nobody", OrderState.REJECTED, later(2), "")
    assert _order(database).state is OrderState.ACCEPTED


def test_single_fill_makes_an_open_order_partially_filled(database: Database) -> None:
    planned(database, "a")
    assert apply_fill(database, "a", fill("f1", "4", "100"), at=later(1))
    assert not apply_fill(database, "a", fill("f1", "4", "100"), at=later(2))
    assert _states(database) == [OrderState.PENDING, OrderState.PARTIALLY_FILLED]
    assert [one.fill_id for one in fills_of(database, "a")] == ["f1"]
    with pytest.raises(UnknownRecordError, match="nobody"):
        apply_fill(database, "nobody", fill("f1", "4", "100"), at=later(1))


def test_orders_of_a_span_and_open_ones_are_listed_oldest_first(database: Database) -> None:
    for number, client_id in enumerate(("c", "a", "b")):
        planned(database, client_id, at=later(number))
    planned(database, "x", book="live")
    mark_order(database, "a", OrderState.REJECTED, later(5), "no")
    assert [one.client_id for one in open_orders(database, MARKET, BOOK)] == ["c", "b"]
    assert [one.client_id for one in orders_between(database, MARKET, BOOK, AT, later(2))] == ["c", "a"]
