"""What is told and kept of a restatement: events, notifications, the models and decisions of before."""

from __future__ import annotations

from datetime import timedelta

from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.registry.names import ENSEMBLE
from quant_pipeline.registry.promotion import retire
from quant_pipeline.steps import finetuning
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.models import list_model_versions, serving_versions
from quant_pipeline.storage.outbox import claim
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.restating.restatable import (
    LATER,
    MID_MONTH,
    NOW,
    SESSIONS,
    US,
    bar_of,
    correct,
    market_of,
)
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.restating import (
    renewed,
    settle,
    versions,
)


def test_nothing_more_is_asked_for_and_people_are_told_once(restatable: Desk) -> None:
    correct(restatable, MID_MONTH)
    settle(restatable, market_of(restatable), LATER)
    assert next_work(restatable, market_of(restatable), now=LATER) == ()
    (told,) = [one for one in claim(restatable.db, LATER) if one.kind == "restatement"]
    assert told.market == US
    assert (told.payload["events"], told.payload["bars"], told.payload["symbols"]) == (1, {"changed": 1}, ["AAA"])
    assert told.payload["first_session"] == MID_MONTH.isoformat()


def test_a_bar_put_right_before_anybody_looked_leaves_no_event(restatable: Desk) -> None:
    before = versions(restatable)
    correct(restatable, MID_MONTH)
    store_bars(restatable, US, "1d", bar_of("AAA", MID_MONTH), at=LATER)
    assert settle(restatable, market_of(restatable), LATER) == []
    assert versions(restatable) == before
    assert restatements(restatable.db) == ()


def test_a_bar_put_right_after_results_were_made_is_a_second_event(restatable: Desk) -> None:
    correct(restatable, MID_MONTH)
    settle(restatable, market_of(restatable), LATER)
    store_bars(restatable, US, "1d", bar_of("AAA", MID_MONTH), at=LATER + timedelta(hours=1))
    settle(restatable, market_of(restatable), LATER + timedelta(hours=1))
    second, first = restatements(restatable.db)
    assert (second.old_hash, second.new_hash) == (first.new_hash, first.old_hash)
    assert second.old_version == first.new_version


def test_what_was_served_then_stays_known_and_the_month_has_a_new_model_version(restatable: Desk) -> None:
    old = {v.id for v in list_model_versions(restatable.db, US, symbol="AAA")}
    correct(restatable, MID_MONTH)
    settle(restatable, market_of(restatable), LATER)
    kept = {v.id: v for v in list_model_versions(restatable.db, US, symbol="AAA")}
    assert old < set(kept)
    assert all(kept[key].created_at == LATER for key in set(kept) - old)
    assert {v.created_at for key, v in kept.items() if key in old} == {NOW}


def test_decisions_of_a_restatement_say_so_and_leave_the_old_rows(restatable: Desk) -> None:
    before = {d.id: d for d in latest_decisions(restatable.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])}
    correct(restatable, SESSIONS[-1])
    settle(restatable, market_of(restatable), LATER)
    after = latest_decisions(restatable.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])
    new = [d for d in after if d.id not in before]
    assert {(d.session, d.origin) for d in new} == {(SESSIONS[-1], "restate")}
    assert {d.symbol for d in new} >= {"AAA"}


def test_the_daily_update_of_a_model_that_is_trained_again_is_made_again_after_it(restatable: Desk) -> None:
    market, last = market_of(restatable), SESSIONS[-1]
    finetuning.run(restatable, market, [last], RunContext(NOW, "update"))
    settle(restatable, market, LATER)
    before = versions(restatable)
    updated = {symbol for step, _, symbol in before if step == "model_update"}
    assert "AAA" in updated
    correct(restatable, SESSIONS[-30])
    works = settle(restatable, market, LATER)
    phases = [work.phase for work in works]
    assert phases.index("models") < phases.index("updates") < phases.index("predictions")
    assert [(w.first, w.last) for w in works if w.phase == "updates"] == [(last, last)]
    assert renewed(before, versions(restatable))["model_update"] == {(last, "AAA")}


def test_an_update_that_a_killed_run_retired_serves_again_when_it_is_made_again(restatable: Desk) -> None:
    """A run that is killed before it records what it made leaves the update that it retired as the recorded one."""
    market, last = market_of(restatable), SESSIONS[-1]
    following = calendar.next_session("nyse", last)

    def updates() -> list[str]:
        found = serving_versions(restatable.db, US, market.symbols, following, following, name=ENSEMBLE)
        return [version.id for version in found if version.metrics.get("base") is not None]

    finetuning.run(restatable, market, [last], RunContext(NOW, "update"))
    before = updates()
    assert before
    for version in list_model_versions(restatable.db, US):
        if version.id in before:
            retire(restatable.db, None, version, at=LATER, note="continues another ensemble")
    assert updates() == []
    finetuning.run(restatable, market, [last], RunContext(LATER, "again"))
    assert updates() == before
