"""Stops and take profits of the broker's book: due at fresh quotes, whatever the desk's switches say, never doubled."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from quant_pipeline.core.values import OrderRequest, OrderType, Origin, Side, TimeInForce
from quant_pipeline.steps.account import marked
from quant_pipeline.steps.exits import plan_exits
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.control import ControlState, set_control_state
from quant_pipeline.storage.decisions import Decision, decision
from quant_pipeline.storage.intents import IntentStatus, Leg, intents_between, set_intent_status
from quant_pipeline.storage.risk import risk_state
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import Steps
from quant_pipeline_tests.steps.world import BUY, HOLD, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
OPEN = opens(US, TUESDAY)
MINUTES = timedelta(minutes=1)


def _holding(build: Build, after: Steps, **changes: Any) -> World:
    """A world that holds 100 AAA bought for 100.00 at Tuesday's open; `after` is what the price does that day."""
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: after}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, WEDNESDAY, **changes)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(OPEN)
    assert world.held() == {"AAA": Decimal(100)}
    return world


def _exits(world: World) -> list[Decision]:
    """The decisions behind all stops and take profits, oldest first."""
    every = intents_between(world.desk.db, US, world.book, OPEN, OPEN + timedelta(days=1))
    made = [decision(world.desk.db, one.decision_id) for one in every if one.leg in (Leg.STOP_LOSS, Leg.TAKE_PROFIT)]
    return [d for d in made if d is not None]


def test_a_stop_loss_is_sold_at_the_first_quote_at_or_below_its_level(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (30, 95.01), (60, 95.0)])
    world.tick(OPEN + 31 * MINUTES)
    assert len(world.posts()) == 1
    world.tick(OPEN + 60 * MINUTES)
    (made,) = _exits(world)
    assert (made.reason, made.action, made.price, made.qty) == ("stop_loss", -1, Decimal(95), Decimal(100))
    assert world.posts()[1:] == [f"{made.id}-sl-1"]
    assert world.held() == {}
    world.tick(OPEN + 70 * MINUTES)
    assert len(world.posts()) == 2
    world.assert_ledger_equals_exchange()


def test_a_take_profit_is_sold_at_the_first_quote_at_or_above_its_level(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (60, 110.0)])
    world.tick(OPEN + 60 * MINUTES)
    (made,) = _exits(world)
    assert (made.reason, made.price) == ("take_profit", Decimal(110))
    assert world.posts()[1:] == [f"{made.id}-tp-1"]
    assert world.held() == {}
    world.assert_ledger_equals_exchange()


@pytest.mark.parametrize("switch", [ControlState.PAUSED, ControlState.DRAINING])
def test_a_stop_is_sold_while_the_desk_is_paused_or_drained(build: Build, switch: ControlState) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0)])
    set_control_state(world.desk.db, US, switch, actor="test", note="", at=OPEN)
    world.tick(OPEN + 60 * MINUTES)
    assert world.held() == {}


def test_a_stop_is_sold_while_the_day_s_loss_halts_entries(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (30, 97.0), (60, 94.0)], risk={"max_daily_loss": -0.002})
    world.tick(OPEN + 30 * MINUTES)
    state = risk_state(world.desk.db, US, world.book)
    assert state is not None
    assert state.halted_until == OPEN + 30 * MINUTES + timedelta(hours=24)
    assert world.held() == {"AAA": Decimal(100)}
    world.tick(OPEN + 60 * MINUTES)
    assert world.held() == {}


def test_nothing_is_sold_while_the_desk_is_halted_by_hand_and_the_stop_follows_when_it_runs_again(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0)])
    set_control_state(world.desk.db, US, ControlState.HALTED, actor="test", note="", at=OPEN)
    world.tick(OPEN + 60 * MINUTES)
    assert (len(world.posts()), _exits(world)) == (1, [])
    set_control_state(world.desk.db, US, ControlState.RUNNING, actor="test", note="", at=OPEN + 61 * MINUTES)
    world.tick(OPEN + 70 * MINUTES)
    assert world.held() == {}


def test_no_stop_is_sold_after_the_close(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (380, 90.0)])
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert (len(world.posts()), world.held()) == (1, {"AAA": Decimal(100)})
    world.tick(opens(US, WEDNESDAY))
    assert world.held() == {}


