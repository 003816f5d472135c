"""One decision, one order: the tick repeated for one bar, and two ticks at the same time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from datetime import date, timedelta

import pytest

from quant_pipeline.steps.desk import Desk
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, World, closes, opened_desk, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY = date(2026, 3, 2), date(2026, 3, 3)
MINUTES = timedelta(minutes=1)
PATIENCE = 120.0


def _stocks(build: Build) -> World:
    world = build(US, {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}, MONDAY, TUESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": BUY})
    return world


def _coins(build: Build) -> World:
    world = build(KRW, {"KRW-AAA": {MONDAY: [(0, 1000.0)]}}, MONDAY, TUESDAY, base_interval="1h")
    world.say(MONDAY, {"KRW-AAA": BUY}, bar=opens(KRW, MONDAY))
    return world


def test_the_tick_repeated_for_one_bar_decides_and_sends_once(build: Build) -> None:
    world = _stocks(build)
    for _ in range(3):
        world.tick(closes(US, MONDAY) + 10 * MINUTES)
    decided = world.decisions(MONDAY)
    for _ in range(3):
        world.tick(opens(US, TUESDAY))
    for minutes in (1, 2, 30):
        world.tick(opens(US, TUESDAY) + minutes * MINUTES)
    assert world.decisions(MONDAY) == decided
    assert sorted(world.posts()) == sorted(f"{d.id}-en-1" for d in decided)
    assert len(world.admin.orders(US)) == 2
    world.assert_ledger_equals_exchange()


def test_the_crypto_tick_repeated_within_the_hour_sends_once(build: Build) -> None:
    world = _coins(build)
    for minutes in (60, 60, 65, 70, 115):
        world.tick(opens(KRW, MONDAY) + minutes * MINUTES)
    assert len(world.posts()) == 1
    world.assert_ledger_equals_exchange()


def test_the_second_tick_of_a_bar_keeps_the_first_decision_even_when_the_opinion_has_changed(build: Build) -> None:
    world = _stocks(build)
    at = closes(US, MONDAY) + 10 * MINUTES
    world.tick(at)
    first = world.decisions(MONDAY)
    world.say(MONDAY, {"AAA": HOLD, "BBB": SELL})
    world.tick(at + 10 * MINUTES)
    assert world.decisions(MONDAY) == first
    assert world.intents().keys() == {"AAA-entry", "BBB-entry"}


def _at_once(world: World, jobs: list[Callable[[Desk], object]]) -> None:
    """Run the jobs in threads that start together, each with a desk of its own, like processes have."""
    gate = threading.Barrier(len(jobs))
    failures: list[BaseException] = []
    with ExitStack() as stack:
        desks = [stack.enter_context(opened_desk(world.desk.settings, world.desk.db)) for _ in jobs]

        def work(job: Callable[[Desk], object], desk: Desk) -> None:
            try:
                gate.wait(PATIENCE)
                job(desk)
            except BaseException as error:  # noqa: BLE001 - raised in the test's thread
                failures.append(error)

        threads = [threading.Thread(target=work, args=pair) for pair in zip(jobs, desks, strict=True)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert not any(thread.is_alive() for thread in threads)
    if failures:
        raise failures[0]


@pytest.mark.parametrize("market", [US, KRW])
def test_two_ticks_at_once_decide_and_send_once(build: Build, market: str) -> None:
    world = _stocks(build) if market == US else _coins(build)
    times = (
        (closes(US, MONDAY) + 10 * MINUTES, opens(US, TUESDAY), opens(US, TUESDAY) + 10 * MINUTES)
        if market == US
        else (opens(KRW, MONDAY) + 60 * MINUTES, opens(KRW, MONDAY) + 65 * MINUTES)
    )
    for at in times:
        world.admin.set_clock(at)
        _at_once(world, [lambda desk, at=at: world.tick(at, desk=desk)] * 3)
    wanted = {f"{one.decision_id}-en-1" for one in world.intents().values()}
    assert len(world.posts()) == len(set(world.posts()))
    assert set(world.posts()) == wanted
    assert len(world.admin.orders(market)) == len(wanted) == len(world.market.symbols)
    world.assert_ledger_equals_exchange()
