"""Sessions and hours: compared with exchange_calendars and recorded market hours, and at the edges of days and DST."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import exchange_calendars
import pandas as pd
import pytest

from quant_pipeline.markets import calendar, nyse

FIRST, LAST = date(nyse.FIRST_YEAR, 1, 1), date(nyse.LAST_YEAR, 12, 31)


@pytest.fixture(scope="module")
def reference() -> exchange_calendars.ExchangeCalendar:
    return exchange_calendars.get_calendar("XNYS", start=FIRST.isoformat(), end=LAST.isoformat())


def test_nyse_sessions_equal_the_reference_over_all_frozen_years(
    reference: exchange_calendars.ExchangeCalendar,
) -> None:
    assert calendar.sessions("nyse", FIRST, LAST) == tuple(day.date() for day in reference.sessions)


def test_opening_and_closing_times_equal_the_reference(reference: exchange_calendars.ExchangeCalendar) -> None:
    schedule = reference.schedule.loc["2005":"2028"]
    for day, opens, closes in zip(schedule.index, schedule["open"], schedule["close"], strict=True):
        hours = calendar.session_hours("nyse", day.date())
        assert (hours.opens_at, hours.closes_at) == (opens.to_pydatetime(), closes.to_pydatetime()), day


def test_holidays_and_early_closes_equal_the_recorded_market_hours(test_data: Path) -> None:
    recorded = json.loads((test_data / "us_calendar" / "us_equity_market_hours.json").read_text())["Equity-usa-[*]"]
    holidays = {day.date() for day in pd.to_datetime(recorded["holidays"], format="%m/%d/%Y")}
    weekdays = {day for day in holidays if day.weekday() < 5}
    assert {date.fromisoformat(day) for day in nyse.HOLIDAYS} == weekdays
    early = {day.date() for day in pd.to_datetime(list(recorded["earlyCloses"]), format="%m/%d/%Y")}
    ours = {date.fromisoformat(day) for day in nyse.EARLY_CLOSES if day >= "2000"}
    assert {day for day in early if day.weekday() < 5 and day.year >= 2000} == ours


def test_a_friday_evening_belongs_to_the_next_session_and_closes_friday() -> None:
    evening = datetime(2026, 11, 20, 21, 0, tzinfo=UTC)
    assert calendar.session_at("nyse", evening) == date(2026, 11, 23)
    assert calendar.last_closed_session("nyse", evening) == date(2026, 11, 20)


def test_the_close_itself_is_outside_the_session_and_the_open_inside() -> None:
    hours = calendar.session_hours("nyse", date(2026, 11, 20))
    assert calendar.is_open("nyse", hours.opens_at)
    assert calendar.is_open("nyse", hours.closes_at - timedelta(microseconds=1))
    assert not calendar.is_open("nyse", hours.closes_at)


def test_the_day_after_thanksgiving_closes_early() -> None:
    assert calendar.session_hours("nyse", date(2026, 11, 27)).closes_at == datetime(2026, 11, 27, 18, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("session", "opens"),
    [
        (date(2026, 3, 6), datetime(2026, 3, 6, 14, 30, tzinfo=UTC)),  # the Friday before the clocks go forward
        (date(2026, 3, 9), datetime(2026, 3, 9, 13, 30, tzinfo=UTC)),
        (date(2026, 10, 30), datetime(2026, 10, 30, 13, 30, tzinfo=UTC)),  # the Friday before they go back
        (date(2026, 11, 2), datetime(2026, 11, 2, 14, 30, tzinfo=UTC)),
    ],
)
def test_the_open_moves_in_utc_when_new_york_changes_its_clocks(session: date, opens: datetime) -> None:
    assert calendar.session_hours("nyse", session).opens_at == opens


def test_a_crypto_day_begins_at_midnight_utc_which_is_nine_in_seoul() -> None:
    before = datetime.fromisoformat("2026-11-20T08:59:59+09:00")
    after = datetime.fromisoformat("2026-11-20T09:00:00+09:00")
    assert calendar.session_at("always", before) == date(2026, 11, 19)
    assert calendar.session_at("always", after) == date(2026, 11, 20)
    assert calendar.is_open("always", before)


def test_neighbours_of_a_session_skip_weekends_and_holidays() -> None:
    assert calendar.next_session("nyse", date(2024, 7, 3)) == date(2024, 7, 5)
    assert calendar.previous_session("nyse", date(2024, 7, 8)) == date(2024, 7, 5)


def test_a_daily_bar_is_stamped_midnight_new_york_in_summer_and_winter() -> None:
    assert calendar.daily_bar_start("nyse", date(2026, 7, 1)) == datetime(2026, 7, 1, 4, tzinfo=UTC)
    assert calendar.daily_bar_start("nyse", date(2026, 1, 2)) == datetime(2026, 1, 2, 5, tzinfo=UTC)


@pytest.mark.parametrize("day", [date(2024, 7, 4), date(2024, 7, 6)])
def test_hours_of_a_day_without_trading_are_refused_by_name(day: date) -> None:
    with pytest.raises(ValueError, match=f"{day} is not a session"):
        calendar.session_hours("nyse", day)


def test_years_outside_the_frozen_calendar_and_unknown_calendars_are_refused() -> None:
    with pytest.raises(ValueError, match="2031-01-02 is outside the frozen NYSE calendar"):
        calendar.is_session("nyse", date(2031, 1, 2))
    with pytest.raises(ValueError, match="unknown calendar 'lse'"):
        calendar.sessions("lse", FIRST, LAST)
