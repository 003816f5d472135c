"""Verdicts that rest on a jump: lifted or made by what one learns of another session, and found like a changed bar."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pytest

from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.steps import bars, decisions, features, indicators, performance, predictions, signals
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.quality import JUMP
from quant_pipeline.steps.rejudged import outdated_verdicts
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bar_quality import read_quality
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.restating import settle
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
SESSIONS = calendar.sessions("nyse", date(2025, 12, 1), date(2026, 3, 31))
JUMPS, AT = SESSIONS[40], 40
NOW = datetime(2026, 4, 2, 3, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)
WALK = daily_walk("AAA", SESSIONS, seed=0)
PRICES = ("open", "high", "low", "close")
_RUNS = itertools.count()


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk of two stocks with bars."""
    changes = {"symbols": ("AAA", "BBB"), "history_start": SESSIONS[0], "min_history_sessions": 20}
    with opened_desk(settings_for(tmp_path, US, **changes), database) as opened:
        store_bars(opened, US, "1d", WALK, at=NOW)
        store_bars(opened, US, "1d", daily_walk("BBB", SESSIONS, seed=1), at=NOW)
        yield opened


def _scale(desk: Desk, first: date, last: date, factor: float, at: datetime) -> None:
    days = WALK["ts"].dt.date
    part = WALK[(days >= first) & (days <= last)]
    store_bars(desk, US, "1d", part.assign(**{name: part[name] * factor for name in PRICES}), at=at)


def _decide(desk: Desk) -> None:
    context = RunContext(NOW, f"run-{next(_RUNS)}")
    market = desk.settings.us_equity
    bars.run(desk, market, SESSIONS, context, collect=False)
    for step in (indicators, signals, features, predictions, decisions, performance):
        step.run(desk, market, SESSIONS, context)
    settle(desk, market, NOW)


def _held(desk: Desk) -> tuple[list[date], list[date]]:
    """Sessions of AAA with a verdict about a jump, and those that were decided with `bad_data`."""
    rows = read_quality(desk.db, US, ["AAA"], SESSIONS[0], SESSIONS[-1], found_only=True)
    found = latest_decisions(desk.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])
    said = [row.session for row in rows if JUMP in row.rules.split(",")]
    return said, sorted({d.session for d in found if d.symbol == "AAA" and d.reason == "bad_data"})


def _settled(desk: Desk) -> list[tuple[date, date]]:
    """The spans of bars that are judged again; all that follows is done too."""
    works = settle(desk, desk.settings.us_equity, LATER)
    assert next_work(desk, desk.settings.us_equity, now=LATER) == ()
    return [(work.first, work.last) for work in works if work.steps == ("bars",)]


def test_a_split_that_one_learns_of_late_lifts_the_verdicts_of_all_sessions_that_it_explains(desk: Desk) -> None:
    _scale(desk, JUMPS, SESSIONS[-1], 0.25, NOW)
    _decide(desk)
    doubtful = list(SESSIONS[AT : AT + 20])
    assert _held(desk) == (doubtful, doubtful)
    record_actions(desk.db, [CorporateAction(US, "AAA", JUMPS, "split", Decimal(4), None, None, "file", LATER)])
    assert _settled(desk)[0] == (doubtful[0], doubtful[-1])
    assert _held(desk) == ([], [])


def test_a_split_that_explains_nothing_asks_for_nothing(desk: Desk) -> None:
    _scale(desk, JUMPS, SESSIONS[-1], 0.25, NOW)
    _decide(desk)
    record_actions(desk.db, [CorporateAction(US, "BBB", JUMPS, "split", Decimal(1), None, None, "file", LATER)])
    assert outdated_verdicts(desk, desk.settings.us_equity, (), SESSIONS[-1], LATER) == frozenset()


def test_a_corrected_bar_lifts_the_verdicts_of_the_sessions_after_it(desk: Desk) -> None:
    """A wrong bar jumps twice: to it, and back on the day after."""
    _scale(desk, JUMPS, JUMPS, 0.25, NOW)
    _decide(desk)
    doubtful = list(SESSIONS[AT : AT + 21])
    assert _held(desk) == (doubtful, doubtful)
    _scale(desk, JUMPS, JUMPS, 1.0, LATER)
    assert _settled(desk)[0] == (doubtful[0], doubtful[-1])
    assert _held(desk) == ([], [])


def test_a_bar_that_turns_wrong_holds_the_sessions_after_it(desk: Desk) -> None:
    _decide(desk)
    assert _held(desk) == ([], [])
    _scale(desk, JUMPS, JUMPS, 0.25, LATER)
    doubtful = list(SESSIONS[AT : AT + 21])
    assert _settled(desk)[0] == (doubtful[0], doubtful[-1])
    assert _held(desk) == (doubtful, doubtful)
