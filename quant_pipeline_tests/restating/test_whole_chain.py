"""A bar of the past is other than it was: the whole chain of runs through Dagster, from the sensor's look to its rest."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from datetime import date

import pytest

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.markets import calendar
from quant_pipeline_tests.restating.conftest import Market
from quant_pipeline_tests.restating.corrected import (
    ABSENT,
    CHANGED,
    DECIDED,
    MONTHS,
    SESSIONS,
    SPLIT,
    SYMBOLS,
    UPDATED,
    US,
    Results,
)
from quant_pipeline_tests.restating.followed import Followed

pytestmark = pytest.mark.timeout(600)

FIRST_SYMBOL = {name: symbols[0] for name, symbols in SYMBOLS.items()}
CASES = ("changed", "changed, and run by hand", "late", "deleted", "split")
BY_SENSOR = tuple(case for case in CASES if "by hand" not in case)
WHOLE = ["sessions", "models", "updates", "predictions", "decisions"]


def pairs(cases: Sequence[str]) -> list[tuple[str, str]]:
    """Each market with the cases that it has: coins have no splits."""
    return [(name, case) for name in SYMBOLS for case in cases if name == US or case != "split"]


def case_of(seen: Market, case: str) -> Followed:
    return seen.followed[case]


def session_of(name: str, case: str) -> date:
    return SPLIT.ex_date if case == "split" else ABSENT[name] if case in ("late", "deleted") else CHANGED[name]


def keys(days: Iterable[date]) -> tuple[str, ...]:
    return tuple(sorted(day.isoformat() for day in days))


def since(name: str, session: date) -> list[date]:
    return [day for day in SESSIONS[name] if day >= session]


def described(name: str, session: date) -> list[date]:
    """The sessions whose features look back to that one: 20 sessions before their month begins."""
    found = []
    for day in since(name, session):
        before = [one for one in SESSIONS[name] if one < day.replace(day=1)]
        if session >= before[-FEATURE_SET.warmup_days]:
            found.append(day)
    return found


def other(before: Results, after: Results, step: str) -> set[tuple[date, str]]:
    """The (session, symbol) whose content is another one."""
    keys_of = before.versions.keys() | after.versions.keys()
    return {
        (session, symbol)
        for name, session, symbol in keys_of
        if name == step
        and (before.versions.get((name, session, symbol), ("",))[0])
        != (after.versions.get((name, session, symbol), ("",))[0])
    }


def opined(found: Followed, name: str) -> set[date]:
    """The sessions whose opinions had other features, votes or another model."""
    days = {day for step in ("features", "signals") for day, _ in other(found.before, found.after, step)}
    served = found.before.models.keys() | found.after.models.keys()
    days |= {key[0] for key in served if found.before.models.get(key) != found.after.models.get(key)}
    return days & set(DECIDED[name])


def learned(name: str, days: Collection[date]) -> list[date]:
    return [month for month in MONTHS[name] if any(day < month for day in days)]


@pytest.mark.parametrize(("seen", "case"), pairs(BY_SENSOR), indirect=["seen"])
def test_each_phase_materializes_exactly_the_partitions_that_depend_on_the_bar(seen: Market, case: str) -> None:
    found, name = case_of(seen, case), seen.name
    session = session_of(name, case)
    window = described(name, session)
    months = keys(learned(name, window))
    # Of a split nobody knew of, all sessions after it were held, and are judged anew; no model of that share serves.
    judged = since(name, session) if case == "split" else [session]
    computed = keys(since(name, session))
    wanted = {
        "sessions": {"bars": keys(judged), "indicators": computed, "signals": computed, "features": keys(window)},
        "models": {"model": months} if name == US else {"hyperparameters": months, "model": months},
        "updates": {"model_update": keys(UPDATED[name])},
        "predictions": {"predictions": keys(opined(found, name))},
        "decisions": {"decisions": computed, "performance": computed},
    }
    if case == "split":
        del wanted["updates"]

    assert [(phase.name, phase.made) for phase in found.chain.phases] == list(wanted.items())


@pytest.mark.parametrize(("seen", "case"), pairs(CASES), indirect=["seen"])
def test_the_desk_then_holds_what_one_holds_that_had_these_bars_from_the_start(seen: Market, case: str) -> None:
    found = case_of(seen, case)

    different = {
        key
        for key in found.after.versions.keys() | found.wanted.versions.keys()
        if found.after.versions.get(key) != found.wanted.versions.get(key)
    }
    assert different == set()
    assert found.after == found.wanted
    # It is about something: models say other things than before, and the shadow book trades on what they say.
    step = "decisions" if case == "split" else "predictions"
    assert found.before.rows[step] != found.after.rows[step]
    assert {row[2] for row in found.after.rows["decisions"]} >= {0, 1}


@pytest.mark.parametrize(("seen", "case"), pairs(CASES), indirect=["seen"])
def test_nothing_is_asked_of_the_venue_and_nothing_is_sent(seen: Market, case: str) -> None:
    found = case_of(seen, case)

    assert found.asked == ()
    assert found.ledger == 0


@pytest.mark.parametrize(("seen", "case"), pairs(CASES), indirect=["seen"])
def test_the_chain_ends_and_nothing_is_stale_then(seen: Market, case: str) -> None:
    assert case_of(seen, case).chain.said == "every stored result was made from the bars as they are now"


@pytest.mark.parametrize(("seen", "case"), pairs(CASES), indirect=["seen"])
def test_the_change_is_one_event_of_its_kind_and_a_split_is_none(seen: Market, case: str) -> None:
    found = case_of(seen, case)
    kind = case.split(",", maxsplit=1)[0]
    mine = [] if case == "split" else [(session_of(seen.name, case), FIRST_SYMBOL[seen.name], kind, 1)]

    assert [(e.session, e.symbol, e.kind, e.bars) for e in found.events] == mine


@pytest.mark.parametrize(("seen", "case"), pairs(BY_SENSOR), indirect=["seen"])
def test_each_phase_is_run_by_the_job_that_queues_with_its_like(seen: Market, case: str) -> None:
    found = case_of(seen, case)
    models = "weekly_retraining" if seen.name == US else "optimize_hyperparameters"
    jobs = {"models": models, "updates": "daily_model_finetuning"}

    for phase in found.chain.phases:
        assert {run.job for run in phase.runs} == {f"{jobs.get(phase.name, 'restate')}_{seen.name}"}, phase.name


def test_a_range_that_a_person_restates_leaves_only_models_and_what_they_say_to_the_sensor(seen: Market) -> None:
    """The job has the steps of sessions: which months learned from them is found by the next look."""
    found = case_of(seen, "changed, and run by hand")
    days = since(seen.name, CHANGED[seen.name])

    assert found.by_hand is not None
    steps = ("bars", "indicators", "signals", "features", "predictions", "decisions", "performance")
    assert dict(found.by_hand.made) == dict.fromkeys(steps, keys(days))
    assert [phase.name for phase in found.chain.phases] == WHOLE[1:]
    first = min(calendar.sessions("nyse" if seen.name == US else "always", MONTHS[seen.name][-1], days[-1]))
    assert found.chain.phases[2].made == {"predictions": keys(since(seen.name, first))}
