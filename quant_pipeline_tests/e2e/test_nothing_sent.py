"""Backfills of everything over past sessions, as the web UI launches them: nothing is sent, nothing traded changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from sqlalchemy import text

from quant_pipeline.assets.spec import asset_key
from quant_pipeline.automation import CHAIN
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline_tests.e2e.conftest import Traded
from quant_pipeline_tests.e2e.desks import OpenDesk
from quant_pipeline_tests.e2e.worlds import NAMES, live_sessions, past_sessions

LEDGER: Final = (
    "intents",
    "orders",
    "order_events",
    "fills",
    "positions",
    "cash_flows",
    "risk_state",
    "risk_events",
    "control_state",
)


def backfill(desk: OpenDesk, name: str, steps: Sequence[str], sessions: Sequence[date]) -> dg.ExecuteInProcessResult:
    """What one run of a backfill from the UI executes: a selection of assets and a range of partitions."""
    job = desk.defs.resolve_implicit_global_asset_job_def()
    keys = [asset_key(name, step) for step in steps]
    if len(sessions) == 1:
        return job.execute_in_process(
            instance=desk.instance, asset_selection=keys, partition_key=sessions[0].isoformat()
        )
    tags = {
        ASSET_PARTITION_RANGE_START_TAG: sessions[0].isoformat(),
        ASSET_PARTITION_RANGE_END_TAG: sessions[-1].isoformat(),
    }
    return job.execute_in_process(instance=desk.instance, asset_selection=keys, tags=tags)


def traded_state(db: Database, name: str, book: str) -> dict[str, Any]:
    """Everything about a market that trading wrote, row by row, and the state of the shadow book."""
    with db.begin() as connection:
        rows = {
            table: sorted(str(tuple(row)) for row in connection.execute(text(f"SELECT * FROM {table}")))
            for table in LEDGER
        }
        decided = "SELECT * FROM decisions WHERE market = :market AND book = :book"
        rows["decisions"] = sorted(
            str(tuple(row)) for row in connection.execute(text(decided), {"market": name, "book": book})
        )
        marked = "SELECT * FROM equity WHERE market = :market AND book = :book"
        rows["equity"] = sorted(
            str(tuple(row)) for row in connection.execute(text(marked), {"market": name, "book": book})
        )
    return rows


def last_request(admin: AdminClient) -> int:
    return max((int(row["seq"]) for row in admin.requests()), default=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_backfill_of_all_session_assets_sends_nothing_and_leaves_both_books_as_they_are(
    traded: Traded, copied: OpenDesk, name: str
) -> None:
    """As one run of a range, and as single partitions."""
    admin, db = traded.venues[name].admin, copied.desk.db
    book = copied.settings.market(name).broker_book
    sessions = (*past_sessions(name)[-40:], *live_sessions(name))
    before, shadow = traded_state(db, name, book), shadow_state_hashes(db, name, sessions[0], sessions[-1])
    versions, after = count_shadow_decisions(db, name), last_request(admin)
    assert before["orders"]
    assert before["fills"]

    assert backfill(copied, name, CHAIN, sessions).success
    for session in (sessions[0], *live_sessions(name)):
        assert backfill(copied, name, CHAIN, [session]).success

    assert admin.requests(method="POST", after=after) == []
    assert admin.requests(method="DELETE", after=after) == []
    assert traded_state(db, name, book) == before
    assert shadow_state_hashes(db, name, sessions[0], sessions[-1]) == shadow
    assert count_shadow_decisions(db, name) == versions


def test_a_backfill_with_fine_tuning_sends_nothing_and_comes_out_the_same_when_it_is_run_again(
    traded: Traded, copied: OpenDesk
) -> None:
    """Updates made afterwards serve in research, so the shadow book may change, but only the first time."""
    name, live = "us_equity", live_sessions("us_equity")
    admin, db = traded.venues[name].admin, copied.desk.db
    book = copied.settings.market(name).broker_book
    before, after = traded_state(db, name, book), last_request(admin)

    found = []
    for _ in range(2):
        assert backfill(copied, name, (*CHAIN, "model_update"), live).success
        found.append((shadow_state_hashes(db, name, live[0], live[-1]), count_shadow_decisions(db, name)))

    assert found[0] == found[1]
    assert admin.requests(method="POST", after=after) == []
    assert traded_state(db, name, book) == before


def count_shadow_decisions(db: Database, name: str) -> int:
    with db.begin() as connection:
        found = connection.execute(
            text("SELECT count(*) FROM decisions WHERE market = :market AND book = 'shadow'"), {"market": name}
        )
        return int(found.scalar_one())


@pytest.mark.parametrize("name", NAMES)
def test_materializing_a_past_session_of_orders_and_book_shows_what_is_stored(copied: OpenDesk, name: str) -> None:
    session = live_sessions(name)[-1]

    done = backfill(copied, name, ("orders", "book"), [session])

    events = {e.asset_key.path[-1]: e for e in done.get_asset_materialization_events() if e.asset_key is not None}
    stored = {step: e.materialization.metadata["dagster/partition_row_count"].value for step, e in events.items()}
    with copied.desk.db.begin() as connection:
        fills = connection.execute(
            text("SELECT count(*) FROM fills WHERE market = :market AND at::date = :day"),
            {"market": name, "day": session},
        ).scalar_one()
    assert stored["book"] == fills
    (check,) = done.get_asset_check_evaluations()
    assert check.passed
    assert "only a tick of the live chain asks the venue" in str(check.metadata["result"].value)
