"""Another feed or another verdict on bars that stay as they are: found like a changed bar, and exactly what it bears on."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.steps import bars, decisions, features, indicators, performance, predictions, signals, training
from quant_pipeline.steps.dependants import Work, next_work
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bar_quality import read_quality
from quant_pipeline.storage.coverage import read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.models import list_model_versions
from quant_pipeline.storage.restatements import restatements
from quant_pipeline.storage.touched import count_touched
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.plain_coverage import WrittenData
from quant_pipeline_tests.steps.restating import (
    Versions,
    contents,
    import_bars,
    renewed,
    settle,
    trending_walk,
    versions,
)
from quant_pipeline_tests.steps.world import opened_desk, settings_for

KRW, A, B = "krw_crypto", "KRW-AAA", "KRW-BBB"
DAYS = calendar.sessions("always", date(2025, 10, 1), date(2026, 3, 10))
MONTH = date(2026, 3, 1)
HOLE, SILENT = date(2026, 1, 24), date(2026, 2, 22)
"""Days on which A has no bar from 04:00 to 11:00: a file with a hole, and hours that are known to have had no trade."""
NOW = datetime(2026, 3, 11, 3, tzinfo=UTC)
LATER = NOW + timedelta(hours=1)


def _hours(symbol: str, seed: int) -> pd.DataFrame:
    """Hours whose days go on for a while in one direction, so that models find something and are accepted."""
    days = trending_walk(
        symbol, calendar.sessions("nyse", date(2024, 1, 2), date(2025, 12, 31))[: len(DAYS) + 1], seed=seed
    )
    random = np.random.default_rng(seed)
    at = np.arange(24 * len(DAYS)) / 24
    close = np.interp(at, np.arange(len(days)), days["close"].to_numpy()) * np.exp(random.normal(0, 0.0005, len(at)))
    ts = pd.date_range(pd.Timestamp(DAYS[0], tz="UTC"), periods=len(at), freq="1h", unit="ns")
    prices = {"open": close * 0.9999, "high": close * 1.001, "low": close * 0.999, "close": close}
    return pd.DataFrame(
        {"symbol": symbol, "ts": ts, **prices, "volume": random.integers(1000, 9000, len(at)).astype(float)}
    )


WALKS = pd.concat([_hours(A, 0), _hours(B, 1)], ignore_index=True)
BARS = WALKS[
    ~((WALKS["symbol"] == A) & WALKS["ts"].dt.date.isin([HOLE, SILENT]) & WALKS["ts"].dt.hour.isin(range(4, 11)))
]

type Contents = Mapping[tuple[str, date, str], str]


@pytest.fixture(scope="module")
def computed(
    postgres: Dsn, migrated_template: Dsn, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Settings, Dsn]]:
    """A desk of hourly coins with all results and the models of one month, to be copied."""
    ai = {"training_sessions": 120, "min_training_sessions": 30, "confidence_threshold": 0.1}
    ai |= {"buy_threshold": 1e-4, "sell_threshold": -1e-4}
    given = {"symbols": (A, B), "base_interval": "1h", "history_start": DAYS[0], "min_history_sessions": 10, "ai": ai}
    settings = settings_for(tmp_path_factory.mktemp("desk"), KRW, vote={"mode": "abstain"}, **given)
    with new_database(postgres, template=migrated_template.database) as dsn:
        with opened_desk(settings, Database(dsn)) as opened:
            opened.registry = None  # type: ignore[assignment]
            import_bars(opened, KRW, BARS, NOW, interval="1h")
            _say_partial(opened, HOLE)
            market, context = opened.settings.krw_crypto, RunContext(NOW, "first")
            bars.run(opened, market, DAYS, context, collect=False)
            for step in (indicators, signals, features):
                step.run(opened, market, DAYS, context)
            training.run(opened, market, [MONTH], context)
            for step in (predictions, decisions, performance):
                step.run(opened, market, DAYS, context)
            accepted = {v.symbol for v in list_model_versions(opened.db, KRW) if v.status != "rejected"}
            assert accepted == {A, B}
            assert next_work(opened, market, now=NOW) == ()
        yield settings, dsn


@pytest.fixture
def desk(postgres: Dsn, computed: tuple[Settings, Dsn]) -> Iterator[Desk]:
    """A copy of it."""
    settings, template = computed
    with new_database(postgres, template=template.database) as dsn, opened_desk(settings, Database(dsn)) as opened:
        opened.registry = None  # type: ignore[assignment]
        yield opened


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.krw_crypto


def _say_partial(desk: Desk, day: date) -> None:
    """As an import of a file that may lack lines says it."""
    (row,) = read_coverage(desk.db, KRW, [A], day, day)
    record_coverage(desk.db, [replace(row, expected=24, status="partial")])


def _rename_feed(desk: Desk, since: date, feed: str = "sip") -> None:
    rows = read_coverage(desk.db, KRW, [A], since, DAYS[-1])
    record_coverage(desk.db, [replace(row, feed=feed, checked_at=LATER) for row in rows])


def _bad(desk: Desk) -> dict[tuple[date, str], str]:
    rows = read_quality(desk.db, KRW, None, DAYS[0], DAYS[-1], found_only=True)
    return {(row.session, row.symbol): row.rules for row in rows if row.status == "bad"}


def _crossed(since: date, warmup: int) -> set[tuple[date, str]]:
    """The days whose window holds a bar of `since` and one before it; counted out over hours."""
    own = BARS.loc[BARS["symbol"] == A, "ts"].dt.date.tolist()
    at, found = own.index(since), set()
    for day in (day for day in DAYS if day >= since):
        first = next(i for i, one in enumerate(own) if one >= day.replace(day=1))
        if max(0, first - warmup) < at:
            found.add((day, A))
    return found


def _other(step: str, before: Contents, after: Contents) -> set[tuple[date, str]]:
    return {(day, s) for (name, day, s), value in after.items() if name == step and before.get((name, day, s)) != value}


def _settled(
    desk: Desk, before: Versions | None = None
) -> tuple[list[Work], dict[str, set[tuple[date, str]]], Contents, Contents]:
    """Everything that is asked for, done: the work, what is new since `before` (now) by step, contents then and after."""
    before = before or versions(desk)
    works = settle(desk, _market(desk), LATER)
    after = versions(desk)
    assert next_work(desk, _market(desk), now=LATER) == ()
    assert count_touched(desk.db, KRW) == 0
    assert restatements(desk.db) == ()
    return works, renewed(before, after), contents(desk, before), contents(desk, after)


def _assert_follows(desk: Desk, new: dict[str, set[tuple[date, str]]], before: Contents, after: Contents) -> None:
    """Predictions and decisions are made anew exactly where something that they are made from has other content."""
    own = _other("features", before, after) | _other("signals", before, after)
    # A model that is rejected leaves the old one serving.
    usable = {v.content_hash for v in list_model_versions(desk.db, KRW) if v.status != "rejected"}
    other = {s for month, s in _other("model", before, after) if after["model", month, s] in usable}
    served = {(day, s) for s in other for day in DAYS if day.replace(day=1) == MONTH}
    assert new.get("predictions", set()) == own | served
    steps = ("features", "signals", "indicators", "predictions")
    decided = {key for step in steps for key in _other(step, before, after)} | new["bar_facts"] & _verdicts(new)
    # The book is one: what is decided afterwards may be another amount.
    assert new.get("decisions", set()) >= decided
    assert new.get("decisions", set()) - decided == _other("decisions", before, after) - decided


def _verdicts(new: dict[str, set[tuple[date, str]]]) -> set[tuple[date, str]]:
    """Facts that are one day's verdict; a feed is that of many days and is nothing that decisions read."""
    return new["bar_facts"] if len(new["bar_facts"]) == 1 else set()


