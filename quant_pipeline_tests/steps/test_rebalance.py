"""An exchange of holdings: the weaker one is sold first, and what is better bought only after the fill and a re-check."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from quant_pipeline.core.values import OrderRequest, OrderState, OrderType, Side, TimeInForce, VenueOrder
from quant_pipeline.storage.control import ControlState, set_control_state
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline.storage.orders import orders_of_intent
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import Steps
from quant_pipeline_tests.steps.world import BUY, HOLD, Say, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
OPEN = opens(US, WEDNESDAY)
MINUTES = timedelta(minutes=1)
WEAK, STRONG = Say(0, 0.001), Say(1, 0.03)


def _exchange_wanted(build: Build, *, bbb: Steps = (), **changes: Any) -> World:
    """A world that holds AAA and, by Tuesday's close, wants to give it up for BBB: only one position is allowed."""
    script = {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)], WEDNESDAY: bbb}}
    risk = {"max_positions": 1, **changes.pop("risk", {})}
    world = build(US, script, MONDAY, WEDNESDAY, risk=risk, **changes)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    assert world.held() == {"AAA": Decimal(100)}
    world.say(TUESDAY, {"AAA": WEAK, "BBB": STRONG})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    return world


def test_the_weaker_holding_is_decided_to_go_and_the_entry_waits_for_it(build: Build) -> None:
    world = _exchange_wanted(build)
    assert world.decided(TUESDAY) == {"AAA": "rebalance_out", "BBB": "max_positions"}
    made = {d.symbol: d for d in world.decisions(TUESDAY)}
    assert made["AAA"].inputs["pair"] == "BBB"
    out, into = world.intents()["AAA-rebalance_out"], world.intents()["BBB-rebalance_in"]
    assert (out.side, out.qty, out.decision_id) == (Side.SELL, Decimal(100), made["AAA"].id)
    assert (into.side, into.depends_on, into.decision_id) == (Side.BUY, out.id, made["BBB"].id)
    assert len(world.posts()) == 1


def test_the_entry_is_sent_by_the_tick_after_the_sale_was_filled(build: Build) -> None:
    world = _exchange_wanted(build)
    world.tick(OPEN)
    out, into = world.intents()["AAA-rebalance_out"], world.intents()["BBB-rebalance_in"]
    assert world.posts()[1:] == [f"{out.decision_id}-ro-1"]
    assert into.status is IntentStatus.OPEN
    world.tick(OPEN + 10 * MINUTES)
    assert world.posts()[2:] == [f"{into.decision_id}-ri-1"]
    world.tick(OPEN + 20 * MINUTES)
    assert world.held() == {"BBB": Decimal(200)}
    assert len(world.posts()) == 3
    world.assert_ledger_equals_exchange()


def test_the_entry_is_sized_anew_at_the_fresh_price(build: Build) -> None:
    world = _exchange_wanted(build, bbb=[(0, 50.0), (5, 80.0)])
    world.tick(OPEN)
    world.tick(OPEN + 10 * MINUTES)
    (order,) = orders_of_intent(world.desk.db, world.intents()["BBB-rebalance_in"].id)
    assert (order.qty, order.state) == (Decimal(125), OrderState.FILLED)


def test_the_entry_is_checked_again_and_dropped_when_a_limit_forbids_it_by_then(build: Build) -> None:
    world = _exchange_wanted(build)
    world.tick(OPEN)
    world.market = world.market.model_copy(
        update={"risk": world.market.risk.model_copy(update={"max_daily_trades": 1})}
    )
    ticked = world.tick(OPEN + 10 * MINUTES)
    assert ticked.orders.numbers == {"held_back_max_daily_trades": 1}
    into = world.intents()["BBB-rebalance_in"]
    assert (into.status, into.reason) == (IntentStatus.CANCELLED, "max_daily_trades")
    assert (len(world.posts()), world.held()) == (2, {})


def test_the_entry_waits_while_its_sale_stands_unfilled(build: Build) -> None:
    world = _exchange_wanted(build)
    broker = world.desk.venue(world.market).broker
    broker_submit = broker.submit

    def never_filled(request: OrderRequest) -> VenueOrder:
        # Far from the market, so that it stands all day: what a thin market does to a sale.
        far = {"order_type": OrderType.LIMIT, "time_in_force": TimeInForce.DAY, "limit_price": Decimal(500)}
        return broker_submit(replace(request, **far) if request.side is Side.SELL else request)

    broker.submit = never_filled  # type: ignore[method-assign]
    for minutes in (0, 10, 60):
        world.tick(OPEN + minutes * MINUTES)
    assert world.intents()["BBB-rebalance_in"].status is IntentStatus.OPEN
    assert len(world.posts()) == 2
    out = world.intents()["AAA-rebalance_out"]
    broker.cancel(f"{out.decision_id}-ro-1", "AAA")
    world.tick(OPEN + 70 * MINUTES)
    into = world.intents()["BBB-rebalance_in"]
    assert world.intents()["AAA-rebalance_out"].status is IntentStatus.CANCELLED
    assert (into.status, into.reason) == (IntentStatus.CANCELLED, "sale_not_filled")
    assert (len(world.posts()), world.held()) == (2, {"AAA": Decimal(100)})


def test_a_pause_between_sale_and_entry_holds_the_entry_until_it_ends(build: Build) -> None:
    world = _exchange_wanted(build)
    world.tick(OPEN)
    set_control_state(world.desk.db, US, ControlState.PAUSED, actor="test", note="", at=OPEN)
    world.tick(OPEN + 10 * MINUTES)
    assert (len(world.posts()), world.held()) == (2, {})
    set_control_state(world.desk.db, US, ControlState.RUNNING, actor="test", note="", at=OPEN + 11 * MINUTES)
    world.tick(OPEN + 20 * MINUTES)
    assert world.held() == {"BBB": Decimal(200)}


def test_the_entry_does_not_outlive_its_expiry_while_it_waits(build: Build) -> None:
    world = _exchange_wanted(build, orders={"expiry_minutes": 30})
    world.tick(OPEN)
    world.tick(OPEN + 40 * MINUTES)
    assert world.intents()["BBB-rebalance_in"].status is IntentStatus.EXPIRED
    assert (len(world.posts()), world.held()) == (2, {})
