"""Verdicts on sessions: what makes them bad, what is traded then, and what only gets reported."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars, decisions, features, indicators, predictions, signals
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.quality import HOLES, JUMP, OTHER_COMPANY, RESTART, SEAM
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.storage.bar_quality import BarQuality, read_quality
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.ticker_spans import TickerSpan, record_spans
from quant_pipeline_tests.steps.prices import daily_walk, hourly_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US, KRW = "us_equity", "krw_crypto"
SESSIONS = calendar.sessions("nyse", date(2025, 12, 1), date(2026, 3, 31))
NOW = datetime(2026, 4, 2, 3, tzinfo=UTC)
_RUNS = itertools.count()


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk of two stocks without bars."""
    changes = {"symbols": ("AAA", "BBB"), "history_start": SESSIONS[0], "min_history_sessions": 20}
    with opened_desk(settings_for(tmp_path, US, **changes), database) as opened:
        yield opened


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.markets[0]


def _judge(desk: Desk, sessions: Sequence[date] = SESSIONS) -> bars.BarsReport:
    return bars.run(desk, _market(desk), sessions, RunContext(NOW, f"run-{next(_RUNS)}"), collect=False)


def _walks(desk: Desk) -> None:
    for seed, symbol in enumerate(("AAA", "BBB")):
        store_bars(desk, US, "1d", daily_walk(symbol, SESSIONS, seed=seed))


def _scale(desk: Desk, since: date, factor: float) -> None:
    """All prices of AAA from a session on are other ones, as after a split."""
    walk = daily_walk("AAA", SESSIONS, seed=0)
    later = walk[walk["ts"] >= pd.Timestamp(since, tz="UTC")]
    store_bars(desk, US, "1d", later.assign(**{c: later[c] * factor for c in ("open", "high", "low", "close")}))


def _verdicts(desk: Desk) -> dict[tuple[date, str], BarQuality]:
    market = _market(desk)
    rows = read_quality(desk.db, market.name, None, date(2000, 1, 1), date(2100, 1, 1), found_only=True)
    return {(row.session, row.symbol): row for row in rows}


def test_every_session_of_every_symbol_gets_a_verdict(desk: Desk) -> None:
    _walks(desk)
    report = _judge(desk)
    rows = read_quality(desk.db, US, None, SESSIONS[0], SESSIONS[-1])
    assert [(row.session, row.symbol) for row in rows] == [(s, x) for s in SESSIONS for x in ("AAA", "BBB")]
    assert {row.status for row in rows} == {"ok"}
    assert (report.judged.findings, report.judged.holes) == ((), ())
    assert report.judged.history == {"AAA": len(SESSIONS) - 1, "BBB": len(SESSIONS) - 1}


def test_an_unexplained_jump_is_a_hold_with_bad_data_until_a_split_explains_it(desk: Desk) -> None:
    _walks(desk)
    jump = SESSIONS[60]
    _scale(desk, jump, 0.25)
    _decide(desk, SESSIONS)
    # The first of these sessions also holds a move beyond what is usual.
    verdicts = {(row.status, row.rules.removeprefix("outlier_move,")) for row in _verdicts(desk).values()}
    assert verdicts == {("bad", JUMP)}
    assert sorted(_verdicts(desk)) == [(session, "AAA") for session in SESSIONS[60:80]]
    found = latest_decisions(desk.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])
    bad = [(d.session, d.symbol, d.action) for d in found if d.reason == "bad_data"]
    assert bad == [(session, "AAA", 0) for session in SESSIONS[60:80]]
    assert {d.inputs.get("quality") for d in found} == {None, JUMP, f"outlier_move,{JUMP}"}

    split = CorporateAction(US, "AAA", jump, "split", Decimal(4), None, None, "vendor", NOW)
    record_actions(desk.db, [split])
    _decide(desk, SESSIONS)
    assert _verdicts(desk) == {}
    found = latest_decisions(desk.db, US, Book.SHADOW, SESSIONS[0], SESSIONS[-1])
    assert "bad_data" not in {d.reason for d in found}


def _decide(desk: Desk, sessions: Sequence[date]) -> None:
    context = RunContext(NOW, f"run-{next(_RUNS)}")
    bars.run(desk, _market(desk), sessions, context, collect=False)
    for step in (indicators, signals, features, predictions, decisions):
        step.run(desk, _market(desk), sessions, context)


