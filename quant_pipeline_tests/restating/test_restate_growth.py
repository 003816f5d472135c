"""What is no restatement although much is computed: a symbol that is added, and older history."""

from __future__ import annotations

from datetime import date

from quant_pipeline.markets import calendar
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.restating.restatable import (
    LATER,
    MONTHS,
    SESSIONS,
    SYMBOLS,
    US,
    market_of,
)
from quant_pipeline_tests.steps.restating import (
    import_bars,
    perform,
    renewed,
    settle,
    trending_walk,
    versions,
)


def test_a_symbol_added_by_configuration_is_computed_alone_and_restates_nobody(restatable: Desk) -> None:
    before = versions(restatable)
    wider = market_of(restatable).model_copy(update={"symbols": (*SYMBOLS, "NEW")})
    days = SESSIONS[-200:]
    import_bars(restatable, US, trending_walk("NEW", days, seed=7), LATER)
    settle(restatable, wider, LATER)
    new = renewed(before, versions(restatable))
    mine = {(day, "NEW") for day in days}
    for step in ("bars", "indicators", "features", "signals"):
        assert {key for key in new[step] if key[1] != "NEW"} == set(), step
        assert new[step] >= mine, step
    assert set(new["model"]) == {(month, "NEW") for month in MONTHS}
    # The shadow book holds all symbols: it is rolled on from the first session that has a bar of the new one.
    assert {day for day, _ in new["decisions"]} == set(days)
    assert restatements(restatable.db) == ()
    assert next_work(restatable, wider, now=LATER) == ()


def test_older_history_of_a_symbol_is_no_restatement(restatable: Desk) -> None:
    market = market_of(restatable).model_copy(update={"history_start": date(2024, 4, 1)})
    older = calendar.sessions("nyse", date(2024, 4, 1), SESSIONS[0])[:-1]
    import_bars(restatable, US, trending_walk("AAA", older, seed=9), LATER)
    before = versions(restatable)
    found = next_work(restatable, market, now=LATER)
    assert ("bars",) in {work.steps for work in found}
    for work in found:
        perform(restatable, market, work, LATER)
    new = renewed(before, versions(restatable))
    assert {key for key in new["bars"] if key[1] == "AAA"} == {(day, "AAA") for day in older}
    # Windows of the first months reach back to what is there now.
    # June 2024 has 19 sessions, one less than the features look back.
    first = {day for day in SESSIONS if day < date(2024, 8, 1)}
    assert {day for day, symbol in new["features"] if symbol == "AAA"} == {*older, *first}
    assert restatements(restatable.db) == ()
