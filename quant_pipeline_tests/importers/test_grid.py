"""The grid of bar starts: sessions, half days, clock changes, and runs of missing slots against a plain count."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.importers.grid import (
    HOUR,
    INTERVALS,
    MINUTE,
    full_slots,
    gaps_of,
    most_common_spacing,
    nanoseconds_of,
    residue_of,
    slots_between,
)


def _days(*days: str) -> tuple[date, ...]:
    return tuple(date.fromisoformat(day) for day in days)


def _times(slots: np.ndarray) -> list[str]:
    return [stamp.strftime("%m-%d %H:%M") for stamp in pd.DatetimeIndex(slots.astype("datetime64[ns]"))]


def test_hours_from_the_clock_begin_before_the_open_and_end_before_the_close() -> None:
    clock = full_slots("nyse", "1h", _days("2024-11-27", "2024-11-29"), 0)
    assert _times(clock) == [
        *(f"11-27 {hour}:00" for hour in range(14, 21)),
        *(f"11-29 {hour}:00" for hour in range(14, 18)),
    ]
    opening = full_slots("nyse", "1h", _days("2024-11-27"), HOUR // 2)
    assert _times(opening) == [f"11-27 {hour}:30" for hour in range(14, 21)]


@pytest.mark.parametrize(("interval", "count"), [("1m", 390), ("5m", 78), ("15m", 26), ("1d", 1)])
def test_slots_of_a_regular_session(interval: str, count: int) -> None:
    assert len(full_slots("nyse", interval, _days("2024-03-11"), 0)) == count


def test_sessions_move_against_utc_when_the_clocks_change() -> None:
    slots = full_slots("nyse", "15m", _days("2024-03-08", "2024-03-11"), 0)
    assert _times(slots)[0] == "03-08 14:30"
    assert _times(slots)[26] == "03-11 13:30"


def test_hours_are_counted_as_most_of_the_file_counts_them() -> None:
    half = pd.date_range("2024-05-01 13:30", periods=6, freq="h", tz="UTC")
    assert residue_of(half, "1h", "nyse") == HOUR // 2
    assert residue_of(half, "1h", "always") == 0
    assert residue_of(half.shift(7, freq="min"), "1h", "nyse") == 0


def test_long_spans_are_counted_exactly() -> None:
    # Spans of years in nanoseconds are beyond what a float can count.
    first, last = pd.Timestamp("2017-01-01", tz="UTC"), pd.Timestamp("2025-09-29 23:59", tz="UTC")
    slots = slots_between("always", "1m", first, last, 0)
    assert slots[-1] == last.value
    assert len(slots) == (last - first) // pd.Timedelta(minutes=1) + 1


def test_spacing_is_the_commonest_and_the_smaller_of_equals() -> None:
    times = MINUTE * np.array([0, 1, 2, 7, 12, 17, 3])
    assert most_common_spacing(times, np.zeros(7, dtype=np.int64)) == MINUTE
    assert most_common_spacing(times[:1], np.zeros(1, dtype=np.int64)) is None
    two = MINUTE * np.array([0, 0, 5, 5, 10, 10])
    assert most_common_spacing(two, np.array([0, 1, 0, 1, 0, 1])) == 5 * MINUTE


@given(st.sets(st.integers(0, 60), min_size=1), st.sampled_from(["1m", "1h"]))
def test_gaps_are_the_slots_that_a_plain_walk_finds_missing(present: set[int], interval: str) -> None:
    start, step = datetime(2024, 5, 1, tzinfo=UTC), timedelta(microseconds=INTERVALS[interval] // 1000)
    ts = pd.DatetimeIndex([start + step * n for n in sorted(present)]).as_unit("ns")
    slots = slots_between("always", interval, ts[0], ts[-1], 0)
    gaps = gaps_of("KRW-BTC", ts, slots)
    walked = [n for n in range(min(present), max(present) + 1) if n not in present]
    told = [(gap.first + step * n - start) // step for gap in gaps for n in range(gap.slots)]
    assert told == walked
    assert all((gap.last - gap.first) // step == gap.slots - 1 for gap in gaps)
    assert all(before.last + step < after.first for before, after in pairwise(gaps))
    assert len(slots) == len(nanoseconds_of(ts)) + len(walked)
