"""After a bar changed, came late or was withdrawn: exactly what depends on it is made anew, step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import (
    bars,
    decisions,
    features,
    finetuning,
    indicators,
    performance,
    predictions,
    signals,
    training,
)
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import training_sessions
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import delete_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.models import list_model_versions
from quant_pipeline.storage.outbox import claim
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.restating import (
    contents,
    import_bars,
    perform,
    renewed,
    settle,
    trending_walk,
    versions,
)
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
SYMBOLS = ("AAA", "BBB")
SESSIONS = calendar.sessions("nyse", date(2024, 6, 3), date(2026, 3, 13))
MONTHS = (date(2026, 1, 1), date(2026, 2, 1), date(2026, 3, 1))
NOW = calendar.session_hours("nyse", SESSIONS[-1]).closes_at + timedelta(days=4)
LATER = NOW + timedelta(hours=1)
WALKS = pd.concat([trending_walk(symbol, SESSIONS, seed=i) for i, symbol in enumerate(SYMBOLS)], ignore_index=True)
HOLE = SESSIONS[-90]
"""A session of which AAA's bar was not there: the venue was asked and had none."""

type Change = Callable[[Desk, date], None]


@pytest.fixture(scope="module")
def computed(
    postgres: Dsn, migrated_template: Dsn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Dsn]]:
    """A desk with all results of two symbols and the models of three months, to be copied."""
    ai = {
        "training_sessions": 200,
        "min_training_sessions": 150,
        "confidence_threshold": 0.1,
        "buy_threshold": 1e-4,
        "sell_threshold": -1e-4,
    }
    given = {"symbols": SYMBOLS, "history_start": SESSIONS[0], "min_history_sessions": 20, "ai": ai}
    settings = settings_for(tmp_path_factory.mktemp("desk"), US, vote={"mode": "abstain"}, **given)
    with new_database(postgres, template=migrated_template.database) as dsn:
        with opened_desk(settings, Database(dsn)) as opened:
            opened.registry = None  # type: ignore[assignment]
            at_hole = (WALKS["symbol"] == "AAA") & (WALKS["ts"] == _start(HOLE))
            import_bars(opened, US, WALKS, NOW)
            delete_bars(opened.db, US, "1d", WALKS[at_hole], at=NOW)
            context = RunContext(NOW, "first")
            market = opened.settings.us_equity
            bars.run(opened, market, SESSIONS, context, collect=False)
            for step in (indicators, signals, features):
                step.run(opened, market, SESSIONS, context)
            training.run(opened, market, MONTHS, context)
            for step in (predictions, decisions, performance):
                step.run(opened, market, SESSIONS, context)
            assert restatements(opened.db) == ()
            assert next_work(opened, market, now=NOW) == ()
        yield settings, dsn


@pytest.fixture
def desk(postgres: Dsn, computed: tuple[Settings, Dsn]) -> Iterator[Desk]:
    """A copy of it."""
    settings, template = computed
    with new_database(postgres, template=template.database) as dsn, opened_desk(settings, Database(dsn)) as opened:
        opened.registry = None  # type: ignore[assignment]
        yield opened


def _start(session: date) -> pd.Timestamp:
    return pd.Timestamp(calendar.daily_bar_start("nyse", session))


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _bar(symbol: str, session: date) -> pd.DataFrame:
    return WALKS[(WALKS["symbol"] == symbol) & (WALKS["ts"] == _start(session))]


def _changed(desk: Desk, session: date) -> None:
    bar = _bar("AAA", session)
    store_bars(desk, US, "1d", bar.assign(close=bar["close"] * 1.004, volume=bar["volume"] + 500), at=LATER)


def _late(desk: Desk, session: date) -> None:
    store_bars(desk, US, "1d", _bar("AAA", session), at=LATER)


def _deleted(desk: Desk, session: date) -> None:
    delete_bars(desk.db, US, "1d", _bar("AAA", session), at=LATER)


def _in_window(session: date, warmup: int, *, has_hole: bool) -> set[date]:
    """The sessions whose window, begun `warmup` bars before their month, holds the bar of `session`; counted out."""
    own = [s for s in SESSIONS if s != HOLE or not has_hole]
    found = set()
    for one in (s for s in own if s >= session):
        first = next(i for i, s in enumerate(own) if s >= one.replace(day=1))
        found |= {one} if session >= own[max(0, first - warmup)] else set()
    return found


MID_MONTH, OLD = SESSIONS[-150], SESSIONS[8]
CASES = [
    pytest.param(_changed, MID_MONTH, "changed", id="a bar changed in the middle of a month"),
    pytest.param(_late, HOLE, "late", id="a bar came late"),
    pytest.param(_deleted, MID_MONTH, "deleted", id="a bar was withdrawn"),
    pytest.param(_changed, OLD, "changed", id="a bar older than every model's window changed"),
]


@pytest.mark.parametrize(("change", "session", "kind"), CASES)
def test_exactly_what_depends_on_the_bar_is_made_anew(desk: Desk, change: Change, session: date, kind: str) -> None:
    market, before = _market(desk), versions(desk)
    change(desk, session)
    works = settle(desk, market, LATER)
    after = versions(desk)
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

    old_content, new_content = contents(desk, before), contents(desk, after)

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
    (event,) = restatements(desk.db)
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


def test_nothing_more_is_asked_for_and_people_are_told_once(desk: Desk) -> None:
    _changed(desk, MID_MONTH)
    settle(desk, _market(desk), LATER)
    assert next_work(desk, _market(desk), now=LATER) == ()
    (told,) = [one for one in claim(desk.db, LATER) if one.kind == "restatement"]
    assert told.market == US
    assert (told.payload["events"], told.payload["bars"], told.payload["symbols"]) == (1, {"changed": 1}, ["AAA"])
    assert told.payload["first_session"] == MID_MONTH.isoformat()


