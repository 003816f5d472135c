"""What each session earned: the same rows one session at a time and in a range, for both books and both calendars."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest

from quant_pipeline.core.values import Book
from quant_pipeline.steps import performance
from quant_pipeline.steps.tables import RunContext, StepResult, read_step
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, World, closes, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY = (date(2026, 3, day) for day in (2, 3, 4))
MINUTES, HOURS = timedelta(minutes=1), timedelta(hours=1)
_RUNS = itertools.count()


def _stocks(build: Build) -> World:
    """Bought on Tuesday at 100 (the shadow pays slippage), worth 102 at the close, sold on Wednesday at 105."""
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: [(60, 102.0)], WEDNESDAY: [(0, 105.0)]}}
    world = build(US, script, MONDAY, WEDNESDAY)
    for session, said in ((MONDAY, BUY), (TUESDAY, SELL), (WEDNESDAY, HOLD)):
        world.say(session, {"AAA": said})
        for at in (opens(US, session), closes(US, session) + 10 * MINUTES):
            world.tick(at)
    return world


def _run(world: World, sessions: Sequence[date]) -> StepResult:
    return performance.run(world.desk, world.market, sessions, RunContext(world.admin.clock(), f"run-{next(_RUNS)}"))


def _rows(world: World, sessions: Sequence[date]) -> pd.DataFrame:
    return read_step(world.desk, world.market.name, performance.STEP, sessions).set_index(["symbol", "ts"])


def test_each_book_has_a_row_for_each_session(build: Build) -> None:
    world = _stocks(build)
    days = [MONDAY, TUESDAY, WEDNESDAY]
    result = _run(world, days)
    rows = read_step(world.desk, US, performance.STEP, days)
    paper = rows[rows["symbol"] == "paper"]
    assert paper["equity_start"].tolist() == [100_000.0, 100_000.0, 100_200.0]
    assert paper["equity_end"].tolist() == [100_000.0, 100_200.0, 100_500.0]
    assert paper["day_return"].tolist() == pytest.approx([0.0, 0.002, 100_500 / 100_200 - 1])
    assert paper["trades"].tolist() == [0, 1, 1]
    assert paper["volume"].tolist() == [0.0, 10_000.0, 10_500.0]
    shadow = rows[rows["symbol"] == "shadow"]
    assert shadow["trades"].tolist() == [0, 1, 1]
    # Five basis points on either side of the open, and the fees of a sale.
    assert shadow["volume"].tolist() == pytest.approx([0.0, 10_005.0, 10_494.75])
    assert shadow["equity_end"].iloc[-1] == pytest.approx(100_000 + 10_494.75 - 10_005 - shadow["fees"].sum())
    assert shadow["realised"].sum() == pytest.approx(shadow["equity_end"].iloc[-1] - 100_000)
    assert result.outcomes[1].numbers["paper_return"] == pytest.approx(0.002)
    assert result.outcomes[2].numbers["shadow_trades"] == 1


def test_sessions_alone_and_a_range_give_the_same_rows(build: Build) -> None:
    world = _stocks(build)
    days = [MONDAY, TUESDAY, WEDNESDAY]
    _run(world, days)
    whole = _rows(world, days)
    for day in reversed(days):
        _run(world, [day])
    pd.testing.assert_frame_equal(_rows(world, days), whole, check_exact=True)


def test_a_day_round_the_clock_ends_with_its_own_last_bar(build: Build) -> None:
    days = [date(2026, 3, 1), date(2026, 3, 2)]
    script = {"KRW-AAA": {days[0]: [(0, 1000.0), (1380, 1200.0)], days[1]: [(60, 1100.0)]}}
    world = build(
        KRW, script, days[0], days[1], base_interval="1h", risk={"take_profit_pct": 0.9, "stop_loss_pct": -0.9}
    )
    midnight = datetime(2026, 3, 1, tzinfo=UTC)
    world.say(days[0], {"KRW-AAA": BUY}, bar=midnight)
    for hours in (1, 2, 23, 24, 25, 26):
        world.tick(midnight + hours * HOURS + 30 * timedelta(seconds=1))
    # The bar from 23 to 24 o'clock is the first day's, though it is decided when the second one has begun.
    for part in ([days[0]], [days[1]], days):
        _run(world, part)
        rows = _rows(world, days).reset_index().set_index(["symbol", "ts"]).sort_index()
        if part == days[:1]:
            continue
        for book in (Book.SHADOW, Book.PAPER):
            mine = rows.loc[str(book)]
            assert mine["equity_end"].tolist() == pytest.approx([102e6, 101e6], rel=2e-3), (book, part)
            assert mine["equity_start"].iloc[1] == mine["equity_end"].iloc[0]
            assert mine["trades"].tolist() == [1, 0]


def test_a_session_that_nobody_has_marked_has_no_row(build: Build) -> None:
    world = _stocks(build)
    result = _run(world, [date(2026, 3, 5)])
    assert [(o.rows, dict(o.numbers)) for o in result.outcomes] == [(0, {})]
