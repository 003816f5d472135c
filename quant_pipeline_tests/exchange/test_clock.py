"""The exchange's time never goes back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from quant_pipeline.exchange.clock import Clock, ClockError, parse_time


def test_a_manual_clock_stands_still_until_it_is_moved() -> None:
    clock = Clock("2025-03-03T09:30:00-05:00")
    assert clock.now() == clock.now() == datetime(2025, 3, 3, 14, 30, tzinfo=UTC)
    assert clock.advance(90) == datetime(2025, 3, 3, 14, 31, 30, tzinfo=UTC)
    assert clock.set(clock.now()) == clock.now()


@pytest.mark.parametrize("seconds", [-0.001, -3600])
def test_time_never_goes_back(seconds: float) -> None:
    clock = Clock("2025-03-03T14:30:00")
    with pytest.raises(ClockError, match="time never goes back"):
        clock.advance(seconds)


def test_the_wall_clock_cannot_be_moved() -> None:
    clock = Clock("wall")
    before = datetime.now(UTC)
    assert before <= clock.now() <= datetime.now(UTC)
    with pytest.raises(ClockError, match="follows the wall clock"):
        clock.set(before + timedelta(days=1))


@pytest.mark.parametrize("text", ["", "soon", "2025-13-01"])
def test_what_is_no_time_is_named(text: str) -> None:
    with pytest.raises(ClockError, match="is not an ISO 8601 time"):
        parse_time(text)
