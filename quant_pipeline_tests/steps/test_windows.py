"""Indicators and features: the same bytes whatever the range, recomputed exactly where a window holds a changed bar."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.anchor import last_affected_session
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features, indicators
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult, read_step
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.versions import current_versions
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import daily_walk, hourly_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US, KRW = "us_equity", "krw_crypto"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
STEPS = [indicators, features]
WARMUP = {indicators.STEP: max_warmup(), features.STEP: FEATURE_SET.warmup_bars(1)}
SPAN = calendar.sessions("nyse", date(2026, 3, 16), date(2026, 5, 8))
"""Sessions of three months, so that a range crosses two anchors."""

_RUNS = itertools.count()
HISTORY = calendar.sessions("nyse", date(2025, 1, 2), date(2026, 5, 8))


BARS = pd.concat([daily_walk("AAA", HISTORY, seed=1), daily_walk("BBB", HISTORY, seed=2)], ignore_index=True)


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk with bars of two symbols and no venue."""
    settings = settings_for(tmp_path, US, symbols=("AAA", "BBB"), history_start=date(2026, 1, 2))
    with opened_desk(settings, database) as opened:
        store_bars(opened, US, "1d", BARS)
        yield opened


@pytest.fixture
def another(tmp_path: Path, desk: Desk, postgres: Dsn, migrated_template: Dsn) -> Iterator[Desk]:
    """A second desk with the same bars and nothing computed yet."""
    with new_database(postgres, template=migrated_template.database) as dsn:
        settings = desk.settings.model_copy(update={"home": tmp_path / "another"})
        with opened_desk(settings, Database(dsn)) as opened:
            store_bars(opened, US, "1d", BARS)
            yield opened


def _context(now: datetime = NOW, symbols: tuple[str, ...] | None = None) -> RunContext:
    """A run of its own."""
    return RunContext(now, f"run-{next(_RUNS)}", symbols=symbols)


def _run(
    step: ModuleType, desk: Desk, sessions: Sequence[date], *, symbols: tuple[str, ...] | None = None
) -> StepResult:
    result: StepResult = step.run(desk, _market(desk), sessions, _context(symbols=symbols))
    return result


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def _versions(desk: Desk, step: str, sessions: Sequence[date] = SPAN) -> dict[tuple[date, str], str]:
    return {key: v.content_hash for key, v in current_versions(desk.db, US, step, sessions).items()}


@pytest.mark.parametrize("step", STEPS)
def test_one_session_alone_a_range_and_everything_give_the_same_versions(
    desk: Desk, another: Desk, step: ModuleType
) -> None:
    whole = _run(step, desk, SPAN)
    assert (whole.reused, len(whole.outcomes)) == (0, len(SPAN))
    parts = [SPAN[20:30], SPAN[:1], SPAN[-1:], SPAN[25:-1], SPAN[1:20]]
    outcomes = {}
    for part in parts:
        outcomes |= {outcome.session: outcome for outcome in _run(step, another, part).outcomes if outcome.rows}
    assert _versions(another, step.STEP) == _versions(desk, step.STEP)
    assert {o.session: o.content_hash for o in whole.outcomes} == {s: o.content_hash for s, o in outcomes.items()}
    pd.testing.assert_frame_equal(
        read_step(desk, US, step.STEP, SPAN), read_step(another, US, step.STEP, SPAN), check_exact=True
    )
    assert len(set(_versions(desk, step.STEP).values())) == 2 * len(SPAN)


@pytest.mark.parametrize("step", STEPS)
def test_unchanged_bars_are_reused_with_the_same_outcome(desk: Desk, step: ModuleType) -> None:
    first = _run(step, desk, SPAN)
    again = _run(step, desk, SPAN)
    assert again.reused == len(SPAN)
    assert [(o.session, o.rows, o.content_hash) for o in again.outcomes] == [
        (o.session, o.rows, o.content_hash) for o in first.outcomes
    ]
    partly = _run(step, desk, [*HISTORY[-40:]])
    assert (partly.reused, len(partly.outcomes)) == (len([s for s in HISTORY[-40:] if s in SPAN]), 40)


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("changed", [date(2026, 4, 7), date(2026, 3, 31), date(2025, 9, 3), date(2025, 1, 2)])
def test_a_changed_bar_recomputes_exactly_the_sessions_whose_window_holds_it(
    desk: Desk, step: ModuleType, changed: date
) -> None:
    _run(step, desk, SPAN)
    before = _versions(desk, step.STEP)
    bar = BARS[(BARS["symbol"] == "AAA") & (BARS["ts"] == pd.Timestamp(calendar.daily_bar_start("nyse", changed)))]
    store_bars(desk, US, "1d", bar.assign(close=bar["close"] * 1.001, high=bar["high"] * 1.01))
    days = np.array(HISTORY, dtype="datetime64[D]")
    last = last_affected_session(days, changed, WARMUP[step.STEP]) or date.max
    stale = [session for session in SPAN if changed <= session <= last]
    result = _run(step, desk, SPAN)
    assert result.reused == len(SPAN) - len(stale)
    assert {o.session for o in result.outcomes if "reused" not in o.numbers} == set(stale)
    after = _versions(desk, step.STEP)
    touched = {key for key in before if before[key] != after[key]}
    assert touched <= {(session, "AAA") for session in stale}
    assert {(changed, "AAA")} <= touched or changed < SPAN[0]