# Feeds


@pytest.mark.parametrize("since", [date(2026, 2, 18), date(2026, 3, 5)], ids=["in the lessons", "after the lessons"])
def test_another_feed_of_the_same_bars_makes_exactly_the_windows_across_its_seam_anew(desk: Desk, since: date) -> None:
    _rename_feed(desk, since)
    works, new, before, after = _settled(desk)
    assert new["bar_facts"] == {(day, A) for day in DAYS if day >= since}
    assert "bars" not in new
    assert new["features"] == _crossed(since, FEATURE_SET.warmup_bars(24))
    assert new["indicators"] == _crossed(since, max_warmup())
    assert new.get("signals", set()) == _other("indicators", before, after)
    learned = {MONTH for day, _ in _other("features", before, after) if day < MONTH}
    assert new.get("model", set()) == {(month, A) for month in learned}
    _assert_follows(desk, new, before, after)
    assert [(w.first, w.last) for w in works if w.steps == ("bars",)] == [(since, DAYS[-1])]


def test_a_feed_that_a_run_of_bars_alone_has_looked_at_is_found_all_the_same(desk: Desk) -> None:
    since, then = date(2026, 3, 5), versions(desk)
    _rename_feed(desk, since)
    days = [day for day in DAYS if day >= since]
    bars.run(desk, _market(desk), days, RunContext(LATER, "bars alone"), collect=False)
    works, new, _, _ = _settled(desk, then)
    assert new["features"] == _crossed(since, FEATURE_SET.warmup_bars(24))
    assert new["indicators"] == _crossed(since, max_warmup())
    assert ("bars",) not in {work.steps for work in works}


