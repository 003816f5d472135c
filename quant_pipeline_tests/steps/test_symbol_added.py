"""A symbol added by configuration: the chain collects and computes it alone, and nobody is restated."""

from __future__ import annotations

import itertools
from datetime import date
from types import ModuleType

from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars, decisions, features, indicators, performance, predictions, signals
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Venue
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.restating import renewed, versions
from quant_pipeline_tests.steps.venue_fakes import AgeingData
from quant_pipeline_tests.steps.world import World, closes

US = "us_equity"
SESSIONS = calendar.sessions("nyse", date(2026, 3, 2), date(2026, 3, 13))
STEPS: tuple[ModuleType, ...] = (indicators, signals, features, predictions, decisions, performance)
NO_TRADE = [(0, float("nan"))]
_RUNS = itertools.count()


def _backfill(world: World, market: MarketSettings) -> None:
    """What `quant backfill` runs, bars asked of the exchange over HTTP."""
    context = RunContext(world.admin.clock(), f"run-{next(_RUNS)}")
    bars.run(world.desk, market, SESSIONS, context)
    for step in STEPS:
        step.run(world.desk, market, SESSIONS, context)


def test_only_the_new_symbol_is_asked_for_and_the_versions_of_the_others_stay_the_same_rows(build: Build) -> None:
    first = SESSIONS[0]
    script = {
        "AAA": {day: [(0, 100.0 + n)] for n, day in enumerate(SESSIONS)},
        "BBB": {first: [(0, 50.0)]},
        "NEW": {**dict.fromkeys(SESSIONS[:4], NO_TRADE), SESSIONS[4]: [(0, 20.0)]},
    }
    world = build(US, script, first, SESSIONS[-1], symbols=("AAA", "BBB"), min_history_sessions=2)
    world.admin.set_clock(closes(US, SESSIONS[-1]))
    _backfill(world, world.market)
    before = versions(world.desk)
    decided = {d.id for d in latest_decisions(world.desk.db, US, Book.SHADOW, first, SESSIONS[-1])}
    wider = world.market.model_copy(update={"symbols": ("AAA", "BBB", "NEW")})
    venue = world.desk.venue(world.market)
    data = AgeingData(venue.data)
    world.desk._venues[US] = Venue(data, venue.broker, venue.actions)

    _backfill(world, wider)

    assert {tuple(symbols) for symbols, *_ in data.asked} == {("NEW",)}
    new = renewed(before, versions(world.desk))
    traded = {(day, "NEW") for day in SESSIONS[4:]}
    for step in ("bars", "indicators", "signals", "features", "predictions"):
        assert {key for key in new[step] if key[1] == "NEW"} >= traded, step
        assert {key for key in new[step] if key[1] != "NEW"} == set(), step
    assert restatements(world.desk.db) == ()
    # The book is decided with the new symbol in it; what was decided about the others stays word for word.
    after = {d.id: d.symbol for d in latest_decisions(world.desk.db, US, Book.SHADOW, first, SESSIONS[-1])}
    assert {after[key] for key in set(after) - decided} == {"NEW"}
    assert next_work(world.desk, wider, now=world.admin.clock()) == ()