def test_a_run_killed_between_phases_or_in_one_is_gone_on_with(desk: Desk) -> None:
    """Each piece of work is asked for again until it was done, whatever was done before it."""
    market = _market(desk)
    _changed(desk, MID_MONTH)
    whole = versions(desk)
    for _ in range(20):
        found = next_work(desk, market, now=LATER)
        if not found:
            break
        assert next_work(desk, market, now=LATER) == found
        # Of each run only the first step was done when it was killed, and the runs came in any order.
        for work in reversed(found):
            perform(desk, market, replace(work, steps=work.steps[:1]), LATER)
    else:
        pytest.fail("it never ends")
    new = renewed(whole, versions(desk))
    assert set(new) >= {"bars", "indicators", "signals", "features", "model", "decisions", "performance"}


def test_a_bar_put_right_before_anybody_looked_leaves_no_event(desk: Desk) -> None:
    before = versions(desk)
    _changed(desk, MID_MONTH)
    store_bars(desk, US, "1d", _bar("AAA", MID_MONTH), at=LATER)
    assert settle(desk, _market(desk), LATER) == []
    assert versions(desk) == before
    assert restatements(desk.db) == ()


def test_a_bar_put_right_after_results_were_made_is_a_second_event(desk: Desk) -> None:
    _changed(desk, MID_MONTH)
    settle(desk, _market(desk), LATER)
    store_bars(desk, US, "1d", _bar("AAA", MID_MONTH), at=LATER + timedelta(hours=1))
    settle(desk, _market(desk), LATER + timedelta(hours=1))
    second, first = restatements(desk.db)
    assert (second.old_hash, second.new_hash) == (first.new_hash, first.old_hash)
    assert second.old_version == first.new_version


def test_what_was_served_then_stays_known_and_the_month_has_a_new_model_version(desk: Desk) -> None:
    old = {v.id for v in list_model_versions(desk.db, US, symbol="AAA")}
    _changed(desk, MID_MONTH)
    settle(desk, _market(desk), LATER)
    kept = {v.id: v for v in list_model_versions(desk.db, US, symbol="AAA")}
    assert old < set(kept)
    assert all(kept[key].created_at == LATER for key in set(kept) - old)
    assert {v.created_at for key, v in kept.items() if key in old} == {NOW}


def test_decisions_of_a_restatement_say_so_and_leave_the_old_rows(desk: Desk) -> None:
    before = {d.id: d for d in latest_decisions(desk.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])}
    _changed(desk, SESSIONS[-1])
    settle(desk, _market(desk), LATER)
    after = latest_decisions(desk.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])
    new = [d for d in after if d.id not in before]
    assert {(d.session, d.origin) for d in new} == {(SESSIONS[-1], "restate")}
    assert {d.symbol for d in new} >= {"AAA"}


def test_the_daily_update_of_a_model_that_is_trained_again_is_made_again_after_it(desk: Desk) -> None:
    market, last = _market(desk), SESSIONS[-1]
    finetuning.run(desk, market, [last], RunContext(NOW, "update"))
    settle(desk, market, LATER)
    before = versions(desk)
    updated = {symbol for step, _, symbol in before if step == "model_update"}
    assert "AAA" in updated
    _changed(desk, SESSIONS[-30])
    works = settle(desk, market, LATER)
    phases = [work.phase for work in works]
    assert phases.index("models") < phases.index("updates") < phases.index("predictions")
    assert [(w.first, w.last) for w in works if w.phase == "updates"] == [(last, last)]
    assert renewed(before, versions(desk))["model_update"] == {(last, "AAA")}


# A symbol that is added


def test_a_symbol_added_by_configuration_is_computed_alone_and_restates_nobody(desk: Desk) -> None:
    before = versions(desk)
    wider = _market(desk).model_copy(update={"symbols": (*SYMBOLS, "NEW")})
    days = SESSIONS[-200:]
    import_bars(desk, US, trending_walk("NEW", days, seed=7), LATER)
    settle(desk, wider, LATER)
    new = renewed(before, versions(desk))
    mine = {(day, "NEW") for day in days}
    for step in ("bars", "indicators", "features", "signals"):
        assert {key for key in new[step] if key[1] != "NEW"} == set(), step
        assert new[step] >= mine, step
    assert set(new["model"]) == {(month, "NEW") for month in MONTHS}
    # The shadow book holds all symbols: it is rolled on from the first session that has a bar of the new one.
    assert {day for day, _ in new["decisions"]} == set(days)
    assert restatements(desk.db) == ()
    assert next_work(desk, wider, now=LATER) == ()


def test_older_history_of_a_symbol_is_no_restatement(desk: Desk) -> None:
    market = _market(desk).model_copy(update={"history_start": date(2024, 4, 1)})
    older = calendar.sessions("nyse", date(2024, 4, 1), SESSIONS[0])[:-1]
    import_bars(desk, US, trending_walk("AAA", older, seed=9), LATER)
    before = versions(desk)
    found = next_work(desk, market, now=LATER)
    assert ("bars",) in {work.steps for work in found}
    for work in found:
        perform(desk, market, work, LATER)
    new = renewed(before, versions(desk))
    assert {key for key in new["bars"] if key[1] == "AAA"} == {(day, "AAA") for day in older}
    # Windows of the first months reach back to what is there now.
    # June 2024 has 19 sessions, one less than the features look back.
    first = {day for day in SESSIONS if day < date(2024, 8, 1)}
    assert {day for day, symbol in new["features"] if symbol == "AAA"} == {*older, *first}
    assert restatements(desk.db) == ()
