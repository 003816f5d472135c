"""The decisions step: the shadow book rolled day by day and in ranges, versions of rows, and data that cannot be used."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.core.values import Book, Origin
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars, decisions
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.shadow import MissingSessionError
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.steps.timing import session_span
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import Decision, latest_decisions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.world import BUY, HOLD, SELL, Say, opened_desk, settings_for, store_said

US, KRW = "us_equity", "krw_crypto"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
SYMBOLS = ("AAA", "BBB", "CCC")
SPAN = calendar.sessions("nyse", date(2026, 3, 2), date(2026, 3, 20))
BARS = pd.concat([daily_walk(symbol, SPAN, seed=i) for i, symbol in enumerate(SYMBOLS)], ignore_index=True)
_RUNS = itertools.count()


def _opinion(number: float) -> Say:
    """Something to say: about a third each buys, sells and holds."""
    vote = int(np.sign(round(number, 1))) if abs(number) > 0.3 else 0
    return Say(vote, number / 20, confidence=0.75 + 0.2 * abs(number))


def _say_something(desk: Desk, market: MarketSettings, starts: Sequence[datetime]) -> None:
    random = np.random.default_rng(11)
    said: dict[tuple[str, datetime], Say] = {}
    for start in starts:
        numbers = random.uniform(-1, 1, len(market.symbols))
        said |= {(symbol, start): _opinion(float(n)) for symbol, n in zip(market.symbols, numbers, strict=True)}
    store_said(desk, market, said)


def _daily_starts(sessions: Sequence[date] = SPAN) -> list[datetime]:
    return [calendar.daily_bar_start("nyse", session) for session in sessions]


def _desk(folder: Path, database: Database, market: str = US, **changes: object) -> Iterator[Desk]:
    given = {"symbols": SYMBOLS, "history_start": SPAN[0], **changes}
    with opened_desk(settings_for(folder, market, **given), database) as desk:
        yield desk


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk with bars and opinions of three weeks, and nothing decided."""
    for opened in _desk(tmp_path / "home", database):
        store_bars(opened, US, "1d", BARS)
        _say_something(opened, opened.settings.us_equity, _daily_starts())
        yield opened


@pytest.fixture
def another(tmp_path: Path, postgres: Dsn, migrated_template: Dsn) -> Iterator[Desk]:
    """A second desk that knows the same."""
    with new_database(postgres, template=migrated_template.database) as dsn:
        for opened in _desk(tmp_path / "another", Database(dsn)):
            store_bars(opened, US, "1d", BARS)
            _say_something(opened, opened.settings.us_equity, _daily_starts())
            yield opened


def _run(desk: Desk, sessions: Sequence[date], *, now: datetime = NOW) -> None:
    """A backfill; nobody trades."""
    context = RunContext(now, f"run-{next(_RUNS)}", Origin.BACKFILL)
    market = desk.settings.markets[0]
    bars.run(desk, market, sessions, context, collect=False)
    decisions.run(desk, market, sessions, context)


def _decided(desk: Desk, sessions: Sequence[date] = SPAN, market: str = US) -> tuple[Decision, ...]:
    return latest_decisions(desk.db, market, Book.SHADOW, sessions[0], sessions[-1])


def _states(desk: Desk, market: str = US) -> dict[date, str]:
    return shadow_state_hashes(desk.db, market, SPAN[0], SPAN[-1])


def _rows(desk: Desk, book: Book = Book.SHADOW) -> int:
    """Every version of every decision."""
    with desk.db.begin() as connection:
        sql = text("SELECT count(*) FROM decisions WHERE book = :book")
        count: int = connection.execute(sql, {"book": book}).scalar_one()
    return count


def test_day_by_day_and_a_range_make_the_same_decisions_and_the_same_book(desk: Desk, another: Desk) -> None:
    _run(desk, SPAN)
    for session in SPAN:
        _run(another, [session])
    assert _states(desk) == _states(another)
    assert len(_states(desk)) == len(SPAN)
    whole, single = ({d.id: (d.symbol, d.bar_ts, d.reason, d.version) for d in _decided(x)} for x in (desk, another))
    assert whole == single
    assert len(whole) == len(SPAN) * len(SYMBOLS)
    assert {"buy_signal", "sell_signal", "hold_vote"} <= {d.reason for d in _decided(desk)}
    for step in (decisions.STEP, decisions.FILLS):
        frames = [read_step(x, US, step, SPAN) for x in (desk, another)]
        pd.testing.assert_frame_equal(*frames, check_exact=True)
        assert len(frames[0]) > 0


def test_a_range_after_a_range_rolls_on_from_the_stored_state(desk: Desk, another: Desk) -> None:
    _run(desk, SPAN)
    for part in (SPAN[:4], SPAN[4:5], SPAN[5:]):
        _run(another, part)
    assert _states(desk) == _states(another)


