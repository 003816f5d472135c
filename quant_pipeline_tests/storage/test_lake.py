"""The lake: immutable objects, pointers that flip at once, damage that is noticed."""

from __future__ import annotations

import errno
import hashlib
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions
from quant_pipeline.storage.errors import CorruptObjectError, UnknownRecordError
from quant_pipeline.storage.lake import Lake
from quant_pipeline.storage.table_hash import table_hash
from quant_pipeline_tests.storage.builders import MARKET, decision, stored_intent

_DAY = date(2024, 5, 1)
_NEXT = date(2024, 5, 2)
_FUTURE = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture(params=["folder", "memory"])
def lake(request: pytest.FixtureRequest, database: Database, tmp_path: Path) -> Lake:
    """A lake in a folder, and one behind fsspec."""
    return Lake(str(tmp_path / "lake") if request.param == "folder" else f"memory://{uuid.uuid4().hex}", database)


@pytest.fixture
def folder(database: Database, tmp_path: Path) -> Lake:
    """A lake in `tmp_path`, whose files a test may touch."""
    return Lake(str(tmp_path), database)


def _table(value: float = 1.0, rows: int = 2) -> pa.Table:
    ts = pa.array([datetime(2024, 5, 1, tzinfo=UTC)] * rows, pa.timestamp("ns", "UTC"))
    return pa.table({"symbol": ["A"] * rows, "ts": ts, "x": [value] * rows})


def _files(root: Path) -> list[Path]:
    return sorted(path for path in root.rglob("*") if path.is_file())


def test_table_comes_back_with_its_hash(lake: Lake) -> None:
    key = lake.put_table(MARKET, "features", _DAY, _table())
    assert key == table_hash(_table())
    assert lake.get_table(MARKET, "features", _DAY) == _table()
    assert lake.get_object(key) == _table()
    assert lake.present(MARKET, "features", [_DAY, _NEXT]) == {_DAY: key}
    assert lake.row_counts(MARKET, "features", [_DAY, _NEXT]) == {_DAY: 2}


def test_what_was_never_stored_is_none_or_absent(lake: Lake) -> None:
    assert lake.get_table(MARKET, "features", _DAY) is None
    assert lake.present(MARKET, "features", []) == {}
    assert lake.read_range(MARKET, "features", [_DAY, _NEXT]).num_columns == 0
    with pytest.raises(UnknownRecordError, match="0" * 64):
        lake.get_object("0" * 64)
    with pytest.raises(UnknownRecordError, match="0" * 64):
        lake.get_bytes("0" * 64)


def test_new_content_moves_the_pointer_and_keeps_the_old_object(lake: Lake) -> None:
    old = lake.put_table(MARKET, "features", _DAY, _table(1.0))
    new = lake.put_table(MARKET, "features", _DAY, _table(2.0))
    assert old != new
    assert lake.get_table(MARKET, "features", _DAY) == _table(2.0)
    assert lake.get_object(old) == _table(1.0)


def test_range_is_in_order_of_sessions_and_skips_missing_ones(lake: Lake) -> None:
    lake.put_tables(MARKET, "features", {_NEXT: _table(2.0), _DAY: _table(1.0), date(2024, 5, 6): _table(3.0, rows=0)})
    read = lake.read_range(MARKET, "features", [_NEXT, date(2024, 5, 3), _DAY, date(2024, 5, 6)])
    assert read.column("x").to_pylist() == [1.0, 1.0, 2.0, 2.0]


def test_column_that_only_newer_sessions_have_is_null_in_the_older(lake: Lake) -> None:
    lake.put_tables(MARKET, "features", {_DAY: _table(), _NEXT: _table().append_column("y", pa.array([5, 6]))})
    assert lake.read_range(MARKET, "features", [_DAY, _NEXT]).column("y").to_pylist() == [None, None, 5, 6]


def test_column_of_another_type_is_an_error_that_names_the_step(lake: Lake) -> None:
    other = _table().set_column(2, "x", pa.array(["a", "b"]))
    lake.put_tables(MARKET, "features", {_DAY: _table(), _NEXT: other})
    with pytest.raises(TypeError, match="us_equity/features has another type"):
        lake.read_range(MARKET, "features", [_DAY, _NEXT])


def test_equal_content_is_one_object(folder: Lake, tmp_path: Path) -> None:
    tables = {_DAY + timedelta(days=n): _table() for n in range(5)}
    assert set(folder.put_tables(MARKET, "features", tables).values()) == {table_hash(_table())}
    folder.put_table(MARKET, "signals", _DAY, pa.concat_tables([_table().slice(0, 1), _table().slice(1)]))
    assert len(_files(tmp_path)) == 1


