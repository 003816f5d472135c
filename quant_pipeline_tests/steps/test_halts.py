"""What holds orders back: the day's loss, the desk's switches, stale quotes, missing cash; and what it must not hold back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from quant_pipeline.core.values import OrderRequest, OrderState, Side
from quant_pipeline.steps.desk import Venue
from quant_pipeline.storage.control import ControlState, set_control_state
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline.storage.risk import risk_events, risk_state
from quant_pipeline.venues.errors import RateLimited
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import Steps
from quant_pipeline_tests.steps.venue_fakes import AgeingData, MeddledBroker
from quant_pipeline_tests.steps.world import BUY, HOLD, Say, World, closes, opened_desk, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))
OPEN = opens(US, TUESDAY)
MINUTES = timedelta(minutes=1)


def _decided(build: Build, *, aaa: Steps = (), bbb: Steps = (), **changes: Any) -> World:
    """A world after Monday's close: AAA shall be bought for 10,000 at Tuesday's open, nothing is held yet."""
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: aaa}, "BBB": {MONDAY: [(0, 50.0)], TUESDAY: bbb}}
    world = build(US, script, MONDAY, THURSDAY, **changes)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    return world


def _data(world: World) -> AgeingData:
    """The market data of the world's desk, from now on with quotes that can be made stale."""
    venue = world.desk.venue(world.market)
    data = AgeingData(venue.data)
    world.desk._venues[world.market.name] = Venue(data, venue.broker)
    return data


def _broker(world: World) -> MeddledBroker:
    venue = world.desk.venue(world.market)
    broker = MeddledBroker(venue.broker)
    world.desk._venues[world.market.name] = Venue(venue.data, broker)
    return broker


def _switch(world: World, state: ControlState) -> None:
    set_control_state(world.desk.db, US, state, actor="test", note="", at=world.admin.clock())


# The day's loss


def test_a_daily_loss_halts_entries_for_a_day_across_the_night_and_a_restart(build: Build, tmp_path: Any) -> None:
    world = _decided(build, aaa=[(0, 100.0), (30, 79.0)], risk={"stop_loss_pct": -0.5})
    world.tick(OPEN)
    world.tick(OPEN + 30 * MINUTES)  # 2.1 % of equity are gone
    state = risk_state(world.desk.db, US, world.book)
    assert state is not None
    assert (state.reason, state.tripped_at) == ("daily_loss", OPEN + 30 * MINUTES)
    assert state.halted_until == OPEN + 30 * MINUTES + timedelta(hours=24)
    world.say(TUESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.decided(TUESDAY)["BBB"] == "halted"
    # Another process, the next day, before the halt is over.
    with opened_desk(world.desk.settings, world.desk.db) as restarted:
        world.tick(opens(US, WEDNESDAY), desk=restarted)
        kept = risk_state(restarted.db, US, world.book)
    assert kept is not None
    assert (kept.session, kept.halted_until) == (WEDNESDAY, state.halted_until)
    assert len(world.posts()) == 1
    world.say(WEDNESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, WEDNESDAY) + 10 * MINUTES)
    assert world.decided(WEDNESDAY)["BBB"] == "buy_signal"
    world.tick(opens(US, THURSDAY))
    assert world.held().keys() == {"AAA", "BBB"}
    kinds = [e.kind for e in risk_events(world.desk.db, US, world.book, opens(US, MONDAY), opens(US, THURSDAY))]
    assert kinds.count("daily_loss_halt") == 1


