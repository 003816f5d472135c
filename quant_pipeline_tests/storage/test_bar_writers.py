"""Several writers of the same bars at once: threads, processes, and one that does not keep to the lock."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import adbc_driver_manager
import pandas as pd
import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline.storage import bars as bars_module
from quant_pipeline.storage.bars import BarChange, delete_bars, read_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import BarsInUseError
from quant_pipeline.storage.staging import Cursor
from quant_pipeline_tests.storage.bar_writer import COUNT, OVERLAP, START, SYMBOLS, turn_of
from quant_pipeline_tests.storage.builders import AT, MARKET, REPOSITORY, bars, later

_FROM, _TO = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_ROUNDS = 8
_WAITING = """
SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted
AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
"""
_HISTORY = """
SELECT symbol, ts, source, open, high, low, close, volume, fetched_at, superseded_at, id FROM bar_revisions
UNION ALL
SELECT symbol, ts, source, open, high, low, close, volume, fetched_at, NULL, NULL FROM bars
ORDER BY symbol, ts, id NULLS LAST
"""


def _write(db: Database, frame: pd.DataFrame, at: datetime = AT) -> BarChange:
    return upsert_bars(db, MARKET, "1m", frame, source="", feed="", adjustment="raw", at=at)


def _read(db: Database) -> pd.DataFrame:
    return read_bars(db, MARKET, "1m", None, _FROM, _TO)


def _revisions(db: Database) -> list:
    with db.begin() as connection:
        return list(connection.execute(text("SELECT * FROM bar_revisions ORDER BY id")).all())


def test_two_processes_over_the_same_bars_lose_double_and_tear_nothing(database: Database) -> None:
    with _two_writers(database) as running:
        while any(process.poll() is None for process in running):
            _require_whole_turns(_read(database))
        assert [process.wait() for process in running] == [0, 0]

    now = _read(database)
    assert len(now) == len(SYMBOLS) * (COUNT + OVERLAP)
    assert not now.duplicated(["symbol", "ts"]).any()
    _require_whole_turns(now)
    with database.begin() as connection:
        history = pd.DataFrame([row._mapping for row in connection.execute(text(_HISTORY))])
    numbers = history[["open", "high", "low", "close", "volume"]]
    assert numbers.eq(history["open"], axis=0).all(axis=None)  # every row, kept or current, is wholly of one write
    assert (history["open"] // 1000 == history["source"].astype(float)).all()
    for (_, ts), rows in history.groupby(["symbol", "ts"]):
        minute = (ts - START) // pd.Timedelta(minutes=1)
        writers = [number for number in (0, 1) if OVERLAP * number <= minute < OVERLAP * number + COUNT]
        written = [turn_of(writer, turn) for writer in writers for turn in range(_ROUNDS)]
        assert sorted(rows["open"]) == written  # each write of this bar once: none lost, none doubled
        assert rows["superseded_at"].tolist()[:-1] == rows["fetched_at"].tolist()[1:]  # each in force until the next
        assert rows["superseded_at"].isna().tolist() == [False] * (len(rows) - 1) + [True]


@contextmanager
def _two_writers(db: Database) -> Iterator[list[subprocess.Popen[str]]]:
    """Two processes that both wait for their first turn, and are let go at once."""
    command = [sys.executable, "-W", "error", "-m", "quant_pipeline_tests.storage.bar_writer"]
    with ExitStack() as stack:
        running = []
        with db.advisory_lock(f"bars/{MARKET}/1m", wait=True):
            for number in (0, 1):
                process = subprocess.Popen(
                    [*command, str(number), str(_ROUNDS)], stdin=subprocess.PIPE, text=True, cwd=REPOSITORY
                )
                stack.callback(process.wait)
                stack.callback(process.kill)
                assert process.stdin is not None
                with process.stdin as pipe:
                    pipe.write(f"{db.dsn.adbc()}\n")
                running.append(process)
            assert wait_until(lambda: _waiting(db) == 2, timeout=60)
        yield running


def _waiting(db: Database) -> int:
    with db.begin() as connection:
        found: int = connection.execute(text(_WAITING)).scalar_one()
        return found


def _require_whole_turns(frame: pd.DataFrame) -> None:
    """A reader sees whole writes: all bars that only one writer writes, and all that both write, are of one turn each."""
    minute = (frame["ts"] - START) // pd.Timedelta(minutes=1)
    parts = frame.groupby(pd.cut(minute, [-1, OVERLAP - 1, COUNT - 1, COUNT + OVERLAP]), observed=True)
    assert (parts[["open", "high", "low", "close", "volume"]].nunique().to_numpy() == 1).all()


@pytest.mark.parametrize(
    ("sql", "error"),
    [
        ("DELETE FROM bars WHERE symbol = 'A'", BarsInUseError),
        ("INSERT INTO bars SELECT market, 'C', interval, ts, 7, 7, 7, 7, 7, '', '', '', now() FROM bars WHERE symbol = 'A'",
         adbc_driver_manager.IntegrityError),
    ],
)  # fmt: skip
def test_writer_past_the_lock_that_adds_or_removes_bars_is_met_and_nothing_of_ours_is_stored(
    database: Database, monkeypatch: pytest.MonkeyPatch, sql: str, error: type[Exception]
) -> None:
    first, second = bars(["A", "B"], "2024-01-31 23:58", 4), bars(["A", "B", "C"], "2024-01-31 23:58", 4, seed=1)
    _write(database, first)
    _intrude(database, monkeypatch, sql)

    with pytest.raises(error, match=r"write them again|bars_2024_01_pkey"):
        _write(database, second, at=later(1))

    monkeypatch.undo()
    assert _revisions(database) == []
    left = _read(database)
    pd.testing.assert_frame_equal(
        left[left["symbol"] == "B"].reset_index(drop=True), first.iloc[4:].reset_index(drop=True)
    )
    _write(database, second, at=later(2))
    pd.testing.assert_frame_equal(_read(database), second)


def test_change_by_a_writer_past_the_lock_is_kept_like_any_other(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = bars(["A"], "2024-01-02", 3), bars(["A"], "2024-01-02", 3, seed=1)
    _write(database, first)
    _intrude(database, monkeypatch, "UPDATE bars SET open = 7, high = 7, low = 7, close = 7, volume = 7")

    _write(database, second, at=later(1))

    assert [row.close for row in _revisions(database)] == [7, 7, 7]
    pd.testing.assert_frame_equal(_read(database), second)


def test_deletion_meets_a_writer_past_the_lock_too(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    frame = bars(["A", "B"], "2024-01-02", 3)
    _write(database, frame)
    _intrude(database, monkeypatch, "DELETE FROM bars WHERE symbol = 'A'")
    with pytest.raises(BarsInUseError, match="3 bars of us_equity 1m vanished"):
        delete_bars(database, MARKET, "1m", frame, at=later(1))
    assert len(_read(database)) == 3
    assert _revisions(database) == []


def test_bars_that_are_being_replaced_cannot_be_changed_by_others_before_the_end(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between keeping the old value and writing the new one a third value would be lost without a trace."""
    first, second = bars(["A"], "2024-01-02", 3), bars(["A"], "2024-01-02", 3, seed=1)
    _write(database, first)
    run, refused = bars_module.run, []

    def intruded(cursor: Cursor, sql: str, parameters: Sequence[Any] = ()) -> None:
        if sql.strip().startswith("UPDATE bars"):
            with database.begin() as connection:
                connection.exec_driver_sql("SET LOCAL lock_timeout = '50ms'")
                with pytest.raises(OperationalError, match="lock timeout"):
                    connection.exec_driver_sql("UPDATE bars SET open = 7")
                connection.rollback()
            refused.append(sql)
        run(cursor, sql, parameters)

    monkeypatch.setattr(bars_module, "run", intruded)
    _write(database, second, at=later(1))
    assert len(refused) == 1
    assert [row.open for row in _revisions(database)] == first["open"].tolist()


