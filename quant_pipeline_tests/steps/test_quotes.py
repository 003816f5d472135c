"""Quotes as old as the exchange gives them: no entry on an old one, an exit that was decided goes out, at both venues.

The exchange's clock stands still while the desk's goes on, as when a venue's feed is stuck.
"""

from __future__ import annotations

from datetime import date, datetime, timedelta

import pytest

from quant_pipeline.core.values import Origin
from quant_pipeline.steps import bars, decisions, orders
from quant_pipeline.steps.desk import Venue
from quant_pipeline.steps.tables import RunContext, StepResult
from quant_pipeline.steps.timing import tick_session
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.test_rebalance import _exchange_wanted
from quant_pipeline_tests.steps.venue_fakes import AgeingData
from quant_pipeline_tests.steps.world import BUY, SELL, Say, World, closes, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
LIMIT = timedelta(seconds=300)
SECOND = timedelta(seconds=1)


class Scene:
    """A market in which one symbol's bar is decided and its intent can be sent, again and again."""

    def __init__(self, build: Build, market: str) -> None:
        self.symbol = "AAA" if market == US else "KRW-AAA"
        script = {self.symbol: {MONDAY: [(0, 1000.0)]}}
        changes = {"base_interval": "1h"} if market == KRW else {}
        self.world: World = build(market, script, MONDAY, WEDNESDAY, **changes)
        self.market = market
        self.at = opens(market, MONDAY)

    def decide(self, wish: Say) -> datetime:
        """Decide the next bar; gives the time at which its intent may be sent, where the exchange's clock then stands."""
        world, context = self.world, self._context
        if self.market == US:
            session, decided = self.at.date(), closes(US, self.at.date()) + timedelta(minutes=10)
            world.say(session, {self.symbol: wish})
            self.at = opens(US, session + timedelta(days=1))
        else:
            world.say(self.at.date(), {self.symbol: wish}, bar=self.at)
            decided = self.at = self.at + timedelta(hours=1)
        world.admin.set_clock(decided)
        for step in (bars, decisions):
            step.run(world.desk, world.market, (tick_session(world.market, decided),), context(decided))
        return world.admin.set_clock(self.at)

    def send(self, now: datetime) -> StepResult:
        """The orders step of a tick at `now`, wherever the exchange's clock stands."""
        world = self.world
        return orders.run(world.desk, world.market, (tick_session(world.market, now),), self._context(now))

    @staticmethod
    def _context(now: datetime) -> RunContext:
        return RunContext(now, f"tick-{now.isoformat()}", Origin.LIVE, tick=True)


@pytest.mark.parametrize("market", [US, KRW])
def test_an_entry_waits_while_the_exchange_s_quote_is_older_than_the_limit(build: Build, market: str) -> None:
    scene = Scene(build, market)
    quoted = scene.decide(BUY)
    late = scene.send(quoted + LIMIT + SECOND)
    assert late.numbers == {"held_back_stale_quote": 1}
    (entry,) = scene.world.intents().values()
    assert (scene.world.posts(), entry.status) == ([], IntentStatus.OPEN)
    scene.send(quoted + LIMIT)
    assert len(scene.world.posts()) == 1


@pytest.mark.parametrize("market", [US, KRW])
def test_the_limit_is_the_setting(build: Build, market: str) -> None:
    scene = Scene(build, market)
    quoted = scene.decide(BUY)
    world = scene.world
    short = world.market.orders.model_copy(update={"max_quote_age_seconds": 20})
    world.market = world.market.model_copy(update={"orders": short})
    assert scene.send(quoted + timedelta(seconds=21)).numbers == {"held_back_stale_quote": 1}
    scene.send(quoted + timedelta(seconds=20))
    assert len(world.posts()) == 1


@pytest.mark.parametrize("market", [US, KRW])
def test_an_exit_that_was_decided_goes_out_on_an_old_quote(build: Build, market: str) -> None:
    scene = Scene(build, market)
    quoted = scene.decide(BUY)
    scene.send(quoted)
    # At the market: filled by the next bar.
    scene.world.admin.set_clock(quoted + timedelta(minutes=2))
    scene.send(quoted + timedelta(minutes=2))
    assert scene.world.held().keys() == {scene.symbol}
    quoted = scene.decide(SELL)
    late = scene.send(quoted + 2 * LIMIT)
    assert "held_back_stale_quote" not in late.numbers
    sides = [one["side"] for one in scene.world.admin.orders(market)]
    assert sides == ["buy", "sell"]


def test_a_sale_that_only_makes_room_waits_for_a_fresh_quote(build: Build) -> None:
    world = _exchange_wanted(build)
    venue = world.desk.venue(world.market)
    data = AgeingData(venue.data, stale={"AAA": LIMIT + SECOND})
    world.desk._venues[US] = Venue(data, venue.broker)
    ticked = world.tick(opens(US, WEDNESDAY))
    assert (ticked.orders.numbers, len(world.posts())) == ({"held_back_stale_quote": 1}, 1)
    data.stale.clear()
    world.tick(opens(US, WEDNESDAY) + timedelta(minutes=10))
    assert len(world.posts()) == 2