def test_a_missing_session_before_is_named_with_the_remedy(desk: Desk) -> None:
    _run(desk, SPAN[:3])
    wanted = rf"no state after {SPAN[4]}, so {SPAN[5]} cannot follow it; materialize us_equity/decisions from {SPAN[3]}"
    with pytest.raises(MissingSessionError, match=wanted):
        _run(desk, SPAN[5:7])
    assert list(_states(desk)) == list(SPAN[:3])


def test_the_shadow_book_begins_where_a_desk_decides_first_and_earlier_when_it_is_asked_to(
    desk: Desk, another: Desk
) -> None:
    _run(desk, SPAN[4:])
    assert list(_states(desk)) == list(SPAN[4:])
    _run(another, SPAN)
    assert _states(desk) != {s: h for s, h in _states(another).items() if s in SPAN[4:]}
    _run(desk, SPAN)
    assert _states(desk) == _states(another)


def test_a_run_again_adds_no_row(desk: Desk) -> None:
    _run(desk, SPAN)
    before, rows = _decided(desk), _rows(desk)
    _run(desk, SPAN)
    _run(desk, SPAN[3:5])
    assert (_decided(desk), _rows(desk)) == (before, rows)


def test_a_changed_opinion_makes_the_next_version_and_keeps_the_old_row(desk: Desk) -> None:
    _run(desk, SPAN)
    before = {(d.symbol, d.session): d for d in _decided(desk)}
    rows, day = _rows(desk), SPAN[-1]
    start = calendar.daily_bar_start("nyse", day)
    said = {(symbol, start): HOLD for symbol in SYMBOLS} | {("AAA", start): Say(1, 0.04, confidence=0.71)}
    store_said(desk, desk.settings.us_equity, said)
    # Its hash is part of what a decision was made from.
    _run(desk, [day])
    after = {(d.symbol, d.session): d for d in _decided(desk)}
    changed = {key for key in after if after[key].id != before[key].id}
    assert changed <= {(symbol, day) for symbol in SYMBOLS}
    assert ("AAA", day) in changed
    assert {after[key].version for key in changed} == {2}
    assert _rows(desk) == rows + len(changed)
    # And back again: not the old row, but a third version that says the same.
    _say_something(desk, desk.settings.us_equity, _daily_starts())
    _run(desk, [day])
    again = {(d.symbol, d.session): d for d in _decided(desk)}
    assert {again[key].version for key in changed} == {3}
    assert all(again[key].reason == before[key].reason for key in changed)


def test_a_changed_book_makes_new_versions_of_every_session_that_follows(desk: Desk) -> None:
    _run(desk, SPAN)
    before = {(d.symbol, d.session): d for d in _decided(desk)}
    day = next(d.session for d in _decided(desk) if d.reason == "buy_signal")
    start = calendar.daily_bar_start("nyse", day)
    store_said(desk, desk.settings.us_equity, {(symbol, start): HOLD for symbol in SYMBOLS})
    _run(desk, [s for s in SPAN if s >= day])
    after = {(d.symbol, d.session): d for d in _decided(desk)}
    assert all(after[key].id == before[key].id for key in after if key[1] < day)
    follow = {key for key in after if key[1] > day}
    assert {after[key].version for key in follow} == {2}


def test_a_session_without_closed_bars_is_rolled_through(desk: Desk) -> None:
    market = desk.settings.us_equity
    opens = calendar.session_hours("nyse", SPAN[1]).opens_at
    _run(desk, SPAN[:1])
    _run(desk, SPAN[1:2], now=opens)
    states = _states(desk)
    assert states[SPAN[0]] == states[SPAN[1]]
    assert _decided(desk, SPAN[1:2]) == ()
    assert read_step(desk, market.name, decisions.STEP, SPAN[1:2]).empty
    _run(desk, SPAN[1:2])
    assert len(_decided(desk, SPAN[1:2])) == 3


# Data that cannot be used


@pytest.mark.parametrize(
    "change",
    [{"high": 1.0}, {"low": 1e6}, {"open": -5.0, "low": -5.0}, {"close": -1.0, "low": -1.0}, {"volume": -1.0}],
    ids=lambda change: next(iter(change)),
)
def test_a_bad_bar_becomes_a_hold_with_its_reason_in_a_range(desk: Desk, change: dict[str, float]) -> None:
    market, day = desk.settings.us_equity, SPAN[5]
    start = pd.Timestamp(calendar.daily_bar_start("nyse", day))
    bad = BARS[(BARS["symbol"] == "BBB") & (BARS["ts"] == start)].assign(**change)
    store_bars(desk, US, "1d", bad)
    said = {(symbol, start.to_pydatetime()): BUY for symbol in SYMBOLS}
    store_said(desk, market, said)
    _run(desk, SPAN)
    reasons = {d.symbol: (d.action, d.reason) for d in _decided(desk, [day])}
    assert reasons["BBB"] == (0, "bad_data")
    assert reasons["AAA"][1] != "bad_data"
    assert len(_decided(desk)) == len(SPAN) * len(SYMBOLS)


