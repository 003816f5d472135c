"""When a decision trades: one decision followed from the close of its session to its order, with a clock moved by hand."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

from quant_pipeline.core.values import OrderState
from quant_pipeline.storage.control import ControlState, set_control_state
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import BUY, HOLD, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, FRIDAY, NEXT_MONDAY = (date(2026, 3, day) for day in (2, 3, 6, 9))
WEDNESDAY_BEFORE, HALF_DAY, AFTER = date(2026, 11, 25), date(2026, 11, 27), date(2026, 11, 30)
MINUTES = timedelta(minutes=1)


def _world(build: Build, first: date, last: date, **changes: object) -> World:
    script = {"AAA": {first: [(0, 100.0)]}, "BBB": {first: [(0, 50.0)]}}
    world = build(US, script, first, last, **changes)
    world.say(first, {"AAA": BUY, "BBB": HOLD})
    return world


def test_a_decision_is_made_at_the_close_and_sent_by_the_first_tick_of_the_next_session(build: Build) -> None:
    world = _world(build, MONDAY, TUESDAY)
    world.tick(opens(US, MONDAY) + 60 * MINUTES)
    assert (world.decided(MONDAY), world.intents(), world.posts()) == ({}, {}, [])
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    assert world.decided(MONDAY) == {"AAA": "buy_signal", "BBB": "hold_vote"}
    entry = world.intents()["AAA-entry"]
    assert (entry.status, entry.qty) == (IntentStatus.OPEN, Decimal(100))
    assert (entry.not_before, entry.expires_at) == (opens(US, TUESDAY), opens(US, TUESDAY) + 390 * MINUTES)
    world.tick(closes(US, MONDAY) + 300 * MINUTES)
    world.tick(opens(US, TUESDAY) - MINUTES)
    assert world.posts() == []
    ticked = world.tick(opens(US, TUESDAY))
    assert ticked.orders.numbers == {"sent_accepted": 1}
    assert world.posts() == [f"{entry.decision_id}-en-1"]
    assert world.intents()["AAA-entry"].status is IntentStatus.DONE
    world.tick(opens(US, TUESDAY) + 10 * MINUTES)
    assert len(world.posts()) == 1
    assert world.held() == {"AAA": Decimal(100)}
    world.assert_ledger_equals_exchange()


def test_what_is_decided_before_a_half_day_trades_on_it_and_its_own_close_trades_on_monday(build: Build) -> None:
    world = _world(build, WEDNESDAY_BEFORE, AFTER)
    world.tick(closes(US, WEDNESDAY_BEFORE) + 10 * MINUTES)
    entry = world.intents()["AAA-entry"]
    assert entry.not_before == datetime(2026, 11, 27, 14, 30, tzinfo=UTC)
    world.tick(datetime(2026, 11, 26, 16, 0, tzinfo=UTC))  # Thanksgiving
    assert world.posts() == []
    world.tick(opens(US, HALF_DAY))
    assert world.posts() == [f"{entry.decision_id}-en-1"]
    world.say(HALF_DAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(datetime(2026, 11, 27, 17, 50, tzinfo=UTC))
    assert world.decided(HALF_DAY) == {}
    world.tick(datetime(2026, 11, 27, 18, 10, tzinfo=UTC))
    assert world.decided(HALF_DAY) == {"AAA": "hold_vote", "BBB": "buy_signal"}
    assert {d.bar_close for d in world.decisions(HALF_DAY)} == {datetime(2026, 11, 27, 18, tzinfo=UTC)}
    second = world.intents()["BBB-entry"]
    assert second.not_before == datetime(2026, 11, 30, 14, 30, tzinfo=UTC)
    assert len(world.posts()) == 1
    world.tick(opens(US, AFTER))
    assert world.posts()[1:] == [f"{second.decision_id}-en-1"]
    world.assert_ledger_equals_exchange()


def test_an_intent_that_was_held_back_over_a_half_day_is_not_sent_after_its_early_close(build: Build) -> None:
    world = _world(build, WEDNESDAY_BEFORE, AFTER)
    world.tick(closes(US, WEDNESDAY_BEFORE) + 10 * MINUTES)
    db = world.desk.db
    set_control_state(db, US, ControlState.PAUSED, actor="test", note="", at=opens(US, HALF_DAY))
    world.tick(opens(US, HALF_DAY))
    set_control_state(db, US, ControlState.RUNNING, actor="test", note="", at=closes(US, HALF_DAY))
    world.tick(closes(US, HALF_DAY))
    assert world.intents()["AAA-entry"].status is IntentStatus.OPEN
    world.tick(closes(US, HALF_DAY) + 10 * MINUTES)
    world.tick(opens(US, AFTER))
    assert world.intents()["AAA-entry"].status is IntentStatus.EXPIRED
    assert world.posts() == []


def test_a_friday_s_decision_trades_on_monday_at_new_york_s_summer_time(build: Build) -> None:
    world = _world(build, FRIDAY, NEXT_MONDAY)
    world.tick(closes(US, FRIDAY) + 10 * MINUTES)
    for at in (datetime(2026, 3, 7, 15, tzinfo=UTC), datetime(2026, 3, 8, 15, tzinfo=UTC)):
        world.tick(at)
    assert world.posts() == []
    assert world.intents()["AAA-entry"].not_before == datetime(2026, 3, 9, 13, 30, tzinfo=UTC)
    world.tick(datetime(2026, 3, 9, 13, 29, tzinfo=UTC))
    assert world.posts() == []
    world.tick(datetime(2026, 3, 9, 13, 30, tzinfo=UTC))
    assert len(world.posts()) == 1
    (order,) = world.orders()
    assert order.state is OrderState.FILLED


def test_an_intent_past_its_expiry_is_never_sent(build: Build) -> None:
    world = _world(build, MONDAY, TUESDAY, orders={"expiry_minutes": 30})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY) + 30 * MINUTES)
    assert world.intents()["AAA-entry"].status is IntentStatus.EXPIRED
    world.tick(opens(US, TUESDAY) + 60 * MINUTES)
    assert (world.posts(), world.orders()) == ([], ())


def test_a_bar_that_closed_longer_ago_than_intents_live_is_not_decided_for_the_broker(build: Build) -> None:
    script = {"KRW-AAA": {date(2026, 3, 1): [(0, 1000.0)]}}
    world = build(
        "krw_crypto", script, date(2026, 3, 1), date(2026, 3, 2), base_interval="1h", orders={"expiry_minutes": 30}
    )
    world.say(date(2026, 3, 1), {"KRW-AAA": BUY}, bar=datetime(2026, 3, 1, 9, tzinfo=UTC))
    world.tick(datetime(2026, 3, 1, 10, 30, tzinfo=UTC))
    assert (world.decided(date(2026, 3, 1)), world.intents(), world.posts()) == ({}, {}, [])


def test_the_last_hour_of_a_crypto_day_is_decided_in_its_own_session_and_sent_at_once(build: Build) -> None:
    first, second = date(2026, 3, 1), date(2026, 3, 2)
    world = build("krw_crypto", {"KRW-AAA": {first: [(0, 1000.0)]}}, first, second, base_interval="1h")
    last_bar = datetime(2026, 3, 1, 23, tzinfo=UTC)
    world.say(first, {"KRW-AAA": BUY}, bar=last_bar)
    world.tick(datetime(2026, 3, 1, 23, 59, 30, tzinfo=UTC))
    assert {d.bar_ts for d in world.decisions(first)} == {datetime(2026, 3, 1, 22, tzinfo=UTC)}
    world.tick(datetime(2026, 3, 2, 0, 0, 30, tzinfo=UTC))
    (made,) = [d for d in world.decisions(first) if d.bar_ts == last_bar]
    assert (made.session, made.reason) == (first, "buy_signal")
    entry = world.intents()["KRW-AAA-entry"]
    assert (entry.notional, entry.qty) == (Decimal(10_000_000), None)
    assert (entry.not_before, entry.expires_at) == (
        datetime(2026, 3, 2, tzinfo=UTC),
        datetime(2026, 3, 2, 1, tzinfo=UTC),
    )
    assert world.posts() == [f"{entry.decision_id}-en-1"]
    world.tick(datetime(2026, 3, 2, 0, 5, 30, tzinfo=UTC))
    assert len(world.posts()) == 1
    assert world.decisions(second) == ()
    world.assert_ledger_equals_exchange()
