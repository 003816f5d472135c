"""The order protocol against an exchange that loses things and a process that is killed at every possible point."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.values import OrderState
from quant_pipeline.venues.order_protocol import poll_open, resolve_doubtful, submit_once
from quant_pipeline_tests.venues.order_fakes import (
    AT,
    Boundaries,
    Crash,
    Exchange,
    FakeBroker,
    FakeJournal,
    Fault,
    Sight,
    Store,
    request,
)

_TICKS = 9
_EXPIRY = 5
_INTENT = "intent-1"


@dataclass
class Desk:
    """A desk that wants one buy, ticks, is killed and started again, and counts attempts up after a refusal only."""

    exchange: Exchange
    boundaries: Boundaries = field(default_factory=Boundaries)
    store: Store = field(default_factory=dict)
    crashes: int = 0

    def run(self) -> None:
        """All ticks, then a quiet time in which nothing fails any more."""
        for number in range(_TICKS):
            self._tick(number)
            self.exchange.time_passes()
        self.exchange.faults.clear()
        self.exchange.sights.clear()
        for number in range(_TICKS, _TICKS + 4):
            self._tick(number)
            self.exchange.time_passes()

    def _tick(self, number: int) -> None:
        """One process: everything in it is built anew and may be killed."""
        broker = FakeBroker(self.exchange, self.boundaries, self._must_be_unknown)
        journal = FakeJournal(self.store, self.boundaries)
        try:
            resolve_doubtful(broker, journal, at=AT, expired=lambda _: number >= _EXPIRY)
            if number < _EXPIRY:
                attempt = self._attempt()
                submit_once(broker, journal, request(f"id-{attempt}"), intent_id=_INTENT, attempt=attempt, at=AT)
            poll_open(broker, journal, at=AT)
        except Crash:
            self.crashes += 1

    def _attempt(self) -> int:
        """A new attempt only after every earlier one was definitely refused."""
        refused = sum(row.state is OrderState.REJECTED for row in self.store.values())
        return 1 + (refused if refused == len(self.store) else len(self.store) - 1)

    def _must_be_unknown(self, client_id: str) -> None:
        assert self.store[client_id].state is OrderState.UNKNOWN, "a request left before the journal knew"

    def check(self) -> None:
        """At most one order, and the ledger agrees with the exchange about every id."""
        assert len(self.exchange.orders) <= 1
        assert set(self.exchange.posts) <= set(self.store)
        for client_id, row in self.store.items():
            order = self.exchange.orders.get(client_id)
            if order is None:
                assert row.state in (OrderState.REJECTED, OrderState.EXPIRED, OrderState.UNKNOWN)
                assert row.fills == {}
            else:
                assert row.state is order.state is OrderState.FILLED
                assert tuple(row.fills.values()) == order.fills
                assert row.filled_qty == order.filled_qty


def _crossings(faults: tuple[Fault, ...], sight: Sight, *, funds_before_ids: bool) -> int:
    desk = Desk(Exchange(list(faults), [sight] * 3, funds_before_ids))
    desk.run()
    desk.check()
    return desk.boundaries.crossed


@pytest.mark.parametrize("sight", Sight)
@pytest.mark.parametrize("funds_before_ids", [False, True])
@pytest.mark.parametrize("fault", Fault)
def test_killed_at_every_point_and_again_later_there_is_never_a_second_order(
    fault: Fault, sight: Sight, *, funds_before_ids: bool
) -> None:
    crossings = _crossings((fault,), sight, funds_before_ids=funds_before_ids)
    for first in range(1, crossings + 1):
        for second in (0, 1, 2, 3, 5, 8):
            kill_at = frozenset({first, first + second})
            desk = Desk(Exchange([fault], [sight] * 3, funds_before_ids), Boundaries(kill_at))
            desk.run()
            assert desk.crashes >= 1
            desk.check()


def test_every_pair_of_faults_ends_with_at_most_one_order() -> None:
    for first, second, sight, funds in product(Fault, Fault, Sight, [False, True]):
        _crossings((first, second), sight, funds_before_ids=funds)


@settings(max_examples=400, deadline=None)
@given(
    faults=st.lists(st.sampled_from(list(Fault)), max_size=8),
    sights=st.lists(st.sampled_from(list(Sight)), max_size=12),
    kill_at=st.frozensets(st.integers(1, 60), max_size=6),
    funds_before_ids=st.booleans(),
)
def test_any_mixture_of_faults_and_kills_ends_with_at_most_one_order(
    *, faults: list[Fault], sights: list[Sight], kill_at: frozenset[int], funds_before_ids: bool
) -> None:
    desk = Desk(Exchange(faults, sights, funds_before_ids), Boundaries(kill_at))
    desk.run()
    desk.check()


def test_a_lost_order_is_sent_again_and_filled() -> None:
    desk = Desk(Exchange([Fault.REQUEST_LOST]))
    desk.run()
    assert desk.exchange.posts == ["id-1", "id-1"]
    assert desk.store["id-1"].state is OrderState.FILLED


def test_a_lost_answer_is_looked_up_in_the_same_call_and_not_sent_again() -> None:
    exchange, store = Exchange([Fault.ANSWER_LOST]), {}
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    state = submit_once(broker, FakeJournal(store, Boundaries()), request("a"), intent_id=_INTENT, attempt=1, at=AT)
    assert state is OrderState.ACCEPTED
    assert exchange.posts == ["a"]


def test_a_refusal_of_the_first_request_is_final() -> None:
    exchange, store = Exchange([Fault.REFUSED]), {}
    journal = FakeJournal(store, Boundaries())
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    assert submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT) is OrderState.REJECTED
    assert submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT) is OrderState.REJECTED
    assert exchange.posts == ["a"]
    assert "40310000" in store["a"].errors[-1]


def test_a_refusal_of_the_second_request_says_nothing_about_the_first() -> None:
    # The first request is still on its way; the second is refused because of a passing reason.
    exchange, store = Exchange([Fault.REQUEST_LATE, Fault.REFUSED]), {}
    journal = FakeJournal(store, Boundaries())
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT)
    assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: False) == (OrderState.UNKNOWN,)
    exchange.time_passes()
    assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: True) == (OrderState.PARTIALLY_FILLED,)


@pytest.mark.parametrize("fault", [Fault.RATE_LIMITED, Fault.KEYS_REFUSED])
def test_a_request_not_carried_out_waits_as_pending_and_expires_with_its_intent(fault: Fault) -> None:
    exchange, store = Exchange([fault, fault]), {}
    journal = FakeJournal(store, Boundaries())
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    assert submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT) is OrderState.PENDING
    assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: False) == (OrderState.PENDING,)
    assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: True) == (OrderState.EXPIRED,)
    assert exchange.posts == ["a", "a"]
    assert exchange.orders == {}


def test_an_order_in_doubt_whose_intent_expired_is_watched_and_never_sent_again() -> None:
    exchange, store = Exchange([Fault.REQUEST_LATE]), {}
    journal = FakeJournal(store, Boundaries())
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT)
    for _ in range(3):
        assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: True) == (OrderState.UNKNOWN,)
    assert exchange.posts == ["a"]


def test_an_order_that_the_exchange_has_lost_is_left_as_it_was_with_the_reason() -> None:
    exchange, store = Exchange(), {}
    journal = FakeJournal(store, Boundaries())
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)
    submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT)
    exchange.orders.clear()
    assert poll_open(broker, journal, at=AT) == (OrderState.ACCEPTED,)
    assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: False) == ()
    assert exchange.posts == ["a"]
    assert "does not know" in store["a"].errors[-1]


def test_two_processes_that_plan_the_same_order_at_once_send_it_once() -> None:
    exchange, store = Exchange(), {}
    broker = FakeBroker(exchange, Boundaries(), lambda _: None)

    class Late(FakeJournal):
        """A journal whose reader looks just before the other process writes."""

        def state(self, client_id: str) -> OrderState | None:
            return None

    submit_once(broker, FakeJournal(store, Boundaries()), request("a"), intent_id=_INTENT, attempt=1, at=AT)
    with pytest.raises(ValueError, match="is there already"):
        submit_once(broker, Late(store, Boundaries()), request("a"), intent_id=_INTENT, attempt=1, at=AT)
    assert exchange.posts == ["a"]


def _no_orders() -> Store:
    return {}


@pytest.mark.parametrize("fault", [Fault.REQUEST_LOST, Fault.RATE_LIMITED])
def test_a_doubtful_order_that_may_not_be_sent_now_waits_and_goes_out_later(fault: Fault) -> None:
    exchange, store = Exchange([fault]), _no_orders()
    broker, journal = FakeBroker(exchange, Boundaries(), lambda _: None), FakeJournal(store, Boundaries())
    before = submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT)
    for _ in range(2):
        found = resolve_doubtful(broker, journal, at=AT, expired=lambda _: False, may_send=lambda _: False)
        assert (found, exchange.orders) == ((before,), {})
    resolve_doubtful(broker, journal, at=AT, expired=lambda _: False, may_send=lambda sent: sent.client_id == "a")
    assert set(exchange.orders) == {"a"}


def test_a_doubtful_order_that_may_not_be_sent_is_still_looked_up() -> None:
    exchange, store = Exchange([Fault.ANSWER_LOST], [Sight.BLIND]), _no_orders()
    broker, journal = FakeBroker(exchange, Boundaries(), lambda _: None), FakeJournal(store, Boundaries())
    assert submit_once(broker, journal, request("a"), intent_id=_INTENT, attempt=1, at=AT) is OrderState.UNKNOWN
    (found,) = resolve_doubtful(broker, journal, at=AT, expired=lambda _: False, may_send=lambda _: False)
    assert found is store["a"].state
    assert found is not OrderState.UNKNOWN