def _intrude(db: Database, monkeypatch: pytest.MonkeyPatch, sql: str) -> None:
    """Run `sql` on another connection after the writer has compared, before it writes; without its lock."""
    summarise = bars_module._summary

    def intruded(*arguments: object) -> object:
        with db.begin() as connection:
            connection.exec_driver_sql(sql)
        return summarise(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(bars_module, "_summary", intruded)


def test_writers_of_the_same_bars_lose_nothing_and_never_deadlock(database: Database) -> None:
    """Four writers restate the same bars in opposite orders; every value written is either current or a revision."""
    rounds, writers = 6, 4
    errors: list[BaseException] = []
    barrier = threading.Barrier(writers)

    def write(number: int) -> None:
        try:
            barrier.wait(30)
            for turn in range(rounds):
                frame = bars(["A", "B", "C"], "2024-01-31 23:00", 100, seed=1000 * number + turn)
                if number % 2:
                    frame = frame.iloc[::-1]
                _write(database, frame, at=AT + timedelta(seconds=turn))
        except BaseException as error:  # noqa: BLE001 - reported by the test itself
            errors.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert errors == []
    assert len(_read(database)) == 300
    assert len(_revisions(database)) == 300 * (rounds * writers - 1)


def test_writers_that_insert_the_same_new_bars_insert_each_once(database: Database) -> None:
    barrier = threading.Barrier(4)
    results: list[BarChange] = []

    def write() -> None:
        barrier.wait(30)
        results.append(_write(database, bars(["A", "B"], "2024-01-02", 500)))

    threads = [threading.Thread(target=write) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sum(result.inserted for result in results) == 1000
    assert sum(result.changed for result in results) == 0
    assert sum(result.unchanged for result in results) == 3000
    assert _revisions(database) == []
