"""Growth or restatement: bars of a session in progress, late ones, corrected ones, and sessions nobody had looked at."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.steps import bars
from quant_pipeline.steps.decision_bars import decision_bars, last_closes
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import delete_bars
from quant_pipeline.storage.coverage import Coverage, record_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.restatements import restatements
from quant_pipeline.storage.touched import count_touched
from quant_pipeline_tests.steps.prices import store_bars
from quant_pipeline_tests.steps.world import opened_desk, settings_for

KRW, SYMBOL = "krw_crypto", "KRW-AAA"
DAY = date(2026, 3, 3)
OPENS = datetime(2026, 3, 3, tzinfo=UTC)
_RUNS = itertools.count()


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    settings = settings_for(tmp_path, KRW, symbols=(SYMBOL,), history_start=date(2026, 3, 1))
    with opened_desk(settings, database) as opened:
        yield opened


def at(hour: int, minute: int = 0) -> datetime:
    return OPENS + timedelta(hours=hour, minutes=minute)


def minutes(first: int, last: int, price: float = 100.0, *, without: tuple[int, ...] = ()) -> pd.DataFrame:
    """The minutes from number `first` of the day up to but without `last`."""
    numbers = [n for n in range(first, last) if n not in without]
    ts = pd.DatetimeIndex([OPENS + timedelta(minutes=n) for n in numbers]).as_unit("ns")
    prices = dict.fromkeys(("open", "high", "low", "close"), price)
    return pd.DataFrame({"symbol": SYMBOL, "ts": ts, **prices, "volume": 1.0})


def store(desk: Desk, frame: pd.DataFrame, when: datetime, interval: str = "1m") -> None:
    store_bars(desk, KRW, interval, frame, at=when)


def look(desk: Desk, when: datetime) -> int:
    """What a run of the bars step finds at that time: the number of events."""
    market = desk.settings.krw_crypto
    report = bars.run(desk, market, [DAY], RunContext(when, f"run-{next(_RUNS)}"), collect=False)
    assert count_touched(desk.db, KRW) == 0
    return int(report.result.numbers["restated"])


def kinds(desk: Desk) -> list[tuple[str, str, int]]:
    return [(one.kind, one.interval, one.bars) for one in reversed(restatements(desk.db))]


def test_a_session_in_progress_grows_without_restating_itself(desk: Desk) -> None:
    for hour in range(1, 6):
        store(desk, minutes(60 * hour - 60, 60 * hour + 5), at(hour, 5))
        assert look(desk, at(hour, 5)) == 0
    store(desk, minutes(300, 1440), at(24))
    assert look(desk, at(24)) == 0


def test_a_correction_inside_an_hour_that_has_not_closed_restates_nothing(desk: Desk) -> None:
    store(desk, minutes(0, 75), at(1, 15))
    look(desk, at(1, 15))
    store(desk, minutes(70, 71, 101.0), at(1, 16))
    assert look(desk, at(1, 16)) == 0
    store(desk, minutes(75, 125), at(2, 5))
    assert look(desk, at(2, 5)) == 0


def test_a_correction_of_a_closed_hour_is_told_with_the_minutes_it_changed(desk: Desk) -> None:
    store(desk, minutes(0, 130), at(2, 10))
    look(desk, at(2, 10))
    store(desk, minutes(30, 33, 101.0), at(2, 20))
    store(desk, minutes(130, 140), at(2, 20))  # what is new meanwhile is growth
    assert look(desk, at(2, 20)) == 1
    assert kinds(desk) == [("changed", "1m", 3)]
    (event,) = restatements(desk.db)
    assert (event.symbol, event.session, event.first_ts) == (SYMBOL, DAY, at(0, 30))
    assert look(desk, at(2, 30)) == 0


def test_a_minute_that_comes_after_its_hour_was_used_is_late(desk: Desk) -> None:
    store(desk, minutes(0, 130, without=(40,)), at(2, 10))
    look(desk, at(2, 10))
    store(desk, minutes(40, 41, 120.0), at(2, 20))
    assert look(desk, at(2, 20)) == 1
    assert kinds(desk) == [("late", "1m", 1)]


def test_the_end_of_an_hour_that_a_slow_venue_gives_afterwards_is_late(desk: Desk) -> None:
    store(desk, minutes(0, 55), at(1, 5))
    look(desk, at(1, 5))
    store(desk, minutes(55, 60, 120.0), at(1, 10))
    assert look(desk, at(1, 10)) == 1
    assert kinds(desk) == [("late", "1m", 5)]


def test_a_withdrawn_minute_is_told_even_if_it_was_the_only_one(desk: Desk) -> None:
    store(desk, minutes(0, 1), at(1))
    look(desk, at(1))
    delete_bars(desk.db, KRW, "1m", minutes(0, 1), at=at(2))
    assert look(desk, at(2)) == 1
    assert kinds(desk) == [("deleted", "1m", 1)]


def test_minutes_that_give_the_hours_that_were_imported_restate_nothing(desk: Desk) -> None:
    hours = pd.DatetimeIndex([at(hour) for hour in range(3)]).as_unit("ns")
    flat = dict.fromkeys(("open", "high", "low", "close"), 100.0)
    store(desk, pd.DataFrame({"symbol": SYMBOL, "ts": hours, **flat, "volume": 60.0}), at(3), "1h")
    look(desk, at(3))
    store(desk, minutes(0, 180), at(4))
    assert look(desk, at(4)) == 0
    store(desk, minutes(0, 1, 99.0), at(5))
    assert look(desk, at(5)) == 1


def test_the_first_bars_of_a_session_nobody_had_asked_about_are_news(desk: Desk) -> None:
    assert look(desk, at(24)) == 0
    store(desk, minutes(0, 1440), at(30))
    assert look(desk, at(30)) == 0


def test_the_first_bar_of_a_session_that_was_seen_to_have_none_is_late(desk: Desk) -> None:
    seen = Coverage(KRW, SYMBOL, "1m", DAY, 1440, 0, 1440, None, None, "upbit", "upbit", "raw", "complete", at(24))
    record_coverage(desk.db, [seen])
    assert look(desk, at(24)) == 0
    store(desk, minutes(600, 601), at(30))
    assert look(desk, at(30)) == 1
    assert kinds(desk) == [("late", "1m", 1)]


def test_a_run_that_dies_before_it_records_leaves_all_to_the_next(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    store(desk, minutes(0, 130), at(2, 10))
    look(desk, at(2, 10))
    store(desk, minutes(30, 31, 101.0), at(2, 20))

    def killed(*_args: object, **_kwargs: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(bars, "put_versions", killed)
        with pytest.raises(KeyboardInterrupt):
            look(desk, at(2, 20))
    assert kinds(desk) == []
    assert look(desk, at(2, 30)) == 1
    assert look(desk, at(2, 40)) == 0
    assert kinds(desk) == [("changed", "1m", 1)]


def test_decision_bars_and_last_closes_as_of_a_time_are_made_of_what_was_stored_then(desk: Desk) -> None:
    market = desk.settings.krw_crypto
    store(desk, minutes(0, 120), at(2))
    store(desk, minutes(59, 60, 101.0), at(3))
    delete_bars(desk.db, KRW, "1m", minutes(110, 120), at=at(4))
    store(desk, minutes(120, 180, 103.0), at(5))

    def closes(when: datetime) -> list[float]:
        return decision_bars(desk, market, DAY, DAY, closed_by=at(24), as_of=when)["close"].tolist()

    assert closes(at(1)) == []
    assert closes(at(2)) == [100.0, 100.0]
    assert closes(at(3)) == [101.0, 100.0]
    hours = decision_bars(desk, market, DAY, DAY, closed_by=at(24), as_of=at(4))
    assert hours["volume"].tolist() == [60.0, 50.0]
    assert closes(at(5)) == [101.0, 100.0, 103.0]
    assert closes(at(5)) == decision_bars(desk, market, DAY, DAY, closed_by=at(24))["close"].tolist()
    for when, price in ((at(2), 100.0), (at(3), 101.0)):
        last = last_closes(desk, market, [SYMBOL], at(1), as_of=when)
        assert {symbol: float(one.price) for symbol, one in last.items()} == {SYMBOL: price}