def test_a_take_profit_of_a_fraction_is_taken_once_and_the_rest_keeps_its_stop(build: Build) -> None:
    after = [(0, 100.0), (30, 110.0), (60, 120.0), (90, 95.0)]
    world = _holding(build, after, risk={"take_profit_fraction": 0.5})
    world.tick(OPEN + 30 * MINUTES)
    assert world.held() == {"AAA": Decimal(50)}
    for minutes in (40, 60, 70):
        world.tick(OPEN + minutes * MINUTES)
    assert (len(world.posts()), world.held()) == (2, {"AAA": Decimal(50)})
    world.tick(OPEN + 90 * MINUTES)
    assert world.held() == {}
    assert [d.reason for d in _exits(world)] == ["take_profit", "stop_loss"]
    world.assert_ledger_equals_exchange()


def test_a_rejected_exit_is_tried_again_under_a_new_id(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0)])
    at = OPEN + 60 * MINUTES
    world.admin.set_clock(at)
    # Somebody has all shares in a standing sale at another price, so that the exchange refuses the stop.
    broker = world.desk.venue(world.market).broker
    shares, far = Decimal(100), Decimal(500)
    blocking = OrderRequest("by-hand", "AAA", Side.SELL, OrderType.LIMIT, TimeInForce.DAY, shares, None, far)
    broker.submit(blocking)
    world.tick(at)
    first = world.posts()[-1]
    assert world.intents()["AAA-stop_loss"].status is IntentStatus.REJECTED
    assert world.held() == {"AAA": Decimal(100)}
    broker.cancel("by-hand", "AAA")
    world.tick(at + 10 * MINUTES)
    second = world.posts()[-1]
    assert [d.version for d in _exits(world)] == [1, 2]
    assert [f"{d.id}-sl-1" for d in _exits(world)] == [first, second]
    assert first != second
    assert world.held() == {}


def test_a_crash_between_the_decision_and_its_intent_is_mended_by_the_next_tick(
    build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0), (70, 93.0)])

    class KilledError(Exception):
        """The process ends here."""

    def crash(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr("quant_pipeline.steps.exits.add_intent", crash)
        with pytest.raises(KilledError):
            world.tick(OPEN + 60 * MINUTES)
    assert (len(world.posts()), _exits(world)) == (1, [])
    world.tick(OPEN + 70 * MINUTES)
    (made,) = _exits(world)
    # The decision is the one that was written before the crash, at the price of then.
    assert (made.decided_at, made.price) == (OPEN + 60 * MINUTES, Decimal(94))
    assert world.posts()[1:] == [f"{made.id}-sl-1"]
    assert world.held() == {}


def test_planning_twice_plans_one_exit(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0)])
    at = OPEN + 60 * MINUTES
    world.admin.set_clock(at)
    context = RunContext(at, "by hand", Origin.LIVE, tick=True)
    prices = {"AAA": Decimal(94)}
    book = marked(world.desk, world.market, prices)
    (planned,) = plan_exits(world.desk, world.market, TUESDAY, book, prices, context)
    # A second process that read the book before the first one wrote.
    (again,) = plan_exits(world.desk, world.market, TUESDAY, book, prices, context)
    assert planned.id == again.id
    book = marked(world.desk, world.market, prices)
    assert plan_exits(world.desk, world.market, TUESDAY, book, prices, context) == ()


def test_an_exit_that_expired_unsent_is_planned_anew(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (60, 94.0)])
    at = OPEN + 60 * MINUTES
    prices = {"AAA": Decimal(94)}
    context = RunContext(at, "by hand", Origin.LIVE, tick=True)
    (planned,) = plan_exits(
        world.desk, world.market, TUESDAY, marked(world.desk, world.market, prices), prices, context
    )
    set_intent_status(world.desk.db, planned.id, IntentStatus.EXPIRED, at=at)
    world.tick(at + MINUTES)
    assert world.held() == {}
    assert [d.version for d in _exits(world)] == [1, 2]


def test_a_remainder_below_the_venue_s_minimum_is_left_alone(build: Build) -> None:
    day = date(2026, 3, 1)
    at = opens("krw_crypto", day)
    # 5,000 of the account's 100 million won, the least that Upbit takes, buy five coins.
    risk = {"max_position_size": 0.00005}
    script = {"KRW-AAA": {day: [(0, 1000.0), (62, 899.0)]}}
    world = build("krw_crypto", script, day, day, base_interval="1h", risk=risk)
    world.say(day, {"KRW-AAA": BUY}, bar=at)
    world.tick(at + 60 * MINUTES)
    world.tick(at + 61 * MINUTES)
    assert world.held() == {"KRW-AAA": Decimal(5)}
    world.tick(at + 63 * MINUTES)
    assert (len(world.posts()), world.held()) == (1, {"KRW-AAA": Decimal(5)})
    assert world.intents().keys() == {"KRW-AAA-entry"}
