"""Which sessions must be recomputed after an import, a late bar or a correction: those and what follows, nothing else."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import bars, decisions, features, indicators, predictions, signals
from quant_pipeline.steps.dependants import changed_sessions
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
SYMBOLS = ("AAA", "BBB")
SESSIONS = calendar.sessions("nyse", date(2026, 3, 2), date(2026, 3, 20))
DONE, TODAY = SESSIONS[:10], SESSIONS[10]
NOW = calendar.session_hours("nyse", TODAY).opens_at + timedelta(hours=1)
WALKS = pd.concat([daily_walk(symbol, SESSIONS, seed=i) for i, symbol in enumerate(SYMBOLS)], ignore_index=True)
_RUNS = itertools.count()


def _bars(sessions: Sequence[date], symbols: Sequence[str] = SYMBOLS) -> pd.DataFrame:
    starts = [pd.Timestamp(calendar.daily_bar_start("nyse", session)) for session in sessions]
    return WALKS[WALKS["ts"].isin(starts) & WALKS["symbol"].isin(symbols)]


def _import(desk: Desk, frame: pd.DataFrame, at: datetime) -> None:
    """Bars with their coverage, as an import or a collection leaves them."""
    store_bars(desk, US, "1d", frame, at=at)
    rows = [
        Coverage(US, str(r.symbol), "1d", r.ts.date(), 1, 1, 0, r.ts, r.ts, "file", "iex", "raw", "complete", at)
        for r in frame.itertuples()
    ]
    record_coverage(desk.db, rows)


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _recompute(desk: Desk, sessions: Sequence[date], at: datetime) -> None:
    """What the restate job runs."""
    context = RunContext(at, f"run-{next(_RUNS)}")
    bars.run(desk, _market(desk), sessions, context, collect=False)
    for step in (indicators, signals, features, predictions, decisions):
        step.run(desk, _market(desk), sessions, context)


@pytest.fixture(scope="module")
def computed(
    postgres: Dsn, migrated_template: Dsn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Dsn]]:
    """A desk on which ten sessions were imported and computed, to be copied; nobody stays connected to it."""
    folder = tmp_path_factory.mktemp("desk")
    settings = settings_for(folder, US, symbols=SYMBOLS, history_start=SESSIONS[0])
    with new_database(postgres, template=migrated_template.database) as dsn:
        with opened_desk(settings, Database(dsn)) as opened:
            _import(opened, _bars(DONE), NOW)
            _recompute(opened, DONE, NOW)
        yield settings, dsn


@pytest.fixture
def desk(postgres: Dsn, computed: tuple[Settings, Dsn]) -> Iterator[Desk]:
    """A copy of it; today is the eleventh session, an hour after its open."""
    settings, template = computed
    with new_database(postgres, template=template.database) as dsn, opened_desk(settings, Database(dsn)) as opened:
        yield opened


def _changed(desk: Desk, at: datetime = NOW + timedelta(minutes=5)) -> tuple[date, date] | None:
    return changed_sessions(desk, _market(desk), now=at)


def _span(found: tuple[date, date] | None) -> tuple[date, ...]:
    assert found is not None
    return calendar.sessions("nyse", *found)


def test_nothing_is_changed_when_nothing_was(desk: Desk) -> None:
    assert _changed(desk) is None
    # Seen again by a collection, with the same numbers.
    _import(desk, _bars(DONE), NOW + timedelta(minutes=1))
    assert _changed(desk) is None


def test_a_correction_names_its_session_and_all_that_have_results_after_it(desk: Desk) -> None:
    wrong = _bars([DONE[4]], ["BBB"])
    _import(desk, wrong.assign(volume=wrong["volume"] + 1), NOW + timedelta(minutes=1))
    assert _changed(desk) == (DONE[4], DONE[-1])


def test_several_corrections_are_one_span_from_the_first(desk: Desk) -> None:
    for session in (DONE[7], DONE[2]):
        wrong = _bars([session], ["AAA"])
        _import(desk, wrong.assign(volume=wrong["volume"] + 1), NOW + timedelta(minutes=1))
    assert _changed(desk) == (DONE[2], DONE[-1])


def test_bars_that_come_late_name_the_sessions_that_had_none(desk: Desk) -> None:
    # The day after the last computed one was imported when the desk was not looking.
    tomorrow = calendar.session_hours("nyse", SESSIONS[11]).opens_at
    _import(desk, _bars([TODAY]), tomorrow)
    assert _changed(desk, tomorrow + timedelta(minutes=5)) == (TODAY, TODAY)


def test_an_import_of_a_symbol_into_computed_sessions_names_them(desk: Desk) -> None:
    wider = _market(desk).model_copy(update={"symbols": (*SYMBOLS, "NEW")})
    new = _bars(DONE[3:], ["AAA"]).assign(symbol="NEW")
    _import(desk, new, NOW + timedelta(minutes=1))
    assert _changed(desk) is None
    assert changed_sessions(desk, wider, now=NOW + timedelta(minutes=5)) == (DONE[3], DONE[-1])


def test_the_session_that_ticks_work_on_is_left_to_them(desk: Desk) -> None:
    closed = calendar.session_hours("nyse", TODAY).closes_at + timedelta(minutes=10)
    _import(desk, _bars([TODAY]), closed)
    assert _changed(desk, closed) is None


def test_recomputing_the_span_settles_it_and_only_what_changed_is_made_anew(desk: Desk) -> None:
    before = {d.id for d in latest_decisions(desk.db, US, Book.SHADOW, DONE[0], DONE[-1])}
    wrong = _bars([DONE[4]], ["BBB"])
    at = NOW + timedelta(minutes=1)
    _import(desk, wrong.assign(close=wrong["close"] * 1.001), at)
    _recompute(desk, _span(_changed(desk)), at + timedelta(minutes=1))
    assert _changed(desk, at + timedelta(minutes=2)) is None
    after = latest_decisions(desk.db, US, Book.SHADOW, DONE[0], DONE[-1])
    new = [d for d in after if d.id not in before]
    assert [(d.session, d.symbol, d.version) for d in new] == [(DONE[4], "BBB", 2)]


def test_a_bar_that_is_put_right_again_settles_itself(desk: Desk) -> None:
    wrong = _bars([DONE[4]], ["BBB"])
    _import(desk, wrong.assign(volume=wrong["volume"] + 1), NOW + timedelta(minutes=1))
    _import(desk, wrong, NOW + timedelta(minutes=2))
    assert _changed(desk) is None


def test_coverage_alone_changes_nothing(desk: Desk) -> None:
    rows = read_coverage(desk.db, US, SYMBOLS, DONE[0], DONE[-1])
    record_coverage(desk.db, [replace(row, checked_at=datetime(2026, 6, 1, tzinfo=UTC)) for row in rows])
    assert _changed(desk) is None