def test_one_session_alone_gets_the_verdict_of_the_range(desk: Desk) -> None:
    _walks(desk)
    _scale(desk, SESSIONS[60], 0.25)
    _judge(desk)
    whole = _verdicts(desk)
    for session in SESSIONS[58:82]:
        _judge(desk, [session])
    assert {key: replace(row, checked_at=NOW) for key, row in _verdicts(desk).items()} == whole


def test_a_broken_bar_makes_its_session_broken_and_holds_no_other_bar(desk: Desk) -> None:
    _walks(desk)
    bar = daily_walk("BBB", SESSIONS[:60], seed=1).tail(1)
    store_bars(desk, US, "1d", bar.assign(high=bar["low"] * 0.9))
    report = _judge(desk)
    (row,) = _verdicts(desk).values()
    assert (row.session, row.symbol, row.status, row.rules) == (SESSIONS[59], "BBB", "broken", "broken_bar")
    assert "high_below_body" in row.detail
    assert report.result.numbers["not_traded"] == 1


def test_a_change_of_feed_makes_volume_features_undefined_and_says_so(desk: Desk) -> None:
    _walks(desk)
    seam = SESSIONS[45]
    _rename_feed(desk, "AAA", seam)
    report = _judge(desk)
    features.run(desk, _market(desk), SESSIONS, RunContext(NOW, f"run-{next(_RUNS)}"))
    indicators.run(desk, _market(desk), SESSIONS, RunContext(NOW, f"run-{next(_RUNS)}"))
    assert {row.rules for row in _verdicts(desk).values()} == {SEAM}
    assert sorted(_verdicts(desk)) == [(session, "AAA") for session in SESSIONS[45:64]]
    assert "'sip' from 2026-02-05 on, of 'test' before" in report.judged.of(SEAM)[0].detail
    for step, name in ((features.STEP, "volume_ratio"), (indicators.STEP, "vwap_20")):
        rows = read_step(desk, US, step, SESSIONS)
        undefined = {(ts.date(), symbol) for ts, symbol in rows.loc[rows[name].isna(), ["ts", "symbol"]].to_numpy()}
        late = {key for key in undefined if key[0] >= seam}
        assert late == {(session, "AAA") for session in SESSIONS[45:64]}
    rows = read_step(desk, US, features.STEP, SESSIONS[21:])
    assert np.isfinite(rows.drop(columns=["symbol", "ts", "volume_ratio"]).to_numpy()).all()


def test_sessions_around_a_seam_are_recomputed_when_it_becomes_known_and_agree_with_a_range(desk: Desk) -> None:
    _walks(desk)
    market, context = _market(desk), RunContext(NOW, f"run-{next(_RUNS)}")
    features.run(desk, market, SESSIONS, context)
    _rename_feed(desk, "AAA", SESSIONS[45])
    _judge(desk)
    again = features.run(desk, market, SESSIONS, RunContext(NOW, f"run-{next(_RUNS)}"))
    assert again.reused == 45
    whole = read_step(desk, US, features.STEP, SESSIONS)
    for session in SESSIONS[44:66]:
        alone = features.run(desk, market, [session], RunContext(NOW, f"run-{next(_RUNS)}"))
        assert alone.reused == 1
    pd.testing.assert_frame_equal(read_step(desk, US, features.STEP, SESSIONS), whole, check_exact=True)


def _rename_feed(desk: Desk, symbol: str, since: date) -> None:
    rows = read_coverage(desk.db, US, [symbol], since, SESSIONS[-1])
    record_coverage(desk.db, [replace(row, feed="sip") for row in rows])


def test_bars_of_another_company_are_not_traded(desk: Desk) -> None:
    _walks(desk)
    record_spans(desk.db, [TickerSpan(US, "BBB", "BBB", SESSIONS[10], date(2050, 12, 31), "lean", NOW)])
    _judge(desk)
    assert {(key, row.status, row.rules) for key, row in _verdicts(desk).items()} == {
        ((session, "BBB"), "bad", OTHER_COMPANY) for session in SESSIONS[:10]
    }