def test_a_halt_that_trips_before_an_entry_is_sent_ends_the_entry(build: Build) -> None:
    world = _decided(build, bbb=[(0, 50.0), (5, 39.0)], risk={"stop_loss_pct": -0.5, "max_position_size": 0.1})
    world.tick(OPEN)
    world.say(TUESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.intents()["BBB-entry"].status is IntentStatus.OPEN
    # Overnight AAA loses a quarter: 2.5 % of equity at the first tick of Wednesday.
    world.admin.set_clock(opens(US, WEDNESDAY))
    data = _data(world)
    data.prices["AAA"] = Decimal(75)
    ticked = world.tick(opens(US, WEDNESDAY))
    assert ticked.orders.numbers == {"held_back_halted": 1}
    entry = world.intents()["BBB-entry"]
    assert (entry.status, entry.reason) == (IntentStatus.CANCELLED, "halted")
    assert len(world.posts()) == 1


def test_the_day_s_loss_counts_from_the_last_mark_of_the_day_before(build: Build) -> None:
    world = _decided(build, risk={"stop_loss_pct": -0.5, "max_position_size": 0.5})
    world.tick(OPEN)
    data = _data(world)
    data.prices["AAA"] = Decimal(97)
    world.tick(OPEN + 60 * MINUTES)  # -1.5 %
    data.prices["AAA"] = Decimal(95)
    world.tick(opens(US, WEDNESDAY))  # -1.0 % since yesterday, -2.5 % since it was bought
    state = risk_state(world.desk.db, US, world.book)
    assert state is not None
    assert (state.day_start_equity, state.equity, state.halted_until) == (Decimal(98_500), Decimal(97_500), None)


def test_a_stale_quote_neither_trips_a_halt_nor_hides_a_loss(build: Build) -> None:
    world = _decided(build, risk={"take_profit_pct": 0.9, "max_position_size": 0.5})
    world.tick(OPEN)
    data = _data(world)
    data.prices["AAA"] = Decimal(110)
    world.tick(OPEN + 60 * MINUTES)
    world.tick(opens(US, WEDNESDAY))
    data.stale["AAA"] = timedelta(hours=1)
    world.tick(opens(US, WEDNESDAY) + 10 * MINUTES)
    state = risk_state(world.desk.db, US, world.book)
    assert state is not None
    # At cost the book would be worth 5,000 less than yesterday: a loss that never was.
    assert (state.day_start_equity, state.equity, state.halted_until) == (Decimal(105_000), Decimal(105_000), None)


# Switches


@pytest.mark.parametrize("switch", [ControlState.PAUSED, ControlState.DRAINING, ControlState.HALTED])
def test_a_switch_holds_entries_back_and_lets_them_go_when_it_is_turned_on_again(
    build: Build, switch: ControlState
) -> None:
    world = _decided(build)
    _switch(world, switch)
    ticked = world.tick(OPEN)
    assert ticked.orders.numbers == ({} if switch is ControlState.HALTED else {"held_back_paused": 1})
    assert (world.posts(), world.intents()["AAA-entry"].status) == ([], IntentStatus.OPEN)
    _switch(world, ControlState.RUNNING)
    world.tick(OPEN + 10 * MINUTES)
    assert world.held() == {"AAA": Decimal(100)}


def test_nothing_is_bought_by_a_decision_that_is_made_while_the_desk_is_paused(build: Build) -> None:
    world = _decided(build)
    _switch(world, ControlState.PAUSED)
    world.say(TUESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.decided(TUESDAY)["BBB"] == "paused"
    assert world.intents().keys() == {"AAA-entry"}


@pytest.mark.parametrize("switch", [ControlState.PAUSED, ControlState.HALTED])
def test_an_entry_that_was_refused_for_its_rate_is_not_repeated_while_the_desk_stands(
    build: Build, switch: ControlState
) -> None:
    world = _decided(build)
    broker = _broker(world)

    def too_fast(_: OrderRequest) -> None:
        raise RateLimited(1.0)

    broker.before_submit = too_fast
    world.tick(OPEN)
    (order,) = world.orders()
    assert order.state is OrderState.PENDING
    broker.before_submit = lambda _: None
    _switch(world, switch)
    world.tick(OPEN + 10 * MINUTES)
    assert world.posts() == []
    _switch(world, ControlState.RUNNING)
    world.tick(OPEN + 20 * MINUTES)
    assert world.posts() == [order.client_id]
    world.tick(OPEN + 30 * MINUTES)
    assert world.held() == {"AAA": Decimal(100)}


def test_an_entry_that_was_refused_for_its_rate_is_not_repeated_after_the_close(build: Build) -> None:
    world = _decided(build, orders={"expiry_minutes": 24 * 60})
    broker = _broker(world)

    def too_fast(_: OrderRequest) -> None:
        raise RateLimited(1.0)

    broker.before_submit = too_fast
    world.tick(closes(US, TUESDAY) - MINUTES)
    broker.before_submit = lambda _: None
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.posts() == []
    world.tick(opens(US, WEDNESDAY) - 10 * MINUTES)
    assert world.posts() == []
    world.tick(opens(US, WEDNESDAY) - 5 * MINUTES)
    (order,) = world.orders()
    assert order.state is OrderState.PENDING


# Quotes and cash


def test_a_stale_quote_holds_an_entry_back_until_there_is_a_fresh_one(build: Build) -> None:
    world = _decided(build)
    data = _data(world)
    data.stale["AAA"] = timedelta(seconds=301)
    ticked = world.tick(OPEN)
    assert ticked.orders.numbers == {"held_back_stale_quote": 1}
    assert (world.posts(), world.intents()["AAA-entry"].status) == ([], IntentStatus.OPEN)
    data.stale["AAA"] = timedelta(seconds=300)
    world.tick(OPEN + 10 * MINUTES)
    assert world.held() == {"AAA": Decimal(100)}


def test_a_stale_quote_triggers_no_stop(build: Build) -> None:
    world = _decided(build, aaa=[(0, 100.0), (60, 94.0)])
    world.tick(OPEN)
    data = _data(world)
    data.stale["AAA"] = timedelta(hours=1)
    world.tick(OPEN + 60 * MINUTES)
    assert world.held() == {"AAA": Decimal(100)}
    data.stale.clear()
    world.tick(OPEN + 70 * MINUTES)
    assert world.held() == {}


def test_an_entry_that_a_gap_made_too_dear_is_cancelled_before_it_is_sent(build: Build) -> None:
    risk = {"max_position_size": 0.9, "max_portfolio_exposure": 1.0}
    world = _decided(build, aaa=[(0, 112.0)], risk=risk)
    ticked = world.tick(OPEN)
    assert ticked.orders.numbers == {"held_back_insufficient_cash": 1}
    entry = world.intents()["AAA-entry"]
    assert (entry.status, entry.reason) == (IntentStatus.CANCELLED, "insufficient_cash")
    assert world.posts() == []


def test_entries_of_one_tick_are_paid_from_the_same_cash_only_once(build: Build) -> None:
    risk = {"max_position_size": 0.48, "max_portfolio_exposure": 1.0}
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: [(0, 110.0)]}, "BBB": {MONDAY: [(0, 50.0)], TUESDAY: [(0, 55.0)]}}
    world = build(US, script, MONDAY, TUESDAY, risk=risk)
    world.say(MONDAY, {"AAA": BUY, "BBB": Say(1, 0.01)})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    assert world.decided(MONDAY) == {"AAA": "buy_signal", "BBB": "buy_signal"}
    # Each costs 52,800 now; the account has 100,000.
    ticked = world.tick(OPEN)
    assert ticked.orders.numbers == {"sent_accepted": 1, "held_back_insufficient_cash": 1}
    assert len(world.posts()) == 1
    world.tick(OPEN + 10 * MINUTES)
    assert [p.side for p in world.orders()] == [Side.BUY]
    world.assert_ledger_equals_exchange()