@pytest.mark.parametrize("step", STEPS)
def test_a_run_limited_to_a_symbol_keeps_the_rows_of_the_others(desk: Desk, step: ModuleType) -> None:
    _run(step, desk, SPAN)
    before = read_step(desk, US, step.STEP, SPAN)
    versions = _versions(desk, step.STEP)
    store_bars(desk, US, "1d", BARS[BARS["ts"] >= "2026-04-01"].assign(volume=lambda f: f["volume"] + 1))
    result = _run(step, desk, SPAN, symbols=("AAA",))
    after = read_step(desk, US, step.STEP, SPAN)
    theirs = [frame[frame["symbol"] == "BBB"].reset_index(drop=True) for frame in (before, after)]
    pd.testing.assert_frame_equal(*theirs, check_exact=True)
    assert len(after) == len(before)
    moved = {key for key, value in _versions(desk, step.STEP).items() if value != versions[key]}
    assert {symbol for _, symbol in moved} == {"AAA"}
    assert all(o.rows == 2 for o in result.outcomes)
    # The other symbol's turn comes when everything runs again.
    again = _run(step, desk, SPAN)
    assert again.reused == sum(session < date(2026, 4, 1) for session in SPAN)


@pytest.mark.parametrize("step", STEPS)
def test_a_symbol_added_later_restates_nobody(desk: Desk, step: ModuleType) -> None:
    _run(step, desk, SPAN)
    before = _versions(desk, step.STEP)
    store_bars(desk, US, "1d", daily_walk("CCC", HISTORY, seed=3))
    wider = _market(desk).model_copy(update={"symbols": ("AAA", "BBB", "CCC")})
    step.run(desk, wider, SPAN, _context())
    after = _versions(desk, step.STEP)
    assert {key: value for key, value in after.items() if key[1] != "CCC"} == before
    assert len(after) == 3 * len(SPAN)


@pytest.mark.parametrize("step", STEPS)
def test_a_session_in_progress_has_no_rows_and_fills_when_it_closes(desk: Desk, step: ModuleType) -> None:
    market, today = _market(desk), SPAN[-1]
    hours = calendar.session_hours("nyse", today)
    during = step.run(desk, market, [today], _context(hours.closes_at - timedelta(minutes=1)))
    (outcome,) = during.outcomes
    assert outcome.rows == 0
    assert set(_versions(desk, step.STEP, [today]).values()) == {combine_hashes()}
    assert read_step(desk, US, step.STEP, [today]).empty
    both = step.run(desk, market, SPAN[-2:], _context(hours.closes_at - timedelta(minutes=1)))
    assert [o.rows for o in both.outcomes] == [2, 0]
    assert len(read_step(desk, US, step.STEP, SPAN[-2:])) == 2
    closed = step.run(desk, market, [today], _context(hours.closes_at))
    assert closed.outcomes[0].rows == 2


@pytest.mark.parametrize("step", STEPS)
def test_a_bar_that_is_not_closed_takes_no_part(desk: Desk, step: ModuleType) -> None:
    today = SPAN[-1]
    opens = calendar.session_hours("nyse", today).opens_at
    _run(step, desk, SPAN[:-1])
    before = _versions(desk, step.STEP)
    result = step.run(desk, _market(desk), SPAN[:-1], _context(opens + timedelta(hours=1)))
    assert result.reused == len(SPAN) - 1
    assert _versions(desk, step.STEP) == before


def test_hourly_sessions_alone_and_a_range_across_months_give_the_same_bytes(
    tmp_path: Path, database: Database, postgres: Dsn, migrated_template: Dsn
) -> None:
    days = calendar.sessions("always", date(2026, 1, 1), date(2026, 3, 3))
    wanted = days[-6:]
    bars = hourly_walk("KRW-AAA", days, seed=4)
    stored: list[dict[str, pd.DataFrame]] = []
    with new_database(postgres, template=migrated_template.database) as dsn:
        for name, db, parts in (
            ("whole", database, [wanted]),
            ("single", Database(dsn), [[day] for day in reversed(wanted)]),
        ):
            settings = settings_for(tmp_path / name, KRW, symbols=("KRW-AAA",), history_start=days[0])
            with opened_desk(settings, db) as desk:
                store_bars(desk, KRW, "1h", bars)
                for step in STEPS:
                    for part in parts:
                        result = step.run(desk, settings.krw_crypto, part, _context())
                        assert {outcome.rows for outcome in result.outcomes} == {24}
                stored.append({step.STEP: read_step(desk, KRW, step.STEP, wanted) for step in STEPS})
    for step in STEPS:
        pd.testing.assert_frame_equal(stored[0][step.STEP], stored[1][step.STEP], check_exact=True)
        assert len(stored[0][step.STEP]) == 6 * 24
