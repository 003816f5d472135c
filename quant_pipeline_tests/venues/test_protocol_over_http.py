"""The order protocol with the real clients over real HTTP, through a proxy that loses requests and answers.

The proxy stands between the client and the simulated exchange; afterwards the exchange's own log is asked how many
orders there are.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal

import pytest
import requests

from quant_pipeline.core.values import OrderState
from quant_pipeline.venues.order_protocol import poll_open, resolve_doubtful, submit_once
from quant_pipeline.venues.protocols import Broker
from quant_pipeline_tests.venues import makers
from quant_pipeline_tests.venues.canned_server import Answer, Misbehaviour, Reaction, Seen, canned, html
from quant_pipeline_tests.venues.conftest import Place
from quant_pipeline_tests.venues.makers import buy
from quant_pipeline_tests.venues.order_fakes import AT, Boundaries, FakeJournal, Store

_LOST_BEFORE: dict[str, Reaction] = {
    "dropped before": Misbehaviour.DROP,
    "hung before": Misbehaviour.HANG,
    "502 before": html(502),
}
_LOST_AFTER: dict[str, Reaction] = {
    "dropped after": Misbehaviour.DROP,
    "hung after": Misbehaviour.HANG,
    "504 after": html(504),
    "broken off after": Misbehaviour.BREAK_OFF,
    "html 200 after": html(200),
}


@contextmanager
def _through_a_proxy(place: Place, faults: list[str]) -> Iterator[tuple[Broker, list[str]]]:
    """A broker whose POSTs meet the given faults one after the other, and the client ids that it sent."""
    sent: list[str] = []
    timeout = makers.QUICK if any(fault.startswith("hung") for fault in faults) else makers.PATIENT
    with requests.Session() as upstream:
        upstream.trust_env = False

        def script(seen: Seen) -> Reaction:
            fault = faults.pop(0) if seen.method == "POST" and faults else ""
            if seen.method == "POST":
                sent.append(seen.body)
            if fault in _LOST_BEFORE:
                return _LOST_BEFORE[fault]
            headers = {name: value for name, value in seen.headers.items() if name not in ("host", "content-length")}
            answer = upstream.request(seen.method, place.url + seen.target, headers=headers, data=seen.body or None)
            if fault in _LOST_AFTER:
                return _LOST_AFTER[fault]
            kept = {name: answer.headers[name] for name in ("Remaining-Req", "Date") if name in answer.headers}
            return Answer(answer.status_code, answer.text, kept)

        with (
            canned(script) as server,
            makers.broker(place.venue, server.url, retries=makers.ONCE, timeout=timeout) as broker,
        ):
            yield broker, sent


@pytest.mark.parametrize("fault", [*_LOST_BEFORE, *_LOST_AFTER])
def test_whatever_is_lost_there_is_one_order_and_the_ledger_agrees(place: Place, fault: str) -> None:
    store: Store = {}
    journal = FakeJournal(store, Boundaries())
    request = buy(place.venue)
    with _through_a_proxy(place, [fault]) as (broker, sent):
        state = submit_once(broker, journal, request, intent_id="i", attempt=1, at=AT)
        assert state is (OrderState.UNKNOWN if fault in _LOST_BEFORE else store["d1-entry-1"].state)
        resolve_doubtful(broker, journal, at=AT, expired=lambda _: False)
        assert len(place.admin.orders(place.market)) == 1
        place.admin.advance(120)
        assert poll_open(broker, journal, at=AT) in ((OrderState.FILLED,), ())
    (record,) = place.admin.orders(place.market)
    row = store["d1-entry-1"]
    assert (row.state, record["client_id"]) == (OrderState.FILLED, "d1-entry-1")
    assert row.filled_qty == Decimal(record["filled_qty"])
    assert sum(fill.qty * fill.price for fill in row.fills.values()) == Decimal(record["filled_funds"])
    assert len(sent) == (2 if fault in _LOST_BEFORE else 1)
    assert len(set(sent)) == 1


def test_a_doubt_that_lasts_past_the_expiry_is_never_sent_again(place: Place) -> None:
    store: Store = {}
    journal = FakeJournal(store, Boundaries())
    with _through_a_proxy(place, ["dropped before"]) as (broker, sent):
        submit_once(broker, journal, buy(place.venue), intent_id="i", attempt=1, at=AT)
        for _ in range(3):
            assert resolve_doubtful(broker, journal, at=AT, expired=lambda _: True) == (OrderState.UNKNOWN,)
    assert len(sent) == 1
    assert place.admin.orders(place.market) == []


def test_an_order_put_in_twice_by_two_desks_exists_once(place: Place) -> None:
    """Two ledgers that know nothing of each other (a restored backup, say) and the same decision."""
    states = []
    for _ in range(2):
        journal = FakeJournal({}, Boundaries())
        with _through_a_proxy(place, []) as (broker, _sent):
            states.append(submit_once(broker, journal, buy(place.venue), intent_id="i", attempt=1, at=AT))
    assert len(place.admin.orders(place.market)) == 1
    assert not any(state in (OrderState.REJECTED, OrderState.UNKNOWN) for state in states)
