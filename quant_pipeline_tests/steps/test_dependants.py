"""Which runs an import, a late bar or a correction asks for, and in which order; a history of two weeks."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import bars, decisions, features, indicators, performance, predictions, signals, stale
from quant_pipeline.steps.dependants import Work, next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.coverage import read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import daily_walk
from quant_pipeline_tests.steps.restating import import_bars, renewed, settle, versions
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
    import_bars(desk, US, frame, at)


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _recompute(desk: Desk, sessions: Sequence[date], at: datetime) -> None:
    """Everything at once, as a backfill does it."""
    context = RunContext(at, f"run-{next(_RUNS)}")
    bars.run(desk, _market(desk), sessions, context, collect=False)
    for step in (indicators, signals, features, predictions, decisions, performance):
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


def _work(desk: Desk, at: datetime = NOW + timedelta(minutes=5), market: MarketSettings | None = None) -> list[Work]:
    return list(next_work(desk, market or _market(desk), now=at))


def _spans(works: Sequence[Work]) -> dict[str, list[tuple[date, date]]]:
    """The spans asked for, by step."""
    found: dict[str, list[tuple[date, date]]] = {}
    for work in works:
        for step in work.steps:
            found.setdefault(step, []).append((work.first, work.last))
    return found


def _wrong(session: date, symbol: str) -> pd.DataFrame:
    bar = _bars([session], [symbol])
    return bar.assign(volume=bar["volume"] + 1)


def test_nothing_is_asked_for_when_nothing_changed(desk: Desk) -> None:
    assert _work(desk) == []
    # Seen again by a collection, with the same numbers.
    _import(desk, _bars(DONE), NOW + timedelta(minutes=1))
    assert _work(desk) == []


def test_a_correction_asks_for_its_session_and_for_the_windows_that_hold_it(desk: Desk) -> None:
    _import(desk, _wrong(DONE[4], "BBB"), NOW + timedelta(minutes=1))
    after = [(DONE[4], DONE[-1])]
    assert _spans(_work(desk)) == {
        "bars": [(DONE[4], DONE[4])], "indicators": after, "signals": after, "features": after,
    }  # fmt: skip


def test_corrections_far_apart_are_runs_of_their_own(desk: Desk) -> None:
    for session in (DONE[7], DONE[2], DONE[3]):
        _import(desk, _wrong(session, "AAA"), NOW + timedelta(minutes=1))
    assert _spans(_work(desk))["bars"] == [(DONE[2], DONE[3]), (DONE[7], DONE[7])]


def test_bars_that_come_late_ask_for_the_sessions_that_had_none(desk: Desk) -> None:
    # The day after the last computed one was imported when the desk was not looking.
    tomorrow = calendar.session_hours("nyse", SESSIONS[11]).opens_at
    _import(desk, _bars([TODAY]), tomorrow)
    done = settle(desk, _market(desk), tomorrow + timedelta(minutes=5))
    steps = ("bars", "indicators", "signals", "features", "predictions", "decisions", "performance")
    assert _spans(done) == {step: [(TODAY, TODAY)] for step in steps}


def test_an_import_of_a_symbol_that_is_not_traded_asks_for_nothing_until_it_is(desk: Desk) -> None:
    wider = _market(desk).model_copy(update={"symbols": (*SYMBOLS, "NEW")})
    new = _bars(DONE[3:], ["AAA"]).assign(symbol="NEW")
    _import(desk, new, NOW + timedelta(minutes=1))
    assert _work(desk) == []
    assert _spans(_work(desk, market=wider))["bars"] == [(DONE[3], DONE[-1])]


def test_the_session_that_ticks_work_on_is_left_to_them(desk: Desk) -> None:
    closed = calendar.session_hours("nyse", TODAY).closes_at + timedelta(minutes=10)
    _import(desk, _bars([TODAY]), closed)
    assert _work(desk, closed) == []


def test_recomputing_settles_it_and_only_what_changed_is_decided_anew(desk: Desk) -> None:
    before = {d.id for d in latest_decisions(desk.db, US, Book.SHADOW, DONE[0], DONE[-1])}
    wrong = _bars([DONE[4]], ["BBB"])
    at = NOW + timedelta(minutes=1)
    _import(desk, wrong.assign(close=wrong["close"] * 1.001), at)
    done = settle(desk, _market(desk), at + timedelta(minutes=1))
    assert _spans(done)["decisions"] == [(DONE[4], DONE[-1])]
    after = latest_decisions(desk.db, US, Book.SHADOW, DONE[0], DONE[-1])
    new = [d for d in after if d.id not in before]
    assert [(d.session, d.symbol, d.version) for d in new] == [(DONE[4], "BBB", 2)]


def test_a_bar_that_is_put_right_again_settles_itself(desk: Desk) -> None:
    _import(desk, _wrong(DONE[4], "BBB"), NOW + timedelta(minutes=1))
    _import(desk, _bars([DONE[4]], ["BBB"]), NOW + timedelta(minutes=2))
    assert _work(desk) == []


def test_coverage_alone_changes_nothing(desk: Desk) -> None:
    rows = read_coverage(desk.db, US, SYMBOLS, DONE[0], DONE[-1])
    record_coverage(desk.db, [replace(row, checked_at=datetime(2026, 6, 1, tzinfo=UTC)) for row in rows])
    assert _work(desk) == []


def test_a_book_that_began_a_session_otherwise_than_the_one_before_ended_is_rolled_again(desk: Desk) -> None:
    """A tick may decide a session while the one before is being decided anew."""
    with desk.db.begin() as connection:
        connection.execute(
            text("UPDATE shadow_states SET content_hash = 'other' WHERE session = :session"), {"session": DONE[6]}
        )
    works = _work(desk)
    assert _spans(works)["decisions"] == [(DONE[7], DONE[-1])]


def test_bars_before_the_first_session_are_restated_like_any_other(desk: Desk) -> None:
    """Windows reach back to them, though no run can name their sessions."""
    earlier = calendar.sessions("nyse", date(2026, 2, 16), date(2026, 2, 27))
    older = daily_walk("AAA", earlier, seed=5)
    _import(desk, older, NOW + timedelta(minutes=1))
    first = settle(desk, _market(desk), NOW + timedelta(minutes=2))
    assert "bars" not in _spans(first)
    assert _spans(first)["features"] == [(DONE[0], DONE[-1])]
    assert restatements(desk.db) == ()
    _import(desk, older.iloc[[-1]].assign(volume=1.0), NOW + timedelta(minutes=3))
    second = settle(desk, _market(desk), NOW + timedelta(minutes=4))
    assert _spans(second)["features"] == [(DONE[0], DONE[-1])]
    assert [(one.session, one.kind) for one in restatements(desk.db)] == [(earlier[-1], "changed")]


def test_a_bar_on_a_day_without_trading_asks_for_no_run_of_that_day(desk: Desk) -> None:
    """A vendor's error: windows hold it, but no partition has its name."""
    saturday = date(2026, 3, 7)
    at = NOW + timedelta(minutes=1)
    bar = _bars([DONE[4]], ["AAA"])
    _import(desk, bar.assign(ts=bar["ts"] + pd.Timedelta(1, "D")), at)
    assert bar["ts"].iloc[0].date() + timedelta(days=1) == saturday
    done = settle(desk, _market(desk), at + timedelta(minutes=1))
    assert "bars" not in _spans(done)
    assert _spans(done)["features"] == [(DONE[5], DONE[-1])]


