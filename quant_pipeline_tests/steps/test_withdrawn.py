"""Bars that a venue takes back: noticed by ticks and ranges, restated like any change, never for a poor answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.assets.bar_checks import check_results
from quant_pipeline.core.values import Origin, Quote
from quant_pipeline.steps import bars, repair
from quant_pipeline.steps.coverage import session_slots
from quant_pipeline.steps.dependants import next_work
from quant_pipeline.steps.desk import Venue
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.steps.timing import session_span, tick_session
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage
from quant_pipeline.storage.restatements import restatements
from quant_pipeline.venues.errors import VenueUnavailable
from quant_pipeline.venues.protocols import MarketData
from quant_pipeline_tests.steps.conftest import Build
from quant_pipeline_tests.steps.world import World, closes, opens

US, KRW = "us_equity", "krw_crypto"
MONDAY, TUESDAY, WEDNESDAY, THURSDAY = (date(2026, 3, day) for day in (2, 3, 4, 5))
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
_RUNS = itertools.count()


@pytest.fixture
def coins(build: Build) -> World:
    """Two coins that trade each minute."""
    return build(KRW, {"KRW-AAA": {MONDAY: [(0, 1000.0)]}, "KRW-BBB": {MONDAY: [(0, 500.0)]}}, MONDAY, WEDNESDAY)


@pytest.fixture
def stocks(build: Build) -> World:
    """Two stocks."""
    return build(US, {"AAA": {MONDAY: [(0, 100.0)]}, "BBB": {MONDAY: [(0, 50.0)]}}, MONDAY, THURSDAY)


@dataclass
class PoorData:
    """The answers of a venue after something went wrong with them on the way."""

    inner: MarketData
    spoil: Callable[[pd.DataFrame], pd.DataFrame]

    def bars(self, symbols: list[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        return self.spoil(self.inner.bars(symbols, interval, start, end)).reset_index(drop=True)

    def quotes(self, symbols: list[str]) -> dict[str, Quote]:
        return self.inner.quotes(symbols)

    def close(self) -> None:
        self.inner.close()


def _tick(world: World, at: datetime) -> bars.BarsReport:
    world.admin.set_clock(at)
    context = RunContext(at, f"run-{next(_RUNS)}", Origin.LIVE, tick=True)
    return bars.run(world.desk, world.market, (tick_session(world.market, at),), context)


def _range(world: World, *sessions: date) -> bars.BarsReport:
    return bars.run(world.desk, world.market, sessions, RunContext(world.admin.clock(), f"run-{next(_RUNS)}"))


def _minutes(world: World, day: date, symbol: str, **as_of: datetime) -> list[datetime]:
    found = read_bars(world.desk.db, world.market.name, "1m", [symbol], *session_span(day, day), **as_of)
    return [ts.to_pydatetime() for ts in found["ts"]]


def _coverage(world: World, day: date, symbol: str, interval: str = "1m") -> Coverage:
    (row,) = read_coverage(world.desk.db, world.market.name, [symbol], day, day, interval=interval)
    return row


def _revisions(world: World) -> list[tuple[str, datetime, float, str]]:
    with world.desk.db.begin() as connection:
        rows = connection.execute(
            text("SELECT symbol, ts, close, kind FROM bar_revisions ORDER BY superseded_at, symbol")
        )
        return [tuple(row) for row in rows]


def _events(world: World) -> list[tuple[str, str, int, date]]:
    return [(one.symbol, one.kind, one.bars, one.session) for one in reversed(restatements(world.desk.db))]


def _spoilt(world: World, spoil: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    venue = world.desk.venue(world.market)
    world.desk._venues[world.market.name] = Venue(PoorData(venue.data, spoil), venue.broker)


# Ticks


def test_a_minute_taken_back_inside_the_re_check_of_a_tick_is_deleted_and_restates_its_hour(coins: World) -> None:
    first, gone = opens(KRW, TUESDAY) + HOUR + MINUTE, opens(KRW, TUESDAY) + 58 * MINUTE
    _tick(coins, first)
    coins.admin.withdraw_bar(KRW, "KRW-AAA", "1m", gone)
    report = _tick(coins, first + MINUTE)
    assert (report.collected.withdrawn, report.collected.doubts) == (1, ())
    assert (report.result.numbers["bars_withdrawn"], report.result.numbers["restated"]) == (1, 1)
    assert gone not in _minutes(coins, TUESDAY, "KRW-AAA")
    assert gone in _minutes(coins, TUESDAY, "KRW-BBB")
    assert gone in _minutes(coins, TUESDAY, "KRW-AAA", as_of=first)
    assert _revisions(coins) == [("KRW-AAA", gone, 1000.0, "deleted")]
    assert _events(coins) == [("KRW-AAA", "deleted", 1, TUESDAY)]
    row = _coverage(coins, TUESDAY, "KRW-AAA")
    assert (row.present, row.no_trade, row.status) == (61, 1, "forming")
    (slots,) = session_slots(coins.desk, coins.market, "1m", [(TUESDAY, "KRW-AAA")], first + MINUTE)
    kinds = {run.kind.code: run.slots for run in slots.runs if run.start == pd.Timestamp(gone).value}
    assert kinds == {"no_trade": 1}
    again = _tick(coins, first + 2 * MINUTE)
    assert (again.collected.withdrawn, again.result.numbers["restated"]) == (0, 0)


def test_a_minute_taken_back_from_yesterday_is_found_by_the_sensor_of_changed_bars(coins: World) -> None:
    midnight, at = opens(KRW, TUESDAY), opens(KRW, TUESDAY) + HOUR + MINUTE
    coins = replace(coins, market=coins.market.model_copy(update={"recheck_bars": 70}))
    _tick(coins, midnight + MINUTE)
    coins.admin.withdraw_bar(KRW, "KRW-BBB", "1m", midnight - 2 * MINUTE)
    assert _tick(coins, at).collected.withdrawn == 1
    assert _events(coins) == []
    work = [w for w in next_work(coins.desk, coins.market, now=at) if w.steps == ("bars",)]
    assert [(w.first, w.last) for w in work] == [(MONDAY, MONDAY)]
    _range(coins, MONDAY)
    assert _events(coins) == [("KRW-BBB", "deleted", 1, MONDAY)]


def test_a_day_taken_back_from_a_share_is_deleted_once_days_on_both_sides_are_told(stocks: World) -> None:
    _tick(stocks, closes(US, TUESDAY))
    stocks.admin.withdraw_bar(US, "AAA", "1d", datetime.fromisoformat("2026-03-03T05:00:00+00:00"))
    early = _tick(stocks, closes(US, TUESDAY) + 10 * MINUTE)
    assert early.collected.withdrawn == 0
    assert "AAA (2026-03-03 05:00 UTC) are not in the venue's answer and were kept" in early.collected.doubts[0]
    late = _tick(stocks, closes(US, WEDNESDAY))
    assert (late.collected.withdrawn, late.collected.doubts) == (1, ())
    row = _coverage(stocks, TUESDAY, "AAA", "1d")
    assert (row.present, row.no_trade, row.status) == (0, 1, "complete")


def test_a_bar_that_is_given_again_comes_back(coins: World) -> None:
    first, gone = opens(KRW, TUESDAY) + 10 * MINUTE, opens(KRW, TUESDAY) + 8 * MINUTE
    _tick(coins, first)
    venue = coins.desk.venue(coins.market)
    _spoilt(coins, lambda answer: answer[answer["ts"] != gone])
    assert _tick(coins, first + MINUTE).collected.withdrawn == 2
    coins.desk._venues[KRW] = venue
    assert _tick(coins, first + 2 * MINUTE).collected.inserted == 4
    assert gone in _minutes(coins, TUESDAY, "KRW-AAA")
    assert _coverage(coins, TUESDAY, "KRW-AAA").no_trade == 0


# Ranges


def test_a_session_in_progress_that_a_range_asks_for_again_loses_what_was_taken_back(coins: World) -> None:
    at = opens(KRW, TUESDAY) + 3 * HOUR
    _tick(coins, at)
    gone = [opens(KRW, TUESDAY) + n * MINUTE for n in (20, 21, 75)]
    for starts in gone:
        coins.admin.withdraw_bar(KRW, "KRW-AAA", "1m", starts)
    report = _range(coins, TUESDAY)
    assert (report.collected.withdrawn, report.collected.requested_spans) == (3, 1)
    assert set(gone).isdisjoint(_minutes(coins, TUESDAY, "KRW-AAA"))
    assert _events(coins) == [("KRW-AAA", "deleted", 3, TUESDAY)]
    assert _coverage(coins, TUESDAY, "KRW-AAA").no_trade == 3


def test_a_repair_withdraws_nothing(coins: World) -> None:
    coins.admin.set_clock(opens(KRW, WEDNESDAY))
    _range(coins, TUESDAY)
    gone = opens(KRW, TUESDAY) + 20 * MINUTE
    coins.admin.withdraw_bar(KRW, "KRW-AAA", "1m", gone)
    with coins.desk.db.begin() as connection:
        connection.execute(
            text("UPDATE coverage SET status = 'partial', fetched_to = NULL, no_trade = 0, expected = 1500")
        )
    repair.repair_sessions(coins.desk, coins.market, [TUESDAY], RunContext(opens(KRW, WEDNESDAY), "repair"))
    assert gone in _minutes(coins, TUESDAY, "KRW-AAA")


# Answers that say nothing for certain, and bars that are not the venue's


POOR = [
    pytest.param(lambda answer: answer.iloc[:0], "the answer holds no bar of the symbol", 2, id="empty"),
    pytest.param(
        lambda answer: answer[answer["symbol"] == "KRW-BBB"], "the answer holds no bar of the symbol", 1, id="no symbol"
    ),
    pytest.param(
        lambda answer: answer.groupby("symbol").head(1), "the answer begins after them or ends before them", 2, id="cut"
    ),
    pytest.param(
        lambda answer: answer.groupby("symbol").tail(2),
        "the answer begins after them or ends before",
        2,
        id="begins late",
    ),
]


@pytest.mark.parametrize(("spoil", "why", "symbols"), POOR)
def test_a_poor_answer_withdraws_nothing_and_is_reported(
    coins: World, spoil: Callable[[pd.DataFrame], pd.DataFrame], why: str, symbols: int
) -> None:
    first = opens(KRW, TUESDAY) + 10 * MINUTE
    _tick(coins, first)
    before = [_minutes(coins, TUESDAY, symbol) for symbol in ("KRW-AAA", "KRW-BBB")]
    _spoilt(coins, spoil)
    report = _tick(coins, first + MINUTE)
    assert report.collected.withdrawn == 0
    assert len(report.collected.doubts) == symbols
    assert all(why in doubt for doubt in report.collected.doubts)
    for symbol, held in zip(("KRW-AAA", "KRW-BBB"), before, strict=True):
        assert set(held) <= set(_minutes(coins, TUESDAY, symbol))
    (check,) = [one for one in check_results(coins.market, report, tick=True) if one.check_name == "withdrawals"]
    assert (check.passed, check.metadata["violations"].value) == (False, symbols)


def test_a_hole_in_the_middle_of_an_answer_withdraws_nothing_and_is_reported(coins: World) -> None:
    _tick(coins, opens(KRW, TUESDAY) + 3 * HOUR)
    first, last = opens(KRW, TUESDAY) + HOUR, opens(KRW, TUESDAY) + HOUR + 3 * MINUTE
    _spoilt(coins, lambda answer: answer[(answer["ts"] < first) | (answer["ts"] > last)])
    report = _range(coins, TUESDAY)
    assert (report.collected.withdrawn, report.collected.inserted) == (0, 0)
    assert ["lacks too many bars" in doubt for doubt in report.collected.doubts] == [True, True]
    assert _coverage(coins, TUESDAY, "KRW-AAA").present == 180


def test_a_bar_that_only_the_first_answer_lacks_stays_and_is_reported(coins: World) -> None:
    first, lost = opens(KRW, TUESDAY) + 10 * MINUTE, opens(KRW, TUESDAY) + 8 * MINUTE
    _tick(coins, first)
    answers = itertools.count()
    _spoilt(coins, lambda answer: answer if next(answers) else answer[answer["ts"] != lost])
    report = _tick(coins, first + MINUTE)
    assert report.collected.withdrawn == 0
    assert ["a second answer" in doubt for doubt in report.collected.doubts] == [True, True]
    assert lost in _minutes(coins, TUESDAY, "KRW-AAA")


def test_a_bar_that_somebody_else_stores_while_the_venue_is_asked_stays(coins: World) -> None:
    first, lost = opens(KRW, TUESDAY) + 10 * MINUTE, opens(KRW, TUESDAY) + 8 * MINUTE
    _tick(coins, first)
    bar = read_bars(coins.desk.db, KRW, "1m", ["KRW-AAA"], lost, lost + MINUTE)

    def meanwhile(answer: pd.DataFrame) -> pd.DataFrame:
        upsert_bars(
            coins.desk.db, KRW, "1m", bar.assign(close=1000.5), source="file", feed="upbit", adjustment="raw", at=first
        )
        return answer[answer["ts"] != lost]

    _spoilt(coins, meanwhile)
    assert _tick(coins, first + MINUTE).collected.withdrawn == 1, "the other coin's bar is the venue's own"
    assert lost in _minutes(coins, TUESDAY, "KRW-AAA")
    assert lost not in _minutes(coins, TUESDAY, "KRW-BBB")


def test_an_answer_that_does_not_come_withdraws_nothing(coins: World) -> None:
    first = opens(KRW, TUESDAY) + 10 * MINUTE
    _tick(coins, first)
    before = _minutes(coins, TUESDAY, "KRW-AAA")

    def fails(_answer: pd.DataFrame) -> pd.DataFrame:
        msg = "the third page did not come"
        raise VenueUnavailable(msg)

    _spoilt(coins, fails)
    with pytest.raises(VenueUnavailable):
        _tick(coins, first + MINUTE)
    assert _minutes(coins, TUESDAY, "KRW-AAA") == before


@pytest.mark.parametrize(
    "origin",
    [("file", "upbit", "raw"), ("upbit_file", "upbit", "raw"), ("upbit", "other", "raw"), ("upbit", "upbit", "split")],
)
def test_bars_of_a_file_another_feed_or_other_units_are_not_the_venues_to_withdraw(
    coins: World, origin: tuple[str, str, str]
) -> None:
    first, foreign = opens(KRW, TUESDAY) + 10 * MINUTE, opens(KRW, TUESDAY) + 8 * MINUTE
    _spoilt(coins, lambda answer: answer[answer["ts"] != foreign])
    _tick(coins, first)
    assert foreign not in _minutes(coins, TUESDAY, "KRW-AAA")
    bar = read_bars(coins.desk.db, KRW, "1m", ["KRW-AAA"], foreign - MINUTE, foreign).assign(ts=pd.Timestamp(foreign))
    source, feed, adjustment = origin
    frame = bar.assign(ts=bar["ts"].astype("datetime64[ns, UTC]"))
    upsert_bars(coins.desk.db, KRW, "1m", frame, source=source, feed=feed, adjustment=adjustment, at=first)
    report = _tick(coins, first + MINUTE)
    assert (report.collected.withdrawn, report.collected.doubts) == (0, ())
    assert foreign in _minutes(coins, TUESDAY, "KRW-AAA")
