"""Monthly partitions: made where needed, by several at a time, and used by queries."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone

import pandas as pd
import pytest
from sqlalchemy import text

from quant_pipeline.storage.bars import ensure_month_partitions, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.partitions import ensure_months_ahead
from quant_pipeline_tests.storage.builders import AT, MARKET, bars


def _day(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=UTC)


def test_span_over_new_year_makes_each_month_once(database: Database) -> None:
    made = ensure_month_partitions(database, _day(2023, 11, 30), _day(2024, 2, 1))
    assert made == ("bars_2023_11", "bars_2023_12", "bars_2024_01", "bars_2024_02")
    assert ensure_month_partitions(database, _day(2023, 12, 1), _day(2024, 3, 31)) == ("bars_2024_03",)
    assert ensure_month_partitions(database, _day(2023, 12, 1), _day(2024, 3, 31)) == ()


def test_months_are_those_of_utc(database: Database) -> None:
    seoul = timezone(timedelta(hours=9))
    start = datetime(2024, 3, 1, 8, 59, tzinfo=seoul)  # still February in UTC
    assert ensure_month_partitions(database, start, start) == ("bars_2024_02",)


def test_backward_span_and_naive_time_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="before start"):
        ensure_month_partitions(database, _day(2024, 2, 1), _day(2024, 1, 1))
    with pytest.raises(ValueError, match="no time zone"):
        ensure_month_partitions(database, _day(2024, 2, 1).replace(tzinfo=None), _day(2024, 3, 1))


def test_stray_bar_makes_only_its_own_month(database: Database) -> None:
    frame = pd.concat([bars(["A"], "1990-01-02", 1), bars(["A"], "2024-05-02", 1)], ignore_index=True)
    upsert_bars(database, MARKET, "1d", frame, source="", feed="", adjustment="", at=AT)
    made = ensure_month_partitions(database, _day(2024, 4, 1), _day(2024, 6, 1))
    assert made == ("bars_2024_04", "bars_2024_06")


def test_several_at_a_time_make_each_month_once(database: Database) -> None:
    with ThreadPoolExecutor(4) as pool:
        tasks = [pool.submit(ensure_month_partitions, database, _day(2024, 1, 1), _day(2024, 6, 1)) for _ in range(4)]
        made = [name for task in tasks for name in task.result()]
    assert sorted(made) == [f"bars_2024_0{month}" for month in range(1, 7)]


def test_new_month_waits_for_no_reader_and_no_writer(database: Database) -> None:
    """A long query or upsert on other months must not hold up the first bar of a month, nor be held up by it."""
    upsert_bars(database, MARKET, "1d", bars(["A"], "2024-01-02", 1), source="", feed="", adjustment="", at=AT)
    done = threading.Event()
    with database.begin() as busy:
        busy.execute(text("SELECT count(*) FROM bars")).scalar_one()
        busy.execute(text("UPDATE bars SET volume = 1"))
        worker = threading.Thread(
            target=lambda: (ensure_month_partitions(database, _day(2024, 2, 1), _day(2024, 2, 1)), done.set())
        )
        worker.start()
        assert done.wait(10)
    worker.join(10)


def test_months_ahead_are_the_current_one_and_the_next_two(database: Database) -> None:
    seoul = timezone(timedelta(hours=9))
    assert ensure_months_ahead(database, _day(2023, 11, 30)) == ("bars_2023_11", "bars_2023_12", "bars_2024_01")
    assert ensure_months_ahead(database, _day(2023, 11, 1)) == ()
    assert ensure_months_ahead(database, datetime(2024, 1, 1, 8, 59, tzinfo=seoul)) == ("bars_2024_02",)
    with pytest.raises(ValueError, match="no time zone"):
        ensure_months_ahead(database, _day(2024, 2, 1).replace(tzinfo=None))