def test_a_feed_that_is_named_back_before_anybody_looked_changes_nothing(desk: Desk) -> None:
    _rename_feed(desk, date(2026, 3, 5))
    _rename_feed(desk, date(2026, 3, 5), "iex")
    _, new, _, _ = _settled(desk)
    assert set(new) == {"bar_facts"}


def test_a_feed_that_is_named_back_later_makes_the_same_windows_anew(desk: Desk) -> None:
    since = date(2026, 3, 5)
    first = contents(desk, versions(desk))
    _rename_feed(desk, since)
    _, there, _, _ = _settled(desk)
    _rename_feed(desk, since, "iex")
    _, back, _, after = _settled(desk)
    assert back["features"] == there["features"]
    for step in ("features", "indicators", "signals", "predictions"):
        assert _other(step, first, after) == set(), step


# Verdicts


def test_a_hole_that_the_venue_explains_lifts_the_verdict_and_what_it_held_back_is_made_anew(desk: Desk) -> None:
    """A repair run: the venue is asked and has no trade for these hours, so no bar changes."""
    assert set(_bad(desk)) == {(HOLE, A)}
    venue = WrittenData({(s, ts.to_pydatetime()): 1.0 for s, ts in zip(BARS["symbol"], BARS["ts"], strict=True)})
    desk._venues[KRW] = Venue(venue, venue)  # type: ignore[arg-type]
    then = versions(desk)
    report = bars.run(desk, _market(desk), [HOLE], RunContext(LATER, "repair"), repair=True)
    assert (report.collected.inserted, report.collected.changed, _bad(desk)) == (0, 0, {})
    works, new, before, after = _settled(desk, then)
    _assert_one_verdict(desk, HOLE, works, new, before, after)
    assert "bad_data" not in _reasons(desk, HOLE)


def test_a_verdict_that_turns_bad_is_found_and_its_hours_are_held_and_no_lesson(desk: Desk) -> None:
    assert "bad_data" not in _reasons(desk, SILENT)
    then = versions(desk)
    _say_partial(desk, SILENT)
    bars.run(desk, _market(desk), [SILENT], RunContext(LATER, "judged again"), collect=False)
    assert set(_bad(desk)) == {(HOLE, A), (SILENT, A)}
    works, new, before, after = _settled(desk, then)
    _assert_one_verdict(desk, SILENT, works, new, before, after)
    assert "bad_data" in _reasons(desk, SILENT)


def _assert_one_verdict(
    desk: Desk,
    day: date,
    works: list[Work],
    new: dict[str, set[tuple[date, str]]],
    before: Contents,
    after: Contents,
) -> None:
    assert new["bar_facts"] == {(day, A)}
    assert {"bars", "indicators", "features", "signals"}.isdisjoint(new)
    assert new["model"] == {(MONTH, A)}
    _assert_follows(desk, new, before, after)
    assert (day, A) in new["decisions"]
    spans = {step: (work.first, work.last) for work in works for step in work.steps}
    assert set(spans) <= {"bars", "model", "predictions", "decisions", "performance"}
    assert spans["decisions"] == (day, DAYS[-1])
    assert spans["model"] == (MONTH, MONTH)


def _reasons(desk: Desk, day: date) -> set[str]:
    found = latest_decisions(desk.db, KRW, Book.SHADOW, day, day)
    return {decision.reason for decision in found if decision.symbol == A}


def test_a_verdict_that_is_only_reported_asks_for_nothing(desk: Desk) -> None:
    """Few hours without a reason make a day suspect: it is traded and learned from as before."""
    day = date(2026, 2, 18)
    (row,) = read_coverage(desk.db, KRW, [B], day, day)
    record_coverage(desk.db, [replace(row, expected=25, status="partial", checked_at=LATER)])
    bars.run(desk, _market(desk), [day], RunContext(LATER, "judged again"), collect=False)
    assert next_work(desk, _market(desk), now=LATER) == ()
    assert count_touched(desk.db, KRW) == 0
