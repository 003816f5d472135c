"""Which bar must be there by now: on holidays, weekends and half days nothing is late."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from quant_pipeline.steps.freshness import Freshness, due_bar
from quant_pipeline_tests.steps.world import settings_for


def _due(folder: Path, market: str, interval: str, at: str) -> str:
    settings = settings_for(folder, market, base_interval=interval)
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)
    return f"{due_bar(settings.market(market), moment):%Y-%m-%d %H:%M}"


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2025-11-26 21:29", "2025-11-25 05:00"),  # half an hour is given to publish the daily bar
        ("2025-11-26 21:30", "2025-11-26 05:00"),
        ("2025-11-27 23:00", "2025-11-26 05:00"),  # Thanksgiving
        ("2025-11-28 18:30", "2025-11-28 05:00"),  # a half day
        ("2025-11-30 12:00", "2025-11-28 05:00"),  # Sunday
        ("2025-12-01 20:00", "2025-11-28 05:00"),
        ("2026-03-09 20:30", "2026-03-09 04:00"),  # summer time began
    ],
)
def test_the_daily_bar_that_is_due_follows_the_calendar(tmp_path: Path, at: str, due: str) -> None:
    assert _due(tmp_path, "us_equity", "1d", at) == due


@pytest.mark.parametrize(
    ("at", "due"),
    [
        ("2025-11-26 16:00", "2025-11-26 15:29"),
        ("2025-11-26 14:45", "2025-11-25 20:44"),  # a quarter of an hour of today and another one of yesterday
        ("2025-11-28 14:30", "2025-11-26 20:29"),  # the open after a holiday
        ("2025-11-29 12:00", "2025-11-28 17:29"),  # the half day before, until the next open
    ],
)
def test_the_minute_that_is_due_is_counted_in_trading_time(tmp_path: Path, at: str, due: str) -> None:
    assert _due(tmp_path, "us_equity", "1m", at) == due


def test_crypto_is_due_round_the_clock(tmp_path: Path) -> None:
    assert _due(tmp_path, "krw_crypto", "1m", "2026-03-08 00:10") == "2026-03-07 23:39"
    assert _due(tmp_path, "krw_crypto", "1h", "2026-03-08 05:40") == "2026-03-08 04:00"


def test_no_bar_at_all_is_late() -> None:
    due = datetime(2026, 3, 2, tzinfo=UTC)
    assert Freshness(None, due).late
    assert not Freshness(due, due).late
    assert "there is no bar" in Freshness(None, due).sentence()