def test_relative_root_stays_where_it_was_opened(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    lake = Lake("data/lake", database)
    lake.put_table(MARKET, "features", _DAY, _table())
    monkeypatch.chdir("/")
    assert lake.get_table(MARKET, "features", _DAY) == _table()


def test_bytes_are_found_by_their_sha256(lake: Lake) -> None:
    key = lake.put_bytes("model", b"\0bundle")
    assert key == hashlib.sha256(b"\0bundle").hexdigest()
    assert lake.get_bytes(key) == b"\0bundle"
    assert lake.put_bytes("model", b"\0bundle") == key


def test_damaged_table_is_refused_and_mended_by_writing_it_again(folder: Lake, tmp_path: Path) -> None:
    key = folder.put_table(MARKET, "features", _DAY, _table())
    (file,) = _files(tmp_path)
    sound = file.read_bytes()
    for damaged in (b"", sound[: len(sound) // 2], b"x" * 100):
        file.write_bytes(damaged)
        with pytest.raises(CorruptObjectError, match=key):
            folder.get_table(MARKET, "features", _DAY)
        folder.put_table(MARKET, "features", _DAY, _table())
        assert folder.get_table(MARKET, "features", _DAY) == _table()


def test_object_with_other_content_than_its_name_is_refused(folder: Lake, tmp_path: Path) -> None:
    key = folder.put_table(MARKET, "features", _DAY, _table(1.0))
    (file,) = _files(tmp_path)
    folder.put_table(MARKET, "features", _DAY, _table(2.0))
    (other,) = set(_files(tmp_path)) - {file}
    file.write_bytes(other.read_bytes())
    with pytest.raises(CorruptObjectError, match=key):
        folder.get_object(key)


def test_damaged_bytes_are_refused(folder: Lake, tmp_path: Path) -> None:
    key = folder.put_bytes("model", b"bundle")
    _files(tmp_path)[0].write_bytes(b"bungle")
    with pytest.raises(CorruptObjectError, match=key):
        folder.get_bytes(key)


def test_failed_write_leaves_the_old_pointer_and_no_half_file(
    folder: Lake, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.put_table(MARKET, "features", _DAY, _table(1.0))

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="no space left"):
        folder.put_tables(MARKET, "features", {_DAY: _table(2.0), _NEXT: _table(2.0)})
    assert folder.get_table(MARKET, "features", _DAY) == _table(1.0)
    assert folder.get_table(MARKET, "features", _NEXT) is None
    assert len(_files(tmp_path)) == 1


def test_writers_at_the_same_time_leave_whole_tables(folder: Lake) -> None:
    """Sessions share objects in opposite orders, which must not deadlock; the last pointer of each is a whole table."""

    def write(number: int) -> None:
        days = [_DAY + timedelta(days=n) for n in range(10)]
        tables = {day: _table(float((n + number) % 5)) for n, day in enumerate(days[:: -1 if number % 2 else 1])}
        folder.put_tables(MARKET, "features", tables)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write, range(12)))
    days = [_DAY + timedelta(days=n) for n in range(10)]
    assert folder.read_range(MARKET, "features", days).num_rows == 20


def test_reader_sees_all_pointers_of_a_write_or_none(folder: Lake) -> None:
    days = [_DAY + timedelta(days=n) for n in range(8)]
    stop = threading.Event()
    torn: list[set[str]] = []

    def read() -> None:
        while not stop.is_set():
            found = set(folder.present(MARKET, "features", days).values())
            if len(found) > 1:
                torn.append(found)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(10):
            folder.put_tables(MARKET, "features", dict.fromkeys(days, _table(float(number))))
    finally:
        stop.set()
        reader.join(30)
    assert torn == []


def test_prune_removes_only_what_nobody_refers_to(folder: Lake, tmp_path: Path, database: Database) -> None:
    cited = folder.put_table(MARKET, "features", _DAY, _table(1.0))
    uncited = folder.put_table(MARKET, "features", _DAY, _table(2.0))
    dropped = folder.put_table(MARKET, "features", _DAY, _table(3.0))
    kept = folder.put_table(MARKET, "features", _DAY, _table(4.0))
    current = folder.put_table(MARKET, "features", _DAY, _table(5.0))
    model = folder.put_bytes("model", b"bundle")
    traded, held = decision(inputs={"features": {"AAPL": [cited]}}), decision(inputs={"features": uncited})
    append_decisions(database, [traded, held])
    stored_intent(database, decision_id=traded.id)
    with database.begin() as connection:
        connection.execute(
            text(
                "INSERT INTO model_versions VALUES ('v', 'm', 's', '2024-05-01', 'n', :hash, '', '2024-01-01',"
                " '2024-04-01', '2024-05-01', '2024-06-01', '{}', 'trained', NULL, now())"
            ),
            {"hash": model},
        )
    assert folder.prune(older_than=datetime(2000, 1, 1, tzinfo=UTC)) == 0
    assert folder.prune(older_than=_FUTURE, keep=[kept]) == 2
    left = {path.stem for path in _files(tmp_path)}
    assert left == {cited, kept, current, model}
    assert {uncited, dropped}.isdisjoint(left)
    assert folder.put_table(MARKET, "features", _NEXT, _table(3.0)) == dropped  # may come back at any time
    assert folder.get_table(MARKET, "features", _NEXT) == _table(3.0)


def test_prune_spares_an_object_that_is_being_pointed_at(folder: Lake, database: Database) -> None:
    """A writer that found an old unreferenced object must still find it when it commits its pointer."""
    old = folder.put_table(MARKET, "features", _DAY, _table(1.0))
    folder.put_table(MARKET, "features", _DAY, _table(2.0))
    with database.begin() as connection:
        connection.execute(text("UPDATE lake_objects SET touched_at = '2020-01-01'"))
    limit = datetime(2021, 1, 1, tzinfo=UTC)
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as writer:  # what `put_table` does up to its commit
            writer.execute(text("UPDATE lake_objects SET touched_at = now() WHERE hash = :hash"), {"hash": old})
            pruned = pool.submit(folder.prune, older_than=limit)
            _wait_for_blocked_query(database)
        assert pruned.result(30) == 0
    assert folder.get_object(old) == _table(1.0)


def _wait_for_blocked_query(db: Database) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=20)
    sql = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()")
    while datetime.now(UTC) < deadline:
        with db.begin() as connection:
            if connection.execute(sql).scalar_one():
                return
        threading.Event().wait(0.02)
    pytest.fail("no query ever waited for the writer's lock")
