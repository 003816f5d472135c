"""Collecting bars: closed ones only, corrected ones over again, complete sessions never asked for twice."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.core.values import Origin
from quant_pipeline.steps import bars
from quant_pipeline.steps.collect import Collected
from quant_pipeline.steps.desk import Venue
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import session_span, tick_session
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage
from quant_pipeline.venues.errors import VenueUnavailable
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.venue_fakes import AgeingData
from quant_pipeline_tests.steps.world import World, closes, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))
MINUTES = timedelta(minutes=1)
_RUNS = itertools.count()


def _stocks(build: Build, **changes: object) -> World:
    script = {"AAA": {MONDAY: [(0, 100.0)], TUESDAY: [(60, 101.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}
    return build(US, script, MONDAY, THURSDAY, **changes)


def _coins(build: Build, **changes: object) -> World:
    script = {"KRW-AAA": {MONDAY: [(0, 1000.0), (300, 1010.0)]}, "KRW-BBB": {MONDAY: [(0, 500.0)]}}
    return build(KRW, script, MONDAY, THURSDAY, **changes)


def _tick(world: World, at: datetime) -> bars.BarsReport:
    world.admin.set_clock(at)
    context = RunContext(at, f"run-{next(_RUNS)}", Origin.LIVE, tick=True)
    return bars.run(world.desk, world.market, (tick_session(world.market, at),), context)


def _range(world: World, sessions: list[date], *, symbols: tuple[str, ...] | None = None) -> bars.BarsReport:
    context = RunContext(world.admin.clock(), f"run-{next(_RUNS)}", symbols=symbols)
    return bars.run(world.desk, world.market, sessions, context)


def _stored(world: World, interval: str, day: date) -> pd.DataFrame:
    return read_bars(world.desk.db, world.market.name, interval, None, *session_span(day, day))


def _coverage(world: World, interval: str) -> dict[tuple[date, str], Coverage]:
    found = read_coverage(world.desk.db, world.market.name, None, MONDAY, THURSDAY, interval=interval)
    return {(row.session, row.symbol): row for row in found}


def _spied(world: World) -> AgeingData:
    venue = world.desk.venue(world.market)
    data = AgeingData(venue.data)
    world.desk._venues[world.market.name] = Venue(data, venue.broker)
    return data


# Ticks


def test_a_tick_in_session_does_not_store_the_forming_day(build: Build) -> None:
    world = _stocks(build)
    for at in (opens(US, TUESDAY), opens(US, TUESDAY) + 60 * MINUTES, closes(US, TUESDAY) - timedelta(seconds=1)):
        report = _tick(world, at)
        assert report.result.outcomes[0].rows == 0
        assert _stored(world, "1d", TUESDAY).empty
    assert len(_stored(world, "1d", MONDAY)) == 2
    report = _tick(world, closes(US, TUESDAY))
    assert (report.collected.inserted, report.result.outcomes[0].rows) == (2, 2)
    assert _stored(world, "1d", TUESDAY)["close"].tolist() == [101.0, 50.0]


def test_a_tick_stores_closed_minutes_and_never_the_forming_one(build: Build) -> None:
    world = _coins(build)
    at = opens(KRW, TUESDAY) + 9 * MINUTES + timedelta(seconds=59)
    _tick(world, at)
    today = _stored(world, "1m", TUESDAY)
    assert today["ts"].max() == pd.Timestamp(opens(KRW, TUESDAY) + 8 * MINUTES)
    assert len(today) == 2 * 9
    assert len(_stored(world, "1m", MONDAY)) == 2 * 1440
    _tick(world, at + timedelta(seconds=1))
    assert len(_stored(world, "1m", TUESDAY)) == 2 * 10


def test_a_tick_asks_from_the_last_stored_bar_less_the_re_check(build: Build) -> None:
    world = _coins(build, recheck_bars=4)
    first = opens(KRW, TUESDAY) + 10 * MINUTES
    _tick(world, first)
    data = _spied(world)
    report = _tick(world, first + 5 * MINUTES)
    ((_, interval, start, end),) = data.asked
    last = first - MINUTES
    assert (interval, start, end) == ("1m", last - 4 * MINUTES, first + 5 * MINUTES)
    assert report.collected == Collected(inserted=10, changed=0, unchanged=2 * (4 + 1), requested_spans=1)


def test_a_market_in_which_nobody_trades_is_not_asked_about_from_its_last_trade_on(build: Build) -> None:
    script = {"KRW-AAA": {MONDAY: [(0, 1000.0)]}, "KRW-BBB": {MONDAY: [(0, 500.0)], TUESDAY: [(5, float("nan"))]}}
    world = build(KRW, script, MONDAY, TUESDAY)
    at = opens(KRW, TUESDAY) + 60 * MINUTES
    _tick(world, at)
    data = _spied(world)
    _tick(world, at + MINUTES)
    ((_, _, start, _),) = data.asked
    assert start == at - MINUTES - world.market.recheck_bars * MINUTES
    assert _coverage(world, "1m")[TUESDAY, "KRW-BBB"].present == 5


def test_a_tick_each_minute_stores_every_bar_once_it_has_closed_and_follows_a_late_correction(build: Build) -> None:
    world = _coins(build, tick_minutes=1)
    first = opens(KRW, TUESDAY) + 10 * MINUTES
    _tick(world, first)
    for n in range(1, 6):
        report = _tick(world, first + n * MINUTES + timedelta(seconds=7))
        assert (report.collected.inserted, report.collected.changed) == (2, 0)
        newest = _stored(world, "1m", TUESDAY)["ts"].max()
        assert newest == pd.Timestamp(first + (n - 1) * MINUTES)
    late = _stored(world, "1m", TUESDAY).query("symbol == 'KRW-BBB'").tail(1).assign(volume=1.0)
    store_bars(world.desk, KRW, "1m", late, at=first + 5 * MINUTES)
    for n, corrected in ((6, 1), (7, 0)):
        assert _tick(world, first + n * MINUTES).collected.changed == corrected
    assert set(_stored(world, "1m", TUESDAY)["volume"]) == {1000.0}


def test_a_correction_of_the_last_bars_overwrites_what_was_stored(build: Build) -> None:
    world = _coins(build)
    first = opens(KRW, TUESDAY) + 10 * MINUTES
    _tick(world, first)
    right = _stored(world, "1m", TUESDAY)
    wrong = right[right["symbol"] == "KRW-AAA"].iloc[[0, -1]].assign(close=1.0, low=1.0)
    assert store_bars(world.desk, KRW, "1m", wrong, at=first).changed == 2
    report = _tick(world, first + MINUTES)
    assert (report.collected.inserted, report.collected.changed) == (2, 1)
    after = _stored(world, "1m", TUESDAY).query("symbol == 'KRW-AAA'")["close"].tolist()
    # The newest is mended at once; what is older than the re-check waits for a range or a restatement.
    assert after == [1.0] + [1010.0] * 10


def test_ticks_leave_complete_coverage_behind(build: Build) -> None:
    world = _coins(build)
    at = opens(KRW, TUESDAY) + 5 * MINUTES
    while at < opens(KRW, WEDNESDAY) + 10 * MINUTES:
        _tick(world, at)
        at += timedelta(hours=3)
    _tick(world, opens(KRW, WEDNESDAY) + 5 * MINUTES)
    found = _coverage(world, "1m")
    assert {(row.status, row.present, row.expected) for key, row in found.items() if key[0] == MONDAY} == {
        ("complete", 1440, 1440)
    }
    assert {(row.status, row.present, row.no_trade) for key, row in found.items() if key[0] == TUESDAY} == {
        ("complete", 1440, 0)
    }
    assert {(row.status, row.present) for key, row in found.items() if key[0] == WEDNESDAY} == {("forming", 5)}


def test_a_day_that_ticks_saw_only_in_part_is_not_called_complete(build: Build) -> None:
    world = _coins(build)
    _tick(world, opens(KRW, MONDAY) + 60 * MINUTES)
    # The desk is down until Wednesday: that tick goes back to Tuesday, Monday afternoon is missing.
    _tick(world, opens(KRW, WEDNESDAY) + 60 * MINUTES)
    found = _coverage(world, "1m")
    assert {key[0]: (row.status, row.present) for key, row in found.items() if key[1] == "KRW-AAA"} == {
        MONDAY: ("forming", 60),
        TUESDAY: ("complete", 1440),
        WEDNESDAY: ("forming", 60),
    }
    report = _range(world, [MONDAY, TUESDAY])
    assert (report.collected.inserted, report.collected.requested_spans) == (2 * 1380, 1)
    assert _coverage(world, "1m")[MONDAY, "KRW-AAA"].status == "complete"


# Ranges


def test_a_range_asks_once_for_what_is_missing_and_never_again(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, WEDNESDAY))
    data = _spied(world)
    report = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert (report.collected.inserted, len(data.asked)) == (6, 1)
    assert {row.status for row in _coverage(world, "1d").values()} == {"complete"}
    again = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert (again.collected, len(data.asked)) == (Collected(), 1)
    assert again.result.outcomes == report.result.outcomes


def test_a_range_asks_again_for_the_session_in_progress(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(opens(US, WEDNESDAY) + 60 * MINUTES)
    data = _spied(world)
    report = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert [o.rows for o in report.result.outcomes] == [2, 2, 0]
    world.admin.set_clock(closes(US, WEDNESDAY))
    again = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert again.collected.inserted == 2
    assert data.asked[1][2:] == (session_span(WEDNESDAY, WEDNESDAY)[0], closes(US, WEDNESDAY))


def test_a_range_limited_to_a_symbol_collects_and_records_that_one(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, TUESDAY))
    _range(world, [MONDAY, TUESDAY], symbols=("BBB",))
    assert {symbol for _, symbol in _coverage(world, "1d")} == {"BBB"}
    report = _range(world, [MONDAY, TUESDAY])
    assert report.collected.inserted == 2


def test_a_range_is_fetched_in_pieces_each_committed_before_the_next_is_asked_for(build: Build) -> None:
    world = _stocks(build, collect_chunk_rows=2)
    world.admin.set_clock(closes(US, WEDNESDAY))
    data, told, stored = _spied(world), [], []
    context = RunContext(world.admin.clock(), "in pieces")

    def progress(text: str, part: float) -> None:
        told.append((text, round(part, 2)))
        stored.append((len(_coverage(world, "1d")), sum(len(_stored(world, "1d", d)) for d in (MONDAY, TUESDAY))))

    report = bars.run(world.desk, world.market, [MONDAY, TUESDAY, WEDNESDAY], context, progress=progress)
    assert told == [
        ("1d bars of 2 symbols from 2026-03-02 to 2026-03-02", 0.0),
        ("1d bars of 2 symbols from 2026-03-03 to 2026-03-03", 0.33),
        ("1d bars of 2 symbols from 2026-03-04 to 2026-03-04", 0.67),
        ("6 bars new, 0 changed", 1.0),
    ]
    assert stored == [(0, 0), (2, 2), (4, 4), (6, 4)]
    assert (report.collected.requested_spans, len(data.asked)) == (3, 3)


def test_pieces_that_were_fetched_before_a_failure_are_not_asked_for_again(build: Build) -> None:
    world = _stocks(build, collect_chunk_rows=2)
    world.admin.set_clock(closes(US, WEDNESDAY))
    data = _spied(world)
    data.fails_at = 2
    with pytest.raises(VenueUnavailable):
        _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    report = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert (report.collected.inserted, report.collected.unchanged) == (4, 0)
    assert [start.date() for _, _, start, _ in data.asked] == [MONDAY, TUESDAY, TUESDAY, WEDNESDAY]


def test_a_symbol_that_is_new_is_collected_alone(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, TUESDAY))
    _range(world, [MONDAY, TUESDAY], symbols=("AAA",))
    data = _spied(world)
    _range(world, [MONDAY, TUESDAY])
    assert [symbols for symbols, *_ in data.asked] == [("BBB",)]


def test_old_sessions_are_collected_at_the_decision_interval_and_recent_ones_as_minutes(build: Build) -> None:
    world = _coins(build, recent_base_sessions=1)
    world.admin.set_clock(opens(KRW, THURSDAY))
    data = _spied(world)
    report = _range(world, [MONDAY, TUESDAY, WEDNESDAY])
    assert [(interval, start) for _, interval, start, _ in data.asked] == [
        ("1h", opens(KRW, MONDAY)),
        ("1m", opens(KRW, WEDNESDAY)),
    ]
    assert [o.rows for o in report.result.outcomes] == [48, 48, 48]


def test_nothing_is_asked_of_the_future(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, MONDAY))
    data = _spied(world)
    report = _range(world, [TUESDAY, WEDNESDAY])
    assert (report.collected, data.asked) == (Collected(), [])
    assert [o.rows for o in report.result.outcomes] == [0, 0]


def test_collecting_can_be_switched_off(build: Build) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, MONDAY))
    data = _spied(world)
    context = RunContext(world.admin.clock(), "stored only")
    report = bars.run(world.desk, world.market, [MONDAY], context, collect=False)
    assert (report.collected, data.asked, report.result.outcomes[0].rows) == (Collected(), [], 0)


# What is said about them


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"high": 1.0}, "high_below_body"),
        ({"low": 1e6}, "low_above_body"),
        ({"open": -5.0, "low": -5.0}, "price_not_positive"),
        ({"volume": -1.0}, "negative_volume"),
    ],
)
def test_a_bar_that_breaks_a_rule_is_named_with_its_session(build: Build, change: dict[str, float], rule: str) -> None:
    world = _stocks(build)
    world.admin.set_clock(closes(US, TUESDAY))
    _range(world, [MONDAY, TUESDAY])
    bad = _stored(world, "1d", TUESDAY).query("symbol == 'AAA'").assign(**change)
    store_bars(world.desk, US, "1d", bad, at=closes(US, TUESDAY))
    report = _range(world, [MONDAY, TUESDAY])
    assert rule in {violation.rule for violation in report.violations}
    assert report.result.numbers["violations"] == len(report.violations)
    assert bars.bad_sessions(report.violations) == {(TUESDAY, "AAA")}


def test_a_replaced_bar_is_kept_as_a_revision(build: Build) -> None:
    world = _stocks(build)
    _tick(world, closes(US, MONDAY) + MINUTES)
    stored = _stored(world, "1d", MONDAY)
    store_bars(world.desk, US, "1d", stored.assign(close=1.0, low=1.0), at=closes(US, MONDAY) + 2 * MINUTES)
    _tick(world, closes(US, MONDAY) + 10 * MINUTES)
    with world.desk.db.begin() as connection:
        kept = connection.execute(text("SELECT close, superseded_at FROM bar_revisions ORDER BY superseded_at, symbol"))
        rows = [tuple(row) for row in kept]
    assert [close for close, _ in rows] == [100.0, 50.0, 1.0, 1.0]
    assert rows[-1][1] == datetime(2026, 3, 2, 21, 10, tzinfo=UTC)