def test_a_symbol_that_came_back_after_a_long_hole_is_reported_until_it_has_a_history_again(desk: Desk) -> None:
    earlier = calendar.sessions("nyse", date(2023, 1, 3), date(2023, 6, 30))
    _walks(desk)
    store_bars(desk, US, "1d", daily_walk("AAA", earlier, seed=9))
    report = _judge(desk)
    found = report.judged.of(RESTART)
    assert [finding.session for finding in found] == list(SESSIONS[:20])
    assert found[0].detail == "no bars between 2023-06-30 and 2025-12-01; history counts from 2025-12-01 on"
    assert not any(finding.bad for finding in found)
    assert report.judged.history["AAA"] == len(SESSIONS) - 1


def test_hours_built_from_minutes_with_holes_are_not_traded_from_the_hole_on(
    tmp_path: Path, database: Database
) -> None:
    days = calendar.sessions("always", date(2026, 2, 1), date(2026, 3, 31))
    changes = {"symbols": ("KRW-A",), "base_interval": "1h", "history_start": days[0]}
    with opened_desk(settings_for(tmp_path, KRW, **changes), database) as desk:
        walk = hourly_walk("KRW-A", days, seed=1)
        holes = (walk["ts"] >= "2026-03-10 04:00+00:00") & (walk["ts"] < "2026-03-10 11:00+00:00")
        store_bars(desk, KRW, "1h", walk[~holes])
        day = date(2026, 3, 10)
        (row,) = read_coverage(desk.db, KRW, None, day, day)
        record_coverage(desk.db, [replace(row, expected=24, status="partial")])
        _judge(desk, days)
        (verdict,) = _verdicts(desk).values()
        # Six of 24 hours are a quarter.
        assert (verdict.session, verdict.status, verdict.rules) == (day, "bad", HOLES)
        assert verdict.since == datetime(2026, 3, 10, 9, tzinfo=UTC)


def test_few_minutes_without_a_reason_are_reported_and_traded(tmp_path: Path, database: Database) -> None:
    days = calendar.sessions("always", date(2026, 2, 1), date(2026, 2, 10))
    changes = {"symbols": ("KRW-A",), "base_interval": "1h", "history_start": days[0]}
    with opened_desk(settings_for(tmp_path, KRW, **changes), database) as desk:
        walk = hourly_walk("KRW-A", days, seed=1)
        store_bars(desk, KRW, "1h", walk.drop(index=[30, 31]))
        (row,) = read_coverage(desk.db, KRW, None, days[1], days[1])
        record_coverage(desk.db, [replace(row, expected=24, status="partial")])
        _judge(desk, days)
        (verdict,) = _verdicts(desk).values()
        assert (verdict.status, verdict.rules) == ("suspect", HOLES)


def test_a_session_of_which_nothing_is_known_is_a_hole(desk: Desk) -> None:
    _walks(desk)
    after = calendar.next_session("nyse", SESSIONS[-1])
    report = _judge(desk, [*SESSIONS, after])
    assert [(hole.session, hole.symbol, hole.slots) for hole in report.judged.holes] == [
        (after, "AAA", 1),
        (after, "BBB", 1),
    ]
    assert {row.status for row in _verdicts(desk).values()} == {"suspect"}
    assert report.fresh is not None
    assert report.fresh.late


def test_old_sessions_are_not_judged_by_the_newest_bar(desk: Desk) -> None:
    _walks(desk)
    assert _judge(desk, SESSIONS[:5]).fresh is None


def test_a_verdict_that_stays_the_same_keeps_the_time_it_was_made(desk: Desk) -> None:
    _walks(desk)
    _judge(desk, SESSIONS[:3])
    later = RunContext(NOW + timedelta(hours=1), f"run-{next(_RUNS)}")
    bars.run(desk, _market(desk), SESSIONS[:3], later, collect=False)
    rows = read_quality(desk.db, US, None, SESSIONS[0], SESSIONS[2])
    assert {row.checked_at for row in rows} == {NOW}


def test_coverage_of_a_full_row_is_not_touched_by_judging(desk: Desk) -> None:
    _walks(desk)
    before: tuple[Coverage, ...] = read_coverage(desk.db, US, None, SESSIONS[0], SESSIONS[-1])
    _judge(desk)
    assert read_coverage(desk.db, US, None, SESSIONS[0], SESSIONS[-1]) == before
