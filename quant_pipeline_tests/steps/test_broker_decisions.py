"""Decisions for the broker's book: made once, marked at prices that are known, mended after a crash."""

from __future__ import annotations

import math
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest

from quant_pipeline.core.values import Origin
from quant_pipeline.markets import calendar
from quant_pipeline.steps import broker_decisions, decisions
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.intents import IntentStatus
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, Say, closes, opens

US, KRW = "us_equity", "krw_crypto"
DAY = date(2026, 3, 1)
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
MIDNIGHT = datetime(2026, 3, 1, tzinfo=UTC)
MINUTES, HOURS = timedelta(minutes=1), timedelta(hours=1)
BAR = ("open", "high", "low", "close", "volume")
PATIENT = {"take_profit_pct": 0.9, "stop_loss_pct": -0.9}


def test_a_holding_that_did_not_trade_in_the_hour_is_marked_at_its_last_price(build: Build) -> None:
    script = {
        "KRW-AAA": {DAY: [(0, 1000.0), (65, 1300.0), (120, math.nan)]},
        "KRW-BBB": {DAY: [(0, 500.0)]},
    }
    world = build(KRW, script, DAY, DAY, base_interval="1h", risk=PATIENT)
    world.say(DAY, {"KRW-AAA": BUY, "KRW-BBB": HOLD}, bar=MIDNIGHT)
    world.tick(MIDNIGHT + HOURS)
    world.tick(MIDNIGHT + HOURS + 6 * MINUTES)
    assert world.held() == {"KRW-AAA": Decimal(10000)}
    world.tick(MIDNIGHT + 2 * HOURS)
    world.say(DAY, {"KRW-BBB": BUY}, bar=MIDNIGHT + 2 * HOURS)
    world.tick(MIDNIGHT + 3 * HOURS)
    (made,) = [d for d in world.decisions(DAY) if d.bar_ts == MIDNIGHT + 2 * HOURS]
    # At cost the book would seem to have lost 3 % of its equity.
    assert (made.symbol, made.reason, made.equity) == ("KRW-BBB", "buy_signal", Decimal(102_995_000))


def test_a_holding_with_a_bad_bar_is_marked_at_the_price_before(build: Build) -> None:
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: [(60, 130.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, WEDNESDAY, risk=PATIENT)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    world.say(TUESDAY, {"AAA": HOLD, "BBB": HOLD})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    at = closes(US, WEDNESDAY) + 10 * MINUTES
    world.admin.set_clock(at)
    world.say(WEDNESDAY, {"AAA": SELL, "BBB": BUY})
    bad, sound = dict.fromkeys(BAR, 130.0) | {"low": -9.0, "close": -9.0}, dict.fromkeys(BAR, 50.0)
    starts = pd.Timestamp(calendar.daily_bar_start("nyse", WEDNESDAY))
    rows = [{"symbol": symbol, "ts": starts, **bar} for symbol, bar in (("AAA", bad), ("BBB", sound))]
    store_bars(world.desk, US, "1d", pd.DataFrame(rows), at=at)
    decisions.run(world.desk, world.market, [WEDNESDAY], RunContext(at, "tick", Origin.LIVE, tick=True))
    assert world.decided(WEDNESDAY) == {"AAA": "bad_data", "BBB": "buy_signal"}
    assert {d.equity for d in world.decisions(WEDNESDAY)} == {Decimal(103_000)}


def test_intents_that_a_crash_left_out_are_made_by_the_next_tick(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    world = build(US, {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}, MONDAY, TUESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": Say(1, 0.01)})
    at = closes(US, MONDAY) + 10 * MINUTES

    class KilledError(Exception):
        """The process ends here."""

    def crash(*_: object) -> None:
        raise KilledError

    with monkeypatch.context() as patched:
        patched.setattr(broker_decisions, "_plan", crash)
        with pytest.raises(KilledError):
            world.tick(at)
    before = world.decisions(MONDAY)
    assert (len(before), world.intents()) == (2, {})
    world.say(MONDAY, {"AAA": HOLD, "BBB": HOLD})
    world.tick(at + 10 * MINUTES)
    assert world.decisions(MONDAY) == before
    assert {name: one.status for name, one in world.intents().items()} == {
        "AAA-entry": IntentStatus.OPEN,
        "BBB-entry": IntentStatus.OPEN,
    }


def test_a_symbol_that_left_the_market_is_still_marked_and_sold_by_its_stop(build: Build) -> None:
    script = {"AAA": {MONDAY: [(0, 100.0)], WEDNESDAY: [(60, 94.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    world = build(US, script, MONDAY, WEDNESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": HOLD})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    world.tick(opens(US, TUESDAY))
    world.market = world.market.model_copy(update={"symbols": ("BBB",)})
    world.say(TUESDAY, {"BBB": BUY})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    assert world.decided(TUESDAY) == {"BBB": "buy_signal"}
    world.tick(opens(US, WEDNESDAY))
    assert world.held() == {"AAA": Decimal(100), "BBB": Decimal(200)}
    world.tick(opens(US, WEDNESDAY) + 60 * MINUTES)
    assert world.held() == {"BBB": Decimal(200)}
    world.assert_ledger_equals_exchange()


def test_a_sale_by_signal_sells_what_is_held_and_nothing_held_is_nothing_to_sell(build: Build) -> None:
    world = build(US, {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}, MONDAY, WEDNESDAY)
    world.say(MONDAY, {"AAA": BUY, "BBB": SELL})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    assert world.decided(MONDAY)["BBB"] == "nothing_to_sell"
    world.tick(opens(US, TUESDAY))
    world.say(TUESDAY, {"AAA": SELL, "BBB": HOLD})
    world.tick(closes(US, TUESDAY) + 10 * MINUTES)
    leaving = world.intents()["AAA-exit"]
    assert (leaving.qty, leaving.not_before) == (Decimal(100), opens(US, WEDNESDAY))
    world.tick(opens(US, WEDNESDAY))
    assert world.held() == {}
    assert world.posts()[-1] == f"{leaving.decision_id}-ex-1"
    world.assert_ledger_equals_exchange()


def test_a_decision_carries_what_it_was_made_from(build: Build) -> None:
    world = build(US, {"AAA": {MONDAY: [(0, 100.0)]}}, MONDAY, TUESDAY)
    world.say(MONDAY, {"AAA": BUY})
    world.tick(closes(US, MONDAY) + 10 * MINUTES)
    (made,) = world.decisions(MONDAY)
    assert made.inputs.keys() == {"bars", "signals", "features", "predictions"}
    assert (made.settings_hash, made.code_hash) == (world.market.trading_hash(), world.desk.core_hash)
    assert (made.platform_hash, made.origin, made.model_version_id) == (world.desk.platform_hash, "live", "scripted")
    assert (made.vote, made.expected_return, made.confidence, made.members_usable) == (1, 0.02, 1.0, 4)
    assert (made.price, made.qty, made.notional, made.equity) == (
        Decimal(100),
        Decimal(100),
        Decimal(10_000),
        Decimal(100_000),
    )
