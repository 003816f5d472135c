"""How the server finds bars: the plans of the very queries that production runs, over years of months with many rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from quant_pipeline.storage import bars_read
from quant_pipeline.storage.bars import last_bars, read_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.staging import Cursor, query
from quant_pipeline_tests.storage.builders import AT, MARKET, bars, later

type Plan = dict[str, Any]

SYMBOLS = [f"S{number}" for number in range(8)]
_DAY = datetime(2022, 3, 31, tzinfo=UTC)
_INDEX_SCANS = {"Index Scan", "Index Only Scan"}


@pytest.fixture
def years(database: Database) -> Database:
    """Two years of eight symbols: 24 months of 1,460 bars each, with the statistics that autovacuum makes."""
    frame = bars(SYMBOLS, "2022-01-01", 2 * 365 * 6, freq="4h")
    upsert_bars(database, MARKET, "4h", frame, source="", feed="", adjustment="", at=AT)
    with database.begin() as connection:
        connection.exec_driver_sql("ANALYZE bars")
    return database


@pytest.fixture
def plans(monkeypatch: pytest.MonkeyPatch) -> list[Plan]:
    """All nodes of the plan of each query about bars, as the server ran it with the parameters given."""
    seen: list[Plan] = []

    def explained(cursor: Cursor, sql: str, parameters: Sequence[Any] = ()) -> Any:
        rows = query(cursor, f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}", parameters)
        seen.extend(_nodes(json.loads(rows.column(0)[0].as_py())[0]["Plan"]))
        return query(cursor, sql, parameters)

    monkeypatch.setattr(bars_read, "query", explained)
    return seen


def test_one_day_touches_one_partition_and_that_of_some_symbols_only_through_its_index(
    years: Database, plans: list[Plan]
) -> None:
    found = read_bars(years, MARKET, "4h", SYMBOLS[:3], _DAY, _DAY + timedelta(days=1))

    assert len(found) == 18
    (scan,) = _scans(plans)
    assert scan["Relation Name"] == "bars_2022_03"
    assert scan["Actual Rows"] == 18

    plans.clear()
    assert len(read_bars(years, MARKET, "4h", None, _DAY, _DAY + timedelta(days=1))) == 48
    assert {scan["Relation Name"] for scan in _scans(plans)} == {"bars_2022_03"}


def test_one_day_as_it_was_known_reads_one_partition_and_the_revisions_by_index(
    years: Database, plans: list[Plan]
) -> None:
    for turn in range(4):
        again = bars(SYMBOLS, "2022-01-01", 6 * 120, freq="4h", seed=turn + 1)
        upsert_bars(years, MARKET, "4h", again, source="", feed="", adjustment="", at=later(turn + 1))
    with years.begin() as connection:
        connection.exec_driver_sql("ANALYZE bars, bar_revisions")

    found = read_bars(years, MARKET, "4h", SYMBOLS[:2], _DAY, _DAY + timedelta(days=1), as_of=later(2))

    assert len(found) == 12
    assert sorted({scan["Relation Name"] for scan in _scans(plans)}) == ["bar_revisions", "bars_2022_03"]
    assert {scan["Node Type"] for scan in _scans(plans)} <= {*_INDEX_SCANS, "Bitmap Heap Scan"}


def test_last_500_bars_come_from_the_indexes_of_the_newest_months_and_from_nothing_else(
    years: Database, plans: list[Plan]
) -> None:
    found = last_bars(years, MARKET, "4h", SYMBOLS, 500, datetime(2030, 1, 1, tzinfo=UTC))

    assert len(found) == 500 * len(SYMBOLS)
    assert {scan["Node Type"] for scan in _scans(plans)} <= _INDEX_SCANS
    assert len(_scans(plans)) == 24
    touched = [scan for scan in _scans(plans) if scan["Actual Loops"] > 0]
    # 500 bars of four hours are 84 days; the older 21 months are in the plan and are never opened for reading.
    assert sorted(scan["Relation Name"] for scan in touched) == ["bars_2023_10", "bars_2023_11", "bars_2023_12"]
    assert sum(scan["Actual Rows"] * scan["Actual Loops"] for scan in touched) == 500 * len(SYMBOLS)
    sorts = [node for node in plans if node["Node Type"] in ("Sort", "Incremental Sort")]
    assert all(node["Actual Rows"] * node["Actual Loops"] <= 500 * len(SYMBOLS) for node in sorts)


def _nodes(plan: Plan) -> list[Plan]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


def _scans(plans: list[Plan]) -> list[Plan]:
    """The nodes that read a table, each once (a bitmap's index part names no table)."""
    return [node for node in plans if "Relation Name" in node]
