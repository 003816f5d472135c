"""Nothing is sent outside a tick of the session in progress, whatever is materialized: the exchange's log says so."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from quant_pipeline.core.values import Origin
from quant_pipeline.steps import (
    bars,
    book,
    decisions,
    features,
    finetuning,
    indicators,
    orders,
    performance,
    predictions,
    signals,
    training,
    tuning,
)
from quant_pipeline.steps.tables import RunContext
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import BUY, HOLD, World, closes, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
MINUTES = timedelta(minutes=1)
SESSION_STEPS = (bars, indicators, signals, features, predictions, decisions, orders, book, performance)
MONTH_STEPS = (tuning, training)
LEDGER = ("intents", "orders", "fills", "positions", "cash_flows", "risk_state", "risk_events", "control_state")


def _waiting(build: Build) -> World:
    """A world an hour into Wednesday: AAA is held and below its stop, the entry of BBB may be sent. No tick came since."""
    script = {
        "AAA": {MONDAY: [(0, 100.0)], WEDNESDAY: [(0, 94.0)]},
        "BBB": {MONDAY: [(0, 50.0)]},
    }
    world = build(US, script, MONDAY, WEDNESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    world.say(TUESDAY, {"AAA": HOLD, "BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    world.admin.set_clock(opens(US, WEDNESDAY) + 60 * MINUTES)
    assert len(world.posts()) == 1
    return world


def _ledger(world: World) -> dict[str, list[object]]:
    """Every row of the ledger."""
    with world.desk.db.begin() as connection:
        return {
            table: [tuple(row) for row in connection.execute(text(f"SELECT * FROM {table} ORDER BY 1, 2"))]
            for table in LEDGER
        }


def _run_all(world: World, sessions: Sequence[date], *, tick: bool) -> None:
    now = world.admin.clock()
    context = RunContext(now, "backfill", Origin.BACKFILL, tick=tick)
    for step in SESSION_STEPS:
        step.run(world.desk, world.market, sessions, context)
    for step in MONTH_STEPS:
        step.run(world.desk, world.market, [date(2026, 3, 1)], context)
    finetuning.run(world.desk, world.market, sessions[:1], context)


@pytest.mark.parametrize("tick", [False, True])
def test_every_step_over_past_sessions_sends_nothing_and_leaves_the_ledger_as_it_is(build: Build, tick: bool) -> None:  # noqa: FBT001
    world = _waiting(build)
    before = _ledger(world)
    for sessions in ([MONDAY], [MONDAY, TUESDAY]):
        _run_all(world, sessions, tick=tick)
    assert len(world.posts()) == 1
    assert _ledger(world) == before
    # The same desk does trade when its tick comes: nothing but the tick was missing.
    world.tick(world.admin.clock())
    assert len(world.posts()) == 3


def test_a_backfill_that_includes_the_session_in_progress_sends_nothing(build: Build) -> None:
    world = _waiting(build)
    before = _ledger(world)
    _run_all(world, [MONDAY, TUESDAY, WEDNESDAY], tick=False)
    assert (len(world.posts()), _ledger(world)) == (1, before)


def test_a_tick_for_a_session_that_is_not_the_clock_s_sends_nothing(build: Build) -> None:
    world = _waiting(build)
    context = RunContext(world.admin.clock(), "by hand", Origin.LIVE, tick=True)
    for sessions in ([TUESDAY], [MONDAY, TUESDAY], [MONDAY]):
        orders.run(world.desk, world.market, sessions, context)
    assert len(world.posts()) == 1


def test_a_crypto_backfill_of_the_day_in_progress_sends_nothing(build: Build) -> None:
    day = date(2026, 3, 1)
    world = build(KRW, {"KRW-AAA": {day: [(0, 1000.0)]}}, day, day, base_interval="1h")
    world.say(day, {"KRW-AAA": BUY}, bar=opens(KRW, day))
    world.admin.set_clock(opens(KRW, day) + 61 * MINUTES)
    _run_all(world, [day], tick=False)
    assert (world.posts(), world.intents(), world.decided(day)) == ([], {}, {})
    world.say(day, {"KRW-AAA": BUY}, bar=opens(KRW, day))
    world.tick(opens(KRW, day) + 62 * MINUTES)
    assert len(world.posts()) == 1


def test_orders_of_a_past_session_are_shown_as_they_are_stored(build: Build) -> None:
    world = _waiting(build)
    context = RunContext(world.admin.clock(), "backfill", Origin.BACKFILL)
    result = orders.run(world.desk, world.market, [MONDAY, TUESDAY], context)
    monday, tuesday = result.outcomes
    assert (monday.rows, tuesday.rows) == (0, 1)
    assert tuesday.numbers == {"orders_filled": 1, "orders_buy": 1}
    assert orders.run(world.desk, world.market, [TUESDAY], context).outcomes == (tuesday,)
