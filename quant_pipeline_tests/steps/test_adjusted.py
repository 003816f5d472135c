"""Indicators, features and training rows over splits and dividends: adjusted at read, recomputed exactly, never twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.anchor import last_affected_session
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.markets import calendar
from quant_pipeline.steps import bars, features, indicators
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import training_data
from quant_pipeline.steps.tables import RunContext, StepResult, read_step
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.versions import Version, current_versions
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
STEPS = [indicators, features]
WARMUP = {indicators.STEP: max_warmup(), features.STEP: FEATURE_SET.warmup_bars(1)}
HISTORY = calendar.sessions("nyse", date(2025, 1, 2), date(2026, 5, 8))
SPAN = calendar.sessions("nyse", date(2026, 3, 16), date(2026, 5, 8))
EX_DATE = date(2026, 4, 15)
PRICES = ["open", "high", "low", "close"]
_RUNS = itertools.count()


def _raw() -> pd.DataFrame:
    """Two random walks; AAA trades at a quarter from its ex-date on."""
    walked = pd.concat([daily_walk("AAA", HISTORY, seed=1), daily_walk("BBB", HISTORY, seed=2)], ignore_index=True)
    after = ((walked["symbol"] == "AAA") & (walked["ts"].dt.date >= EX_DATE)).to_numpy()
    walked.loc[after, PRICES] /= 4.0
    walked.loc[after, "volume"] *= 4.0
    return walked


RAW = _raw()
SPLIT = CorporateAction(US, "AAA", EX_DATE, "split", Decimal(4), None, None, "test", NOW)
DIVIDEND = CorporateAction(US, "AAA", date(2026, 4, 22), "dividend", None, Decimal("0.4"), "USD", "test", NOW)


@pytest.fixture
def make(tmp_path: Path, postgres: Dsn, migrated_template: Dsn) -> Iterator[Callable[..., Desk]]:
    """Makes desks with the bars of both symbols and no venue; each has a database of its own."""
    with ExitStack() as stack:

        def desk(*actions: CorporateAction, adjustment: str = "raw", frame: pd.DataFrame = RAW) -> Desk:
            dsn = stack.enter_context(new_database(postgres, template=migrated_template.database))
            ai = {"training_sessions": 300, "min_training_sessions": 30}
            settings = settings_for(
                tmp_path / str(next(_RUNS)), US, symbols=("AAA", "BBB"), history_start=SPAN[0], ai=ai
            )
            opened = stack.enter_context(opened_desk(settings, Database(dsn)))
            store_bars(opened, US, "1d", frame, adjustment=adjustment, at=NOW)
            record_actions(opened.db, actions)
            return opened

        yield desk


def _context() -> RunContext:
    return RunContext(NOW, f"run-{next(_RUNS)}")


def _run(step: ModuleType, desk: Desk, sessions: Sequence[date] = SPAN) -> StepResult:
    result: StepResult = step.run(desk, desk.settings.us_equity, sessions, _context())
    return result


def _versions(desk: Desk, step: str) -> dict[tuple[date, str], Version]:
    return current_versions(desk.db, US, step, SPAN)


def _contents(desk: Desk, step: str) -> dict[tuple[date, str], str]:
    return {key: version.content_hash for key, version in _versions(desk, step).items()}


@pytest.mark.parametrize("step", STEPS)
def test_ranges_that_cut_the_month_of_a_split_anywhere_give_the_same_versions(
    make: Callable[..., Desk], step: ModuleType
) -> None:
    whole, pieces = make(SPLIT, DIVIDEND), make(SPLIT, DIVIDEND)
    _run(step, whole)
    at = SPAN.index(EX_DATE)
    for part in (SPAN[at : at + 1], SPAN[at - 3 : at], SPAN[at - 10 : at + 2], SPAN[-1:], SPAN[at + 1 :], SPAN):
        _run(step, pieces, part)
    assert _contents(pieces, step.STEP) == _contents(whole, step.STEP)


@pytest.mark.parametrize("step", STEPS)
def test_a_split_that_is_learned_of_recomputes_exactly_the_windows_it_reaches_and_restates_no_bar(
    make: Callable[..., Desk], step: ModuleType
) -> None:
    desk = make()
    bars.run(desk, desk.settings.us_equity, SPAN, _context(), collect=False)
    _run(step, desk)
    bars_before, before = _versions(desk, bars.STEP), _contents(desk, step.STEP)
    record_actions(desk.db, [SPLIT])
    days = np.array(HISTORY, dtype="datetime64[D]")
    eve = calendar.previous_session("nyse", EX_DATE)
    last = last_affected_session(days, eve, WARMUP[step.STEP]) or date.max
    stale = {session for session in SPAN if EX_DATE <= session <= last}
    result = _run(step, desk)
    assert {o.session for o in result.outcomes if "reused" not in o.numbers} == stale
    assert all(o.numbers["adjusted_for_actions"] == 1 for o in result.outcomes if o.session in stale)
    after = _contents(desk, step.STEP)
    assert {key for key in before if before[key] != after[key]} <= {(session, "AAA") for session in stale}
    assert before[EX_DATE, "AAA"] != after[EX_DATE, "AAA"]
    bars.run(desk, desk.settings.us_equity, SPAN, _context(), collect=False)
    assert _versions(desk, bars.STEP) == bars_before
    assert _run(step, desk).reused == len(SPAN)


@pytest.mark.parametrize("step", STEPS)
def test_an_action_to_come_changes_nothing(make: Callable[..., Desk], step: ModuleType) -> None:
    desk = make()
    early = SPAN[: SPAN.index(EX_DATE)]
    _run(step, desk, early)
    record_actions(desk.db, [SPLIT])
    assert _run(step, desk, early).reused == len(early)


@pytest.mark.parametrize("step", STEPS)
def test_bars_that_came_adjusted_for_splits_are_not_adjusted_twice(make: Callable[..., Desk], step: ModuleType) -> None:
    smooth = pd.concat([daily_walk("AAA", HISTORY, seed=1), daily_walk("BBB", HISTORY, seed=2)], ignore_index=True)
    scaled = smooth.assign(**{name: smooth[name] / 4.0 for name in PRICES}, volume=smooth["volume"] * 4.0)
    frame = pd.concat([scaled[scaled["symbol"] == "AAA"], smooth[smooth["symbol"] == "BBB"]], ignore_index=True)
    ready, raw = make(SPLIT, adjustment="split", frame=frame), make(SPLIT)
    _run(step, ready)
    _run(step, raw)
    late = [key for key in _contents(raw, step.STEP) if key[0] >= EX_DATE]
    assert {k: _contents(ready, step.STEP)[k] for k in late} == {k: _contents(raw, step.STEP)[k] for k in late}


def test_features_see_no_crash_where_the_split_is_known_and_one_where_it_is_not(make: Callable[..., Desk]) -> None:
    known, unknown = make(SPLIT), make()
    for desk in (known, unknown):
        _run(features, desk)
    assert read_step(unknown, US, features.STEP, SPAN)["returns_5d"].min() < -0.7
    assert read_step(known, US, features.STEP, SPAN)["returns_5d"].min() > -0.25


def test_targets_are_returns_of_adjusted_prices_and_an_unknown_split_is_no_lesson(make: Callable[..., Desk]) -> None:
    known, unknown = make(SPLIT, DIVIDEND), make()
    rows = {}
    for name, desk in (("known", known), ("unknown", unknown)):
        _run(features, desk)
        aaa, bbb = training_data(desk, desk.settings.us_equity, SPAN, ["AAA", "BBB"], _context(), least=1)
        assert aaa.samples is not None
        assert bbb.samples is not None
        rows[name] = aaa.samples
        assert len(bbb.samples) == len(SPAN) - 1
    assert len(rows["known"]) == len(SPAN) - 1
    assert np.abs(rows["known"].y).max() < 0.25
    # The row before the jump and the twenty sessions from it on are left out; there are 17 to the end of the span.
    assert len(rows["unknown"]) == SPAN.index(EX_DATE) - 1
    assert np.abs(rows["unknown"].y).max() < 0.25
    day = SPAN.index(DIVIDEND.ex_date)
    close = RAW[RAW["symbol"] == "AAA"]["close"].to_numpy()[-len(SPAN) :]
    earned = close[day] / (close[day - 1] - 0.4) - 1.0
    assert rows["known"].y[day - 1] == pytest.approx(earned, rel=1e-12)


def test_bars_of_an_unknown_split_are_told_by_the_bars_step(make: Callable[..., Desk]) -> None:
    desk = make()
    found = bars.run(desk, desk.settings.us_equity, SPAN, _context(), collect=False)
    assert [(jump.symbol, jump.session, jump.ratio) for jump in found.jumps] == [("AAA", EX_DATE, 4.0)]
    assert found.result.numbers["unexplained_jumps"] == 1
    record_actions(desk.db, [SPLIT])
    assert bars.run(desk, desk.settings.us_equity, SPAN, _context(), collect=False).jumps == ()
