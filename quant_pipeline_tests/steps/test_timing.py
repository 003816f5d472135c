"""Which session a moment belongs to, when bars close, and which month serves."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.timing import bar_closes, month_of, next_month, session_span, tick_session
from quant_pipeline_tests.steps.world import settings_for

FRIDAY, MONDAY = date(2026, 3, 6), date(2026, 3, 9)


@pytest.fixture
def stocks(tmp_path: Path) -> MarketSettings:
    return settings_for(tmp_path, "us_equity").us_equity


@pytest.fixture
def coins(tmp_path: Path) -> MarketSettings:
    return settings_for(tmp_path, "krw_crypto").krw_crypto


@pytest.mark.parametrize(
    ("at", "session"),
    [
        ("2026-03-06T14:29:59+00:00", date(2026, 3, 5)),
        ("2026-03-06T14:30:00+00:00", FRIDAY),
        ("2026-03-06T20:59:59+00:00", FRIDAY),
        ("2026-03-06T21:00:00+00:00", FRIDAY),
        ("2026-03-07T12:00:00+00:00", FRIDAY),
        ("2026-03-08T23:00:00+00:00", FRIDAY),
        ("2026-03-09T13:29:59+00:00", FRIDAY),
        ("2026-03-09T13:30:00+00:00", MONDAY),
        ("2026-10-30T19:59:59+00:00", date(2026, 10, 30)),
        ("2026-11-02T14:29:59+00:00", date(2026, 10, 30)),
        ("2026-11-02T14:30:00+00:00", date(2026, 11, 2)),
        ("2026-11-26T15:00:00+00:00", date(2026, 11, 25)),
        ("2026-11-27T18:00:00+00:00", date(2026, 11, 27)),
    ],
)
def test_a_tick_of_a_daily_market_works_on_the_session_in_progress_or_the_last_one(
    stocks: MarketSettings, at: str, session: date
) -> None:
    assert tick_session(stocks, datetime.fromisoformat(at)) == session


@pytest.mark.parametrize(
    ("interval", "at", "session"),
    [
        ("1h", "2026-03-06T23:59:59+00:00", FRIDAY),
        ("1h", "2026-03-07T00:00:00+00:00", FRIDAY),
        ("1h", "2026-03-07T00:59:59+00:00", FRIDAY),
        ("1h", "2026-03-07T01:00:00+00:00", date(2026, 3, 7)),
        ("4h", "2026-03-07T03:59:59+00:00", FRIDAY),
        ("4h", "2026-03-07T04:00:00+00:00", date(2026, 3, 7)),
        ("1d", "2026-03-07T00:00:00+00:00", date(2026, 3, 7)),
    ],
)
def test_a_tick_round_the_clock_works_on_the_day_of_the_bar_that_closed_last(
    coins: MarketSettings, interval: str, at: str, session: date
) -> None:
    market = coins.model_copy(update={"decision_interval": interval})
    assert tick_session(market, datetime.fromisoformat(at)) == session


def test_daily_bars_close_with_their_session_and_others_after_their_length(
    stocks: MarketSettings, coins: MarketSettings
) -> None:
    starts = ["2026-03-06T05:00", "2026-03-09T04:00", "2026-10-30T04:00", "2026-11-02T05:00", "2026-11-27T05:00"]
    days = pd.Series(pd.to_datetime(starts, utc=True))
    closes = ["2026-03-06T21:00", "2026-03-09T20:00", "2026-10-30T20:00", "2026-11-02T21:00", "2026-11-27T18:00"]
    assert bar_closes(stocks, days, "1d").astype("datetime64[m]").astype(str).tolist() == closes
    hours = pd.Series(pd.to_datetime(["2026-03-06T23:00"], utc=True))
    assert bar_closes(coins, hours, "1h").astype("datetime64[m]").astype(str).tolist() == ["2026-03-07T00:00"]
    assert bar_closes(coins, hours, "1m").astype("datetime64[m]").astype(str).tolist() == ["2026-03-06T23:01"]


def test_a_daily_bar_on_a_holiday_closes_at_the_end_of_that_day(stocks: MarketSettings) -> None:
    sunday = pd.Series(pd.to_datetime(["2026-03-08T05:00"], utc=True))
    assert bar_closes(stocks, sunday, "1d").astype("datetime64[m]").astype(str).tolist() == ["2026-03-09T00:00"]


def test_months_and_spans() -> None:
    assert month_of(date(2026, 2, 28)) == date(2026, 2, 1)
    assert [next_month(date(2026, m, 1)) for m in (1, 11, 12)] == [
        date(2026, 2, 1),
        date(2026, 12, 1),
        date(2027, 1, 1),
    ]
    start, end = session_span(FRIDAY, MONDAY)
    assert (start, end) == (datetime(2026, 3, 6, tzinfo=UTC), datetime(2026, 3, 10, tzinfo=UTC))
