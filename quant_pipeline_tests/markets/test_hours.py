"""Hours of every session over 24 years, against recorded market hours and New York's clock worked out by hand."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from quant_pipeline.importers.grid import MINUTE, full_slots
from quant_pipeline.markets import calendar

FIRST, LAST = date(2005, 1, 1), date(2028, 12, 31)
SESSIONS = calendar.sessions("nyse", FIRST, LAST)
SEOUL = ZoneInfo("Asia/Seoul")


def _nth_sunday(year: int, month: int, n: int) -> date:
    first = date(year, month, 1)
    return first + timedelta(days=(6 - first.weekday()) % 7 + 7 * (n - 1))


def _last_sunday(year: int, month: int) -> date:
    return max(_nth_sunday(year, month, n) for n in (4, 5) if _nth_sunday(year, month, n).month == month)


def _changes(year: int) -> tuple[date, date]:
    """The days on which the clocks go forward and back; until 2006 the law was another one."""
    if year < 2007:
        return _nth_sunday(year, 4, 1), _last_sunday(year, 10)
    return _nth_sunday(year, 3, 2), _nth_sunday(year, 11, 1)


def _utc(day: date, clock: str) -> datetime:
    """A time of day in New York as UTC, by the law and not by a time zone database. Never a Sunday."""
    forward, back = _changes(day.year)
    offset = timezone(timedelta(hours=-4 if forward <= day < back else -5))
    return datetime.combine(day, datetime.strptime(clock, "%H:%M:%S").time(), offset).astimezone(UTC)  # noqa: DTZ007


def test_hours_of_24_years_equal_the_recorded_ones(test_data: Path) -> None:
    recorded = json.loads((test_data / "us_calendar" / "us_equity_market_hours.json").read_text())["Equity-usa-[*]"]
    early = {datetime.strptime(day, "%m/%d/%Y").date(): at for day, at in recorded["earlyCloses"].items()}  # noqa: DTZ007
    closed = {datetime.strptime(day, "%m/%d/%Y").date() for day in recorded["holidays"]}  # noqa: DTZ007
    expected = []
    for day in (FIRST + timedelta(days=n) for n in range((LAST - FIRST).days + 1)):
        spans = [span for span in recorded[f"{day:%A}".lower()] if span["state"] == "market"]
        if spans and day not in closed:
            (span,) = spans
            expected.append((day, _utc(day, span["start"]), _utc(day, early.get(day, span["end"]))))

    hours = [calendar.session_hours("nyse", day) for day in SESSIONS]

    assert [(one.session, one.opens_at, one.closes_at) for one in hours] == expected
    assert len(expected) > 6000


def test_every_session_has_390_minutes_or_on_half_days_210() -> None:
    lengths = {}
    for day in SESSIONS:
        hours = calendar.session_hours("nyse", day)
        lengths[day] = (hours.closes_at - hours.opens_at) // timedelta(minutes=1)
        assert len(full_slots("nyse", "1m", (day,), 0)) == lengths[day]
    assert set(lengths.values()) == {390, 210}
    assert sorted(day for day in lengths if lengths[day] == 210 and day.year == 2024) == [
        date(2024, 7, 3), date(2024, 11, 29), date(2024, 12, 24),
    ]  # fmt: skip


@pytest.mark.parametrize("year", range(2005, 2029))
def test_hours_move_by_one_in_utc_over_both_changes_of_the_clocks_and_stay_in_new_york(year: int) -> None:
    for change in _changes(year):
        before, after = calendar.previous_session("nyse", change), calendar.next_session("nyse", change)
        for day in (before, after):
            hours = calendar.session_hours("nyse", day)
            assert (hours.opens_at, hours.closes_at) == (_utc(day, "09:30:00"), _utc(day, "16:00:00"))
            assert calendar.daily_bar_start("nyse", day) == _utc(day, "00:00:00")
        forward = change == _changes(year)[0]
        opens = [calendar.session_hours("nyse", day).opens_at.time() for day in (before, after)]
        assert [at.hour for at in opens] == ([14, 13] if forward else [13, 14])


@pytest.mark.parametrize(
    ("day", "first", "last", "count"),
    [
        ("2026-03-06", "2026-03-06T14:30", "2026-03-06T20:59", 390),
        ("2026-03-09", "2026-03-09T13:30", "2026-03-09T19:59", 390),
        ("2026-10-30", "2026-10-30T13:30", "2026-10-30T19:59", 390),
        ("2026-11-02", "2026-11-02T14:30", "2026-11-02T20:59", 390),
        ("2026-11-27", "2026-11-27T14:30", "2026-11-27T17:59", 210),
        ("2024-07-03", "2024-07-03T13:30", "2024-07-03T16:59", 210),
    ],
)
def test_minutes_of_a_session_begin_at_its_open_and_end_before_its_close(
    day: str, first: str, last: str, count: int
) -> None:
    slots = full_slots("nyse", "1m", (date.fromisoformat(day),), 0)

    assert len(slots) == count
    assert (np.diff(slots) == MINUTE).all()
    ends = slots[[0, -1]].astype("datetime64[ns]").astype("datetime64[m]").astype(str).tolist()
    assert ends == [first, last]


@pytest.mark.parametrize("change", ["2026-03-08", "2026-11-01", "2026-03-29", "2026-10-25"])
def test_a_crypto_day_has_1440_minutes_from_nine_to_nine_in_seoul_whoever_changes_clocks(change: str) -> None:
    middle = date.fromisoformat(change)
    days = calendar.sessions("always", middle - timedelta(days=1), middle + timedelta(days=1))

    hours = [calendar.session_hours("always", day) for day in days]

    assert len(hours) == 3
    assert all(earlier.closes_at == later.opens_at for earlier, later in pairwise(hours))
    for one in hours:
        assert one.opens_at == datetime(one.session.year, one.session.month, one.session.day, tzinfo=UTC)
        assert f"{one.opens_at.astimezone(SEOUL):%Y-%m-%d %H:%M}" == f"{one.session} 09:00"
        assert calendar.session_at("always", one.closes_at - timedelta(microseconds=1)) == one.session
        assert calendar.session_at("always", one.closes_at) == one.session + timedelta(days=1)
    slots = full_slots("always", "1m", days, 0)
    assert len(slots) == 3 * 1440
    assert (np.diff(slots) == MINUTE).all()