def test_a_held_symbol_with_a_bad_bar_keeps_its_value_and_is_not_sold_on_it(desk: Desk) -> None:
    market = desk.settings.us_equity
    flat = BARS.assign(open=100.0, high=100.0, low=100.0, close=100.0)
    store_bars(desk, US, "1d", flat)
    for session, start in zip(SPAN, _daily_starts(), strict=True):
        store_said(desk, market, {(s, start): BUY if session == SPAN[0] else HOLD for s in SYMBOLS})
    bad = flat[(flat["symbol"] == "AAA") & (flat["ts"] == pd.Timestamp(_daily_starts()[3]))]
    store_bars(desk, US, "1d", bad.assign(low=-50.0, close=-40.0))
    _run(desk, SPAN[:6])
    fills = read_step(desk, US, decisions.FILLS, SPAN[:6])
    assert fills["side"].tolist() == [1, 1, 1]
    equity = {d.session: d.equity for d in _decided(desk, SPAN[:6]) if d.symbol == "AAA"}
    assert equity[SPAN[3]] == equity[SPAN[2]] == equity[SPAN[4]]


def test_a_symbol_without_a_bar_has_no_decision_and_one_without_a_vote_has_no_history(desk: Desk) -> None:
    market, day = desk.settings.us_equity, SPAN[0]
    start = _daily_starts()[0]
    store_said(desk, market, {("AAA", start): SELL})
    wider = market.model_copy(update={"symbols": (*SYMBOLS, "NEW")})
    context = RunContext(NOW, f"run-{next(_RUNS)}")
    decisions.run(desk, wider, [day], context)
    reasons = {d.symbol: d.reason for d in _decided(desk, [day])}
    assert reasons == {"AAA": "nothing_to_sell", "BBB": "no_history", "CCC": "no_history"}


# Round the clock


def test_ticks_hour_by_hour_and_a_backfill_end_in_the_same_book(
    build: Build, tmp_path: Path, postgres: Dsn, migrated_template: Dsn
) -> None:
    day, symbols = date(2026, 3, 1), ("KRW-AAA", "KRW-BBB", "KRW-CCC")
    random = np.random.default_rng(5)
    prices = {
        s: {day: [(60 * h, round(1000.0 * float(random.uniform(0.97, 1.03)))) for h in range(6)]} for s in symbols
    }
    starts = [datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(6)]
    world = build(KRW, prices, day, day, base_interval="1h")
    _say_something(world.desk, world.market, starts)
    for start in starts:
        world.tick(start + timedelta(hours=1))
        world.tick(start + timedelta(hours=1, minutes=5))
    ticked = _decided(world.desk, [day], KRW)
    assert len(ticked) == 6 * 3
    assert {d.version for d in ticked} == {1}
    assert _rows(world.desk) == len(ticked)
    state = shadow_state_hashes(world.desk.db, KRW, day, day)
    with new_database(postgres, template=migrated_template.database) as dsn:
        changes = {"symbols": symbols, "history_start": day, "base_interval": "1h"}
        for other in _desk(tmp_path / "other", Database(dsn), KRW, **changes):
            store_bars(other, KRW, "1h", read_bars(world.desk.db, KRW, "1h", None, *session_span(day, day)))
            _say_something(other, other.settings.krw_crypto, starts)
            _run(other, [day], now=starts[-1] + timedelta(hours=1))
            backfilled = _decided(other, [day], KRW)
            assert shadow_state_hashes(other.db, KRW, day, day) == state
    assert [(d.id, d.reason, d.equity, d.qty) for d in backfilled] == [
        (d.id, d.reason, d.equity, d.qty) for d in ticked
    ]
    assert {d.reason for d in ticked} >= {"buy_signal", "hold_vote"}


def test_a_tick_keeps_a_decision_that_says_the_same_and_versions_one_that_does_not(build: Build) -> None:
    day, bar = date(2026, 3, 1), datetime(2026, 3, 1, tzinfo=UTC)
    world = build(KRW, {"KRW-AAA": {day: [(0, 1000.0)]}}, day, day, base_interval="1h")
    world.say(day, {"KRW-AAA": BUY}, bar=bar)
    world.tick(bar + timedelta(minutes=61))
    world.tick(bar + timedelta(minutes=66))
    assert _rows(world.desk) == 1
    world.say(day, {"KRW-AAA": Say(1, 0.02, confidence=0.9)}, bar=bar)
    world.tick(bar + timedelta(minutes=71))
    (made,) = _decided(world.desk, [day], KRW)
    assert (made.version, made.confidence, _rows(world.desk)) == (2, 0.9, 2)