def test_an_action_that_one_learns_of_late_recomputes_the_windows_it_reaches_and_restates_no_bar(desk: Desk) -> None:
    dividend = CorporateAction(US, "AAA", DONE[5], "dividend", None, Decimal(1), "USD", "test", NOW)
    record_actions(desk.db, [dividend])
    at = NOW + timedelta(minutes=1)
    before = versions(desk)
    done = settle(desk, _market(desk), at)
    assert _spans(done)["features"] == [(DONE[5], DONE[-1])]
    assert "bars" not in _spans(done)
    new = renewed(before, versions(desk))
    assert new["features"] == new["indicators"] == {(day, "AAA") for day in DONE[5:]}
    assert restatements(desk.db) == ()


def test_features_that_look_across_symbols_are_made_anew_for_all_of_them(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    crossed = replace(FEATURE_SET, cross_sectional=("returns_5d",))
    for module in (features, stale):
        monkeypatch.setattr(module, "FEATURE_SET", crossed)
    _recompute(desk, DONE, NOW)
    before = versions(desk)
    _import(desk, _wrong(DONE[8], "BBB"), NOW + timedelta(minutes=1))
    settle(desk, _market(desk), NOW + timedelta(minutes=2))
    new = renewed(before, versions(desk))
    assert new["features"] == {(day, symbol) for day in DONE[8:] for symbol in SYMBOLS}
    assert new["indicators"] == {(day, "BBB") for day in DONE[8:]}
