"""The broker's book at each tick: compared with the venue, marked, and paused when the two differ."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderRequest, Origin, Side
from quant_pipeline.steps import book
from quant_pipeline.steps.desk import Venue
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.cash import record_cash
from quant_pipeline.storage.control import ControlState, control, control_state, set_control_state
from quant_pipeline.storage.equity import equity_curve
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import Steps
from quant_pipeline_tests.steps.venue_fakes import MeddledBroker
from quant_pipeline_tests.steps.world import BUY, HOLD, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
OPEN = opens(US, TUESDAY)
MINUTES = timedelta(minutes=1)


def _world(build: Build, aaa: Steps = ()) -> World:
    """A world that buys 100 AAA at Tuesday's open."""
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: aaa}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, WEDNESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    return world


def _by_hand(world: World, symbol: str, qty: int) -> None:
    """An order at the exchange that the ledger knows nothing of."""
    world.desk.venue(world.market).broker.submit(OrderRequest(f"hand-{symbol}", symbol, Side.BUY, qty=Decimal(qty)))


def test_a_book_that_agrees_is_marked_and_goes_on(build: Build) -> None:
    world = _world(build, [(0, 100.0), (30, 102.0)])
    world.tick(OPEN)
    ticked = world.tick(OPEN + 30 * MINUTES)
    found = ticked.book.reconciliation
    assert found is not None
    assert (found.agrees, found.sentence()) == (True, "ledger and venue agree")
    numbers = ticked.book.result.numbers
    assert (numbers["equity"], numbers["cash"], numbers["positions"]) == (100_200.0, 90_000.0, 1)
    assert numbers["exposure"] == pytest.approx(10_200 / 100_200)
    assert numbers["day_return"] == pytest.approx(0.002)
    curve = equity_curve(world.desk.db, US, world.book, OPEN, OPEN + timedelta(hours=1))
    assert curve["equity"].tolist() == [100_000.0, 100_200.0]
    assert control_state(world.desk.db, US) is ControlState.RUNNING


def test_an_order_behind_the_ledger_s_back_pauses_entries_and_says_what_differs(build: Build) -> None:
    world = _world(build)
    world.admin.set_clock(OPEN)
    _by_hand(world, "BBB", 7)
    ticked = world.tick(OPEN + MINUTES)
    assert ticked.book.reconciliation is not None
    assert not ticked.book.reconciliation.agrees
    assert ticked.book.result.numbers["differences"] == 1
    turned = control(world.desk.db, US)
    assert turned is not None
    assert (turned.state, turned.actor) == (ControlState.PAUSED, "reconciliation")
    assert turned.note.startswith("BBB: ledger -7 against the venue")
    world.say(TUESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.decided(TUESDAY)["BBB"] == "paused"


@pytest.mark.parametrize(("missing", "state"), [(99, ControlState.RUNNING), (101, ControlState.PAUSED)])
def test_cash_may_differ_by_a_thousandth_of_equity(build: Build, missing: int, state: ControlState) -> None:
    world = _world(build)
    db = world.desk.db
    # A charge that the venue has not made yet, or never will.
    record_cash(db, US, world.book, OPEN - MINUTES, Decimal(-missing), "fee", "interest")
    ticked = world.tick(OPEN)
    assert ticked.book.reconciliation is not None
    assert ticked.book.reconciliation.cash == -missing
    assert control_state(db, US) is state


def test_a_stricter_switch_is_not_loosened_by_a_difference(build: Build) -> None:
    world = _world(build)
    world.admin.set_clock(OPEN)
    _by_hand(world, "BBB", 7)
    set_control_state(world.desk.db, US, ControlState.HALTED, actor="person", note="", at=OPEN)
    world.tick(OPEN + MINUTES)
    turned = control(world.desk.db, US)
    assert turned is not None
    assert (turned.state, turned.actor) == (ControlState.HALTED, "person")


def test_an_order_that_fills_while_the_books_are_compared_is_no_difference(build: Build) -> None:
    world = _world(build)
    # Just after a minute began: the order is filled by the next one.
    world.tick(OPEN + timedelta(seconds=10))
    assert world.held() == {}
    venue = world.desk.venue(world.market)
    broker = MeddledBroker(venue.broker, before_positions=lambda: world.admin.set_clock(OPEN + 2 * MINUTES) and None)
    world.desk._venues[US] = Venue(venue.data, broker)
    at = OPEN + timedelta(seconds=20)
    found = book.run(world.desk, world.market, [TUESDAY], RunContext(at, "race", Origin.LIVE, tick=True))
    assert found.reconciliation is not None
    assert found.reconciliation.agrees
    assert control_state(world.desk.db, US) is ControlState.RUNNING
    assert world.held() == {"AAA": Decimal(100)}


def test_a_past_session_shows_its_rows_and_asks_the_venue_nothing(build: Build) -> None:
    world = _world(build)
    world.tick(OPEN)
    at = closes(US, TUESDAY) + 10 * MINUTES
    world.tick(at)
    before = len(world.admin.requests())
    for tick in (False, True):
        context = RunContext(opens(US, WEDNESDAY), "backfill", Origin.BACKFILL, tick=tick)
        found = book.run(world.desk, world.market, [MONDAY, TUESDAY], context)
        assert found.reconciliation is None
        assert [outcome.rows for outcome in found.result.outcomes] == [0, 1]
        assert found.result.outcomes[1].numbers == {"fills": 1, "fees": 0.0, "equity_end": 100_000.0}
    assert len(world.admin.requests()) == before
