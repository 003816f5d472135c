"""Data versions: history, current rows, and what counts as a change."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import date, timedelta

import pytest
from sqlalchemy import text

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.versions import Version, VersionChange, current_versions, put_versions, version_history
from quant_pipeline_tests.storage.builders import AT, MARKET, SESSION, later

_FIRST = Version(MARKET, "features", SESSION, "A", "content-1", "inputs-1", "code-1", "settings-1", AT, "run-1")


def _confirmed(db: Database) -> list:
    with db.begin() as connection:
        return list(connection.execute(text("SELECT confirmed_at FROM data_versions ORDER BY id")).scalars())


def test_first_version_is_current(database: Database) -> None:
    assert put_versions(database, [_FIRST]) == VersionChange(1, ((SESSION, "A"),))
    assert current_versions(database, MARKET, "features", [SESSION]) == {(SESSION, "A"): _FIRST}


def test_equal_version_again_adds_nothing_but_is_confirmed(database: Database) -> None:
    put_versions(database, [_FIRST])
    again = replace(_FIRST, created_at=later(5), run_id="run-2")
    assert put_versions(database, [again]) == VersionChange(0, ())
    assert current_versions(database, MARKET, "features", [SESSION]) == {(SESSION, "A"): _FIRST}
    assert _confirmed(database) == [later(5)]


@pytest.mark.parametrize("field", ["content_hash", "inputs_hash", "code_hash", "settings_hash"])
def test_any_difference_adds_a_row_and_keeps_the_old_one(database: Database, field: str) -> None:
    put_versions(database, [_FIRST])
    second = replace(_FIRST, **{field: "other"}, created_at=later(5))
    change = put_versions(database, [second])
    assert change.added == 1
    assert change.content_changed == (((SESSION, "A"),) if field == "content_hash" else ())
    assert version_history(database, MARKET, "features", SESSION, "A") == (_FIRST, second)
    assert current_versions(database, MARKET, "features", [SESSION]) == {(SESSION, "A"): second}


def test_going_back_to_an_older_content_is_a_new_version(database: Database) -> None:
    second = replace(_FIRST, content_hash="content-2", created_at=later(1))
    third = replace(_FIRST, created_at=later(2))
    for version in (_FIRST, second, third):
        put_versions(database, [version])
    assert version_history(database, MARKET, "features", SESSION, "A") == (_FIRST, second, third)


def test_current_versions_are_narrowed_by_step_sessions_and_symbols(database: Database) -> None:
    days = [SESSION + timedelta(days=n) for n in range(4)]
    rows = [replace(_FIRST, session=day, symbol=symbol) for day in days for symbol in ("A", "B")]
    put_versions(database, [*rows, replace(_FIRST, step="signals"), replace(_FIRST, market="krw_crypto")])
    found = current_versions(database, MARKET, "features", [days[0], days[2]], ["B"])
    assert list(found) == [(days[0], "B"), (days[2], "B")]
    assert current_versions(database, MARKET, "features", []) == {}
    assert current_versions(database, MARKET, "features", [date(2020, 1, 1)]) == {}


def test_adding_a_symbol_restates_nobody(database: Database) -> None:
    put_versions(database, [_FIRST])
    change = put_versions(database, [replace(_FIRST, created_at=later(1)), replace(_FIRST, symbol="B")])
    assert change == VersionChange(1, ((SESSION, "B"),))


def test_writers_at_the_same_time_leave_one_current_row(database: Database) -> None:
    def write(number: int) -> VersionChange:
        return put_versions(
            database, [replace(_FIRST, symbol=s, content_hash=f"content-{number}") for s in ("A", "B", "C")]
        )

    with ThreadPoolExecutor(4) as pool:
        changes = list(pool.map(write, range(8)))
    assert sum(change.added for change in changes) == 24
    assert len(current_versions(database, MARKET, "features", [SESSION])) == 3
    assert len(version_history(database, MARKET, "features", SESSION, "A")) == 8


def test_naive_time_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="no time zone"):
        put_versions(database, [replace(_FIRST, created_at=AT.replace(tzinfo=None))])
