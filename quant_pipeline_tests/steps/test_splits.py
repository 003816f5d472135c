"""A split overnight, through the real chain: not a crash, not a stop, not a restatement; and one nobody told of."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

import pytest

from quant_pipeline.core.trading.state import state_from_bytes
from quant_pipeline.core.values import Book
from quant_pipeline.steps.account import marked
from quant_pipeline.storage.control import ControlState, control_state
from quant_pipeline.storage.corporate_actions import read_actions
from quant_pipeline.storage.decisions import Decision
from quant_pipeline.storage.equity import equity_curve
from quant_pipeline.storage.shadow import get_shadow_state
from quant_pipeline.storage.splits import position_splits
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import Steps
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, World, closes, opens

US = "us_equity"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))
OPEN = opens(US, WEDNESDAY)
MINUTES = timedelta(minutes=1)
NEVER = date(2100, 1, 1)


def _holding(build: Build, wednesday: Steps, *, thursday: Steps = (), **changes: Any) -> World:
    """A world that holds 25 AAA bought for 400.00 at Tuesday's open, after Tuesday's close."""
    script = {"AAA": {MONDAY: [(0, 400.0)], WEDNESDAY: wednesday, THURSDAY: thursday}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, THURSDAY, **changes)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.say(TUESDAY, {"AAA": HOLD, "BBB": HOLD})
    world.say(WEDNESDAY, {"AAA": HOLD, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    assert world.held() == {"AAA": Decimal(25)}
    return world


def _shadow_lots(world: World, session: date) -> dict[str, int]:
    stored = get_shadow_state(world.desk.db, US, session)
    assert stored is not None
    return {held.symbol: held.lots for held in state_from_bytes(stored).holdings}


def _shadow(world: World, session: date, symbol: str = "AAA") -> Decision:
    (found,) = [d for d in world.decisions(session, book=Book.SHADOW) if d.symbol == symbol]
    return found


def _cost(world: World) -> Decimal:
    (held,) = [p for p in world.state().positions if p.qty]
    return held.qty * held.avg_price


def test_a_split_overnight_changes_quantity_and_average_and_nothing_else(build: Build) -> None:
    world = _holding(build, [(0, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    evening = world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    cost, cash = _cost(world), world.state().cash
    morning = world.tick(OPEN)
    later = world.tick(OPEN + 10 * MINUTES)

    assert world.held() == {"AAA": Decimal(100)}
    assert (_cost(world), world.state().cash) == (cost, cash)
    assert len(world.posts()) == 1, "only the purchase: no stop, no sale"
    assert set(world.intents()) == {"AAA-entry"}
    equities = [t.book.result.numbers["equity"] for t in (evening, morning, later)]
    assert equities[0] == equities[1] == equities[2]
    for ticked in (morning, later):
        assert ticked.book.reconciliation is not None
        assert ticked.book.reconciliation.agrees, ticked.book.reconciliation.sentence()
        assert ticked.book.result.numbers["day_return"] == 0
        assert not any(name.startswith("held_back") for name in ticked.orders.numbers)
    assert control_state(world.desk.db, US) is ControlState.RUNNING
    world.assert_ledger_equals_exchange()
    (entry,) = position_splits(world.desk.db, US, world.book)
    assert (entry.symbol, entry.ex_date, entry.ratio, entry.qty_before) == ("AAA", WEDNESDAY, 4, 25)
    assert (entry.effective_at, entry.applied_at) == (OPEN, OPEN)


def test_the_shadow_book_goes_through_the_same_split_without_a_sale(build: Build) -> None:
    world = _holding(build, [(0, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    before = _shadow_lots(world, TUESDAY)["AAA"]
    equity = _shadow(world, TUESDAY).equity
    world.tick(OPEN)
    ticked = world.tick(closes(US, WEDNESDAY) + 10 * MINUTES)
    assert _shadow_lots(world, WEDNESDAY) == {"AAA": 4 * before}
    assert _shadow(world, WEDNESDAY).reason == "hold_vote"
    assert _shadow(world, WEDNESDAY).equity == equity
    assert world.decided(WEDNESDAY)["AAA"] == "hold_vote"
    (outcome,) = ticked.decisions.outcomes
    assert outcome.numbers["shadow_fills"] == 0
    assert ticked.bars.jumps == ()


def test_a_split_is_no_restatement_of_bars_and_is_asked_for_once_a_session(build: Build) -> None:
    world = _holding(build, [(0, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    evening = world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    asked = len(world.admin.requests(path="/v1/corporate-actions"))
    morning = world.tick(OPEN)
    later = world.tick(OPEN + 10 * MINUTES)
    assert evening.bars.actions.recorded == 0, "asked in the morning, before the split was announced"
    assert (morning.bars.actions.recorded, later.bars.actions.recorded) == (1, 0)
    assert len(world.admin.requests(path="/v1/corporate-actions")) == asked + 1
    assert morning.bars.collected.changed == later.bars.collected.changed == 0
    (known,) = read_actions(world.desk.db, US, None, MONDAY, THURSDAY)
    assert (known.symbol, known.ratio, known.source, known.known_at) == ("AAA", 4, "alpaca", OPEN)


def test_a_stop_after_a_split_is_judged_in_new_shares(build: Build) -> None:
    world = _holding(build, [(0, 100.0), (30, 95.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    world.tick(OPEN)
    world.tick(OPEN + 30 * MINUTES)
    world.tick(OPEN + 40 * MINUTES)
    stop = world.intents()["AAA-stop_loss"]
    assert (stop.qty, len(world.posts())) == (100, 2)
    assert world.held() == {}
    world.assert_ledger_equals_exchange()


@pytest.mark.parametrize(("wish", "leg", "sent"), [(SELL, "exit", 100), (BUY, "entry", 400)])
def test_what_was_decided_the_evening_before_is_sent_in_new_shares(
    build: Build, wish: Any, leg: str, sent: int
) -> None:
    script = {"AAA": {MONDAY: [(0, 400.0)], WEDNESDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, THURSDAY, capital=400_000.0)
    world.say(MONDAY, {"AAA": BUY if wish is SELL else HOLD, "BBB": HOLD})
    world.say(TUESDAY, {"AAA": wish, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    world.admin.split("AAA", WEDNESDAY, "4")
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    planned = world.intents()[f"AAA-{leg}"].qty
    assert planned is not None
    world.tick(OPEN)
    assert world.intents()[f"AAA-{leg}"].qty == 4 * planned
    assert world.orders()[-1].qty == 4 * planned
    world.tick(OPEN + 10 * MINUTES)
    assert world.held() == ({} if wish is SELL else {"AAA": 4 * planned})
    world.assert_ledger_equals_exchange()


def test_a_price_from_before_the_split_is_worth_its_new_shares(build: Build) -> None:
    nan = float("nan")
    world = _holding(build, [(0, nan), (20, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    evening = world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    morning = world.tick(OPEN + 5 * MINUTES)
    assert world.held() == {"AAA": Decimal(100)}
    assert morning.book.result.numbers["equity"] == evening.book.result.numbers["equity"]


def test_a_split_that_the_venue_made_and_nobody_announced_is_not_traded_and_told(build: Build) -> None:
    world = _holding(build, [(0, 100.0)], thursday=[(0, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4", hidden_until=THURSDAY)
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    ticked = world.tick(OPEN)
    assert ticked.orders.numbers["held_back_bad_data"] == 1
    assert set(world.intents()) == {"AAA-entry"}, "no stop although the price fell by three quarters"
    assert len(world.posts()) == 1
    assert ticked.book.reconciliation is not None
    assert ticked.book.reconciliation.sentence().startswith("AAA: ledger -75 against the venue")
    assert control_state(world.desk.db, US) is ControlState.PAUSED

    evening = world.tick(closes(US, WEDNESDAY) + 10 * MINUTES)
    (jump,) = evening.bars.jumps
    assert (jump.symbol, jump.session, jump.ratio) == ("AAA", WEDNESDAY, 4.0)
    assert evening.bars.result.numbers["unexplained_jumps"] == 1
    assert _shadow(world, WEDNESDAY).reason == world.decided(WEDNESDAY)["AAA"] == "bad_data"
    assert _shadow(world, WEDNESDAY, "BBB").reason == "hold_vote"
    assert len(_shadow_lots(world, WEDNESDAY)) == 1, "the shadow book sold nothing either"

    # Announced a day late: the ledger follows, and nothing is doubtful any more.
    mended = world.tick(opens(US, THURSDAY))
    assert world.held() == {"AAA": Decimal(100)}
    assert mended.bars.jumps == ()
    assert mended.book.reconciliation is not None
    assert mended.book.reconciliation.agrees
    assert len(world.posts()) == 1


def test_an_entry_into_a_share_that_jumped_like_a_split_is_held_back(build: Build) -> None:
    script = {"AAA": {MONDAY: [(0, 400.0)], TUESDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, TUESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": BUY})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    ticked = world.tick(opens(US, TUESDAY))
    assert ticked.orders.numbers["held_back_bad_data"] == 1
    assert [order.symbol for order in world.orders()] == ["BBB"]


def test_a_crash_of_a_share_that_the_venue_did_not_split_fires_the_stop(build: Build) -> None:
    world = _holding(build, [(0, 200.0)])
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    world.tick(OPEN)
    world.tick(OPEN + 10 * MINUTES)
    assert "AAA-stop_loss" in world.intents()
    assert world.held() == {}
    world.assert_ledger_equals_exchange()


def test_a_tick_that_cannot_ask_for_actions_still_judges_stops_and_asks_again(build: Build) -> None:
    from quant_pipeline.steps.desk import Venue
    from quant_pipeline.venues.errors import VenueUnavailable

    class Silent:
        def actions(self, *_: Any) -> tuple[()]:
            msg = "no answer"
            raise VenueUnavailable(msg)

        def close(self) -> None:
            pass

    world = _holding(build, [(0, 380.0)])
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    real = world.desk.venue(world.market)
    world.desk._venues[US] = Venue(real.data, real.broker, Silent())
    ticked = world.tick(OPEN)
    assert ticked.bars.actions.problem == ticked.bars.result.numbers["actions_problem"] == "no answer"
    assert "AAA-stop_loss" in world.intents()
    world.desk._venues[US] = real
    before = len(world.admin.requests(path="/v1/corporate-actions"))
    assert world.tick(OPEN + 10 * MINUTES).bars.actions.problem == ""
    assert len(world.admin.requests(path="/v1/corporate-actions")) == before + 1


def test_the_book_is_worth_the_same_at_every_mark_through_the_split(build: Build) -> None:
    world = _holding(build, [(0, 100.0)])
    world.admin.split("AAA", WEDNESDAY, "4")
    for at in (closes(US, TUESDAY) + 10 * MINUTES, OPEN, OPEN + 10 * MINUTES, closes(US, WEDNESDAY) + 10 * MINUTES):
        world.tick(at)
    curve = equity_curve(world.desk.db, US, world.book, opens(US, TUESDAY), OPEN + timedelta(days=1))
    assert set(curve["equity"]) == {Decimal(100_000)}
    assert marked(world.desk, world.market, {"AAA": Decimal(100)}).equity == 100_000
