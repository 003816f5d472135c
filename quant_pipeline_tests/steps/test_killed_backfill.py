"""A backfill killed (SIGKILL) at ten points and started again: the very bytes of a backfill that nobody disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import date, timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from quant_pipeline.exchange.server import running_exchange
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import get_market
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.killing import Job, Killer, Outcome
from quant_pipeline_tests.steps.prices import Script, write_prices
from quant_pipeline_tests.steps.world import exchange_config, opens, settings_for, url_of

MONDAY, THURSDAY = date(2026, 3, 2), date(2026, 3, 5)
POINTS = 10
TABLES = {
    "bars": "*",
    "bar_revisions": "*",
    "coverage": "*",
    "data_versions": (
        "market, step, session, symbol, content_hash, inputs_hash, code_hash, settings_hash, is_current, created_at,"
        " run_id"
    ),
}
"""What must be equal, byte by byte; the running number of a data version counts attempts."""


@pytest.fixture(scope="module")
def killer() -> Iterator[Killer]:
    """The server whose children are killed."""
    with closing(Killer()) as server:
        yield server


@pytest.mark.parametrize(
    ("market", "script", "changes", "requests"),
    [
        (
            "us_equity",
            {"AAA": {MONDAY: [(0, 100.0)], date(2026, 3, 3): [(60, 101.0)]}, "BBB": {MONDAY: [(0, 50.0)]}},
            {"collect_chunk_rows": 2},
            1,
        ),
        (
            "krw_crypto",
            {"KRW-AAA": {MONDAY: [(0, 1000.0), (600, float("nan")), (900, 990.0)]}, "KRW-BBB": {MONDAY: [(0, 500.0)]}},
            # The last day as minutes, one symbol at a time; the days before as hours, two symbols at a time.
            {"recent_base_sessions": 1, "collect_chunk_rows": 48},
            8,
        ),
    ],
)
def test_a_backfill_killed_anywhere_goes_on_to_the_same_bytes(
    market: str,
    script: Script,
    changes: dict[str, object],
    requests: int,
    tmp_path: Path,
    postgres: Dsn,
    migrated_template: Dsn,
    killer: Killer,
) -> None:
    facts = get_market(market)
    sessions = calendar.sessions(facts.calendar, MONDAY, THURSDAY)
    write_prices(tmp_path / "prices", facts, script, sessions)
    at = opens(market, THURSDAY) + timedelta(hours=24)
    with running_exchange(exchange_config(tmp_path / "prices", at)) as handle:
        url = url_of(handle, market)
        given = {"symbols": tuple(script), "history_start": MONDAY, "trading_url": url, "data_url": url, **changes}
        settings = settings_for(tmp_path / "home", market, **given)

        def backfill(dsn: Dsn, kill_at: int) -> Outcome:
            return killer.run(Job(settings, dsn, market, at, ("bars",), kill_at, sessions))

        with new_database(postgres, template=migrated_template.database) as dsn:
            whole = backfill(dsn, 0)
            assert (whole.signal, whole.code) == (0, 0)
            wanted = _content(dsn)
        assert {name for name, rows in wanted.items() if rows} == {"bars", "coverage", "data_versions"}
        for kill_at in _points(len(whole.effects), each=requests == 1):
            with new_database(postgres, template=migrated_template.database) as dsn:
                ended = backfill(dsn, kill_at)
                assert (ended.signal, ended.effects) == (9, whole.effects[:kill_at])
                again = backfill(dsn, 0)
                assert (again.signal, again.code) == (0, 0)
                assert _content(dsn) == wanted
                # Only the piece in progress is asked for again.
                asked = sum(effect.startswith("GET") for effect in (*ended.effects, *again.effects))
                assert asked <= sum(effect.startswith("GET") for effect in whole.effects) + requests


def _points(effects: int, *, each: bool) -> list[int]:
    """Ten effects after which to kill: one after the other from the second piece on, or from the first to the last."""
    if each:
        return list(range(effects // 4, effects // 4 + POINTS))
    return [1 + point * (effects - 1) // (POINTS - 1) for point in range(POINTS)]


def _content(dsn: Dsn) -> dict[str, list[str]]:
    """All rows of each table as text, sorted."""
    found: dict[str, list[str]] = {}
    with closing(Database(dsn)) as database, database.begin() as connection:
        for table, columns in TABLES.items():
            rows = connection.execute(text(f"SELECT row(t.*)::text FROM (SELECT {columns} FROM {table}) t"))
            found[table] = sorted(row[0] for row in rows)
    return found
