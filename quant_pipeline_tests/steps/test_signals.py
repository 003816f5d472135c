"""The signals step: votes on stored indicators, symbols without enough history, runs limited to some symbols."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import indicators, signals
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ticker_spans import TickerSpan, record_spans
from quant_pipeline.storage.versions import current_versions
from quant_pipeline_tests.steps.prices import daily_walk, store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

US = "us_equity"
NOW = datetime(2026, 6, 30, 12, tzinfo=UTC)
LONG = calendar.sessions("nyse", date(2025, 1, 2), date(2026, 3, 31))
SHORT = LONG[-30:]
SPAN = LONG[-20:]
_RUNS = itertools.count()


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk with indicators of AAA, which has a long history, and of NEW, which was listed thirty sessions ago."""
    settings = settings_for(
        tmp_path, US, symbols=("AAA", "NEW"), history_start=date(2026, 1, 2), min_history_sessions=20
    )
    with opened_desk(settings, database) as opened:
        store_bars(opened, US, "1d", daily_walk("AAA", LONG, seed=1))
        store_bars(opened, US, "1d", daily_walk("NEW", SHORT, seed=2))
        indicators.run(opened, settings.us_equity, SPAN, _context())
        yield opened


def _context(*, symbols: tuple[str, ...] | None = None) -> RunContext:
    return RunContext(NOW, f"run-{next(_RUNS)}", symbols=symbols)


def _market(desk: Desk) -> MarketSettings:
    return desk.settings.us_equity


def test_a_symbol_votes_from_its_first_session_with_enough_history_on(desk: Desk) -> None:
    result = signals.run(desk, _market(desk), SPAN, _context())
    rows = read_step(desk, US, signals.STEP, SPAN)
    new = rows[rows["symbol"] == "NEW"]
    young = new[new["ts"] < pd.Timestamp(SHORT[20], tz="UTC")]
    assert len(young) == 10
    assert set(young["status"]) == {"no_history"}
    assert set(young["vote"]) == {0}
    assert set(new["status"][len(young) :]) == {signals.OK}
    assert set(rows.loc[rows["symbol"] == "AAA", "status"]) == {signals.OK}
    assert rows["vote"].abs().sum() > 0
    counted = [sum(int(o.numbers[name]) for name in ("buys", "sells", "holds")) for o in result.outcomes]
    assert counted == [2] * len(SPAN)


def test_one_session_alone_and_a_range_give_the_same_versions(desk: Desk) -> None:
    signals.run(desk, _market(desk), SPAN, _context())
    whole = {k: v.content_hash for k, v in current_versions(desk.db, US, signals.STEP, SPAN).items()}
    frame = read_step(desk, US, signals.STEP, SPAN)
    for session in reversed(SPAN):
        signals.run(desk, _market(desk), [session], _context())
    assert {k: v.content_hash for k, v in current_versions(desk.db, US, signals.STEP, SPAN).items()} == whole
    pd.testing.assert_frame_equal(read_step(desk, US, signals.STEP, SPAN), frame, check_exact=True)


def test_a_run_limited_to_a_symbol_keeps_the_votes_of_the_others(desk: Desk) -> None:
    market = _market(desk)
    signals.run(desk, market, SPAN, _context())
    before = read_step(desk, US, signals.STEP, SPAN)
    strict = market.model_copy(update={"vote": market.vote.model_copy(update={"buy_at": 0.99, "sell_at": -0.99})})
    signals.run(desk, strict, SPAN, _context(symbols=("AAA",)))
    after = read_step(desk, US, signals.STEP, SPAN)
    kept = [frame[frame["symbol"] == "NEW"].reset_index(drop=True) for frame in (before, after)]
    pd.testing.assert_frame_equal(*kept, check_exact=True)
    assert len(after) == len(before)
    assert after.loc[after["symbol"] == "AAA", "vote"].abs().sum() == 0


def test_a_run_limited_to_a_symbol_without_rows_keeps_the_others(desk: Desk) -> None:
    market = _market(desk)
    signals.run(desk, market, SPAN, _context())
    before = read_step(desk, US, signals.STEP, SPAN)
    wider = market.model_copy(update={"symbols": ("AAA", "NEW", "NONE")})
    indicators.run(desk, wider, SPAN, _context(symbols=("NONE",)))
    signals.run(desk, wider, SPAN, _context(symbols=("NONE",)))
    pd.testing.assert_frame_equal(read_step(desk, US, signals.STEP, SPAN), before, check_exact=True)


def test_a_session_without_indicators_has_no_votes(desk: Desk) -> None:
    later = calendar.sessions("nyse", date(2026, 4, 1), date(2026, 4, 2))
    result = signals.run(desk, _market(desk), later, _context())
    assert [(o.rows, dict(o.numbers)) for o in result.outcomes] == [(0, {"buys": 0, "sells": 0, "holds": 0})] * 2
    signals.run(desk, _market(desk), [SPAN[-1], *later], _context())
    assert len(read_step(desk, US, signals.STEP, [SPAN[-1], *later])) == 2


def test_sessions_without_bars_do_not_count_as_history(desk: Desk) -> None:
    """A symbol of which every other session has a bar needs twice as long."""
    market = _market(desk).model_copy(update={"symbols": ("AAA", "ODD")})
    store_bars(desk, US, "1d", daily_walk("ODD", LONG[-51::2], seed=3))
    indicators.run(desk, market, SPAN, _context())
    signals.run(desk, market, SPAN, _context())
    odd = read_step(desk, US, signals.STEP, SPAN).query("symbol == 'ODD'")
    first = odd.loc[odd["status"] == signals.OK, "ts"].min()
    assert first == pd.Timestamp(calendar.daily_bar_start("nyse", LONG[-51::2][20]))


def test_history_counts_anew_after_a_long_hole(desk: Desk) -> None:
    market = _market(desk).model_copy(update={"symbols": ("AAA", "BACK")})
    market = market.model_copy(update={"quality": market.quality.model_copy(update={"life_hole_sessions": 60})})
    store_bars(desk, US, "1d", daily_walk("BACK", [*LONG[:150], *LONG[-30:]], seed=4))
    indicators.run(desk, market, SPAN, _context())
    signals.run(desk, market, SPAN, _context())
    back = read_step(desk, US, signals.STEP, SPAN).query("symbol == 'BACK'")
    assert back.loc[back["status"] == signals.OK, "ts"].min() == pd.Timestamp(
        calendar.daily_bar_start("nyse", LONG[-10])
    )


def test_bars_of_another_company_are_no_history(desk: Desk) -> None:
    record_spans(desk.db, [TickerSpan(US, "AAA", "AAA", LONG[-30], date(2050, 12, 31), "lean", NOW)])
    signals.run(desk, _market(desk), SPAN, _context())
    rows = read_step(desk, US, signals.STEP, SPAN)
    status = {symbol: group["status"].tolist() for symbol, group in rows.groupby("symbol")}
    assert status["AAA"] == status["NEW"] == ["no_history"] * 10 + ["ok"] * 10
