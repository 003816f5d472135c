"""After a bar changed, came late or was withdrawn: exactly what depends on it is made anew, step by step."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import training_sessions
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.restating.restatable import (
    HOLE,
    LATER,
    MID_MONTH,
    MONTHS,
    SESSIONS,
    Change,
    correct,
    deliver,
    market_of,
    withdraw,
)
from quant_pipeline_tests.steps.restating import (
    contents,
    perform,
    renewed,
    settle,
    versions,
)


def _in_window(session: date, warmup: int, *, has_hole: bool) -> set[date]:
    """The sessions whose window, begun `warmup` bars before their month, holds the bar of `session`; counted out."""
    own = [s for s in SESSIONS if s != HOLE or not has_hole]
    found = set()
    for one in (s for s in own if s >= session):
        first = next(i for i, s in enumerate(own) if s >= one.replace(day=1))
        found |= {one} if session >= own[max(0, first - warmup)] else set()
    return found


OLD = SESSIONS[8]
CASES = [
    pytest.param(correct, MID_MONTH, "changed", id="a bar changed in the middle of a month"),
    pytest.param(deliver, HOLE, "late", id="a bar came late"),
    pytest.param(withdraw, MID_MONTH, "deleted", id="a bar was withdrawn"),
    pytest.param(correct, OLD, "changed", id="a bar older than every model's window changed"),
]


@pytest.mark.parametrize(("change", "session", "kind"), CASES)
def test_exactly_what_depends_on_the_bar_is_made_anew(
    restatable: Desk, change: Change, session: date, kind: str
) -> None:
    market, before = market_of(restatable), versions(restatable)
    change(restatable, session)
    works = settle(restatable, market, LATER)
    after = versions(restatable)
    new = renewed(before, after)

    assert new["bars"] == {(session, "AAA")}
    # Windows are counted on the sessions with bars, before and after: what is in either is touched.
    has_hole = session != HOLE
    held = {
        warmup: _in_window(session, warmup, has_hole=has_hole) for warmup in (max_warmup(), FEATURE_SET.warmup_days)
    }
    held[max_warmup()] |= _in_window(session, max_warmup(), has_hole=has_hole)
    assert new["indicators"] == {(day, "AAA") for day in held[max_warmup()]}
    assert new["features"] == {(day, "AAA") for day in held[FEATURE_SET.warmup_days]}

    old_content, new_content = contents(restatable, before), contents(restatable, after)

    def other(step: str) -> set[tuple[date, str]]:
        return {(day, s) for (name, day, s), value in new_content.items() if name == step
                and old_content.get((name, day, s)) != value}  # fmt: skip

    assert new.get("signals", set()) == other("indicators")
    learned = {month for month in MONTHS if held[FEATURE_SET.warmup_days] & set(training_sessions(market, month))}
    assert new.get("model", set()) == {(month, "AAA") for month in learned}
    # What was said, by the symbol's own inputs; bars that are bought only now make others be scored.
    own = other("features") | other("signals")
    served = {(day, "AAA") for day in SESSIONS if day.replace(day=1) in {month for month, _ in other("model")}}
    own |= {key for key in served if key in new.get("predictions", set())}
    assert {key for key in new.get("predictions", set()) if key[1] == "AAA"} == own
    decided = other("bars") | other("indicators") | other("signals") | other("features") | other("predictions")
    assert {key for key in new["decisions"] if key[1] == "AAA"} >= decided
    # The book is one: what others decide afterwards may be another amount, or the same row as before.
    assert new["decisions"] - decided == other("decisions") - decided
    assert {day for day, _ in new["decisions"]} <= {day for day in SESSIONS if day >= session}
    _assert_phases(works, session)
    (event,) = restatements(restatable.db)
    assert (event.symbol, event.interval, event.session, event.kind, event.bars) == ("AAA", "1d", session, kind, 1)
    assert (event.old_version, event.new_version) == (before["bars", session, "AAA"], after["bars", session, "AAA"])
    assert (event.old_hash, event.new_hash) == (
        old_content["bars", session, "AAA"], new_content["bars", session, "AAA"],
    )  # fmt: skip


def _assert_phases(works: list, session: date) -> None:
    order = ("sessions", "models", "updates", "predictions", "decisions")
    phases = [order.index(work.phase) for work in works]
    assert phases == sorted(phases)
    (shadow,) = [work for work in works if "decisions" in work.steps]
    assert (shadow.first, shadow.last) == (session, SESSIONS[-1])
    (collected,) = [work for work in works if work.steps == ("bars",)]
    assert (collected.first, collected.last) == (session, session)


def test_a_run_killed_between_phases_or_in_one_is_gone_on_with(restatable: Desk) -> None:
    """Each piece of work is asked for again until it was done, whatever was done before it."""
    market = market_of(restatable)
    correct(restatable, MID_MONTH)
    whole = versions(restatable)
    for _ in range(20):
        found = next_work(restatable, market, now=LATER)
        if not found:
            break
        assert next_work(restatable, market, now=LATER) == found
        # Of each run only the first step was done when it was killed, and the runs came in any order.
        for work in reversed(found):
            perform(restatable, market, replace(work, steps=work.steps[:1]), LATER)
    else:
        pytest.fail("it never ends")
    new = renewed(whole, versions(restatable))
    assert set(new) >= {"bars", "indicators", "signals", "features", "model", "decisions", "performance"}
