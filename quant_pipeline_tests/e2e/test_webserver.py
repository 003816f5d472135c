"""Dagster as a person sees it: the web UI's own queries, runs and backfills launched there, executed by the daemon."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import psutil
import pytest

from quant_pipeline.automation import CHAIN
from quant_pipeline.core.values import Book
from quant_pipeline.runtime.run_worker import WORKER_TAG
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline_tests.assets.snapshot import shipped_definitions
from quant_pipeline_tests.e2e.conftest import Traded
from quant_pipeline_tests.e2e.desks import OpenDesk, opened
from quant_pipeline_tests.e2e.web import Web, running
from quant_pipeline_tests.e2e.worlds import SERVED_MONTH, live_sessions, past_sessions

pytestmark = pytest.mark.timeout(600)

ASSETS: Final = """{ assetNodes { assetKey { path } groupName isPartitioned kinds opNames
  dependencyKeys { path } backfillPolicy { description } } }"""
PARTITIONS: Final = """query ($key: AssetKeyInput!) { assetNodeOrError(assetKey: $key) { ... on AssetNode {
  partitionStats { numMaterialized numPartitions numFailed } } } }"""
BACKFILLED: Final = 60


class Launched:
    """What was launched before anything is waited for, so that the daemon works on all of it at once."""

    def __init__(self, web: Web, requests_before: dict[str, int]) -> None:
        self.web = web
        self.requests_before = requests_before
        crypto = [day.isoformat() for day in (*past_sessions("krw_crypto"), *live_sessions("krw_crypto"))][-BACKFILLED:]
        stocks = [day.isoformat() for day in (*past_sessions("us_equity"), *live_sessions("us_equity"))]
        months = [past_sessions("us_equity")[0].replace(day=1).isoformat(), SERVED_MONTH.isoformat()]
        self.sessions = web.launch_backfill_of_names([("krw_crypto", step) for step in CHAIN], crypto)
        self.whole = web.launch_backfill(
            {("us_equity", step): stocks for step in CHAIN}
            | {("us_equity", step): months for step in ("hyperparameters", "model")}
        )
        self.run = web.launch_run("prepare_krw_crypto", partition=crypto[-1])


@pytest.fixture(scope="module")
def launched(traded: Traded) -> Iterator[Launched]:
    """Webserver and daemon of a desk that has traded crypto; stocks are made from nothing by a backfill."""
    before = {name: len(handle.admin.requests()) for name, handle in traded.venues.items()}
    started = set(psutil.Process().children(recursive=True))
    with running(traded.crypto_only) as web:
        yield Launched(web, before)
    left = [one for one in set(psutil.Process().children(recursive=True)) - started if one.is_running()]
    assert left == [], f"processes outlived the desk: {left}"


@pytest.fixture
def desk(traded: Traded, launched: Launched) -> Iterator[OpenDesk]:
    """The desk that the processes work on, opened here for reading."""
    with opened(traded.crypto_only) as found:
        yield found


def tags_of(run: dict[str, Any]) -> dict[str, str]:
    return {tag["key"]: tag["value"] for tag in run["tags"]}


def test_graphql_lists_every_asset_with_its_group_kinds_and_dependencies(launched: Launched) -> None:
    graph = shipped_definitions().resolve_asset_graph()

    found = {"/".join(node["assetKey"]["path"]): node for node in launched.web.ask(ASSETS)["assetNodes"]}

    assert set(found) == {node.key.to_user_string() for node in graph.asset_nodes}
    for node in graph.asset_nodes:
        shown = found[node.key.to_user_string()]
        assert shown["groupName"] == node.group_name
        assert set(shown["kinds"]) == set(node.kinds or ())
        assert {tuple(key["path"]) for key in shown["dependencyKeys"]} == {tuple(key.path) for key in node.parent_keys}
        assert shown["isPartitioned"]


def test_graphql_shows_the_filled_partitions_of_a_market_that_has_traded(launched: Launched) -> None:
    key = {"path": ["krw_crypto", "orders"]}

    found = launched.web.ask(PARTITIONS, {"key": key})["assetNodeOrError"]["partitionStats"]

    assert found["numMaterialized"] >= len(live_sessions("krw_crypto"))
    assert found["numFailed"] == 0


def test_a_run_launched_in_the_ui_is_executed_by_the_warm_launcher(launched: Launched, desk: OpenDesk) -> None:
    found = launched.web.finished_run(launched.run, timeout=240)

    assert found["status"] == "SUCCESS"
    made = {(one["assetKey"]["path"][-1], one["partition"]) for one in found["assetMaterializations"]}
    session = live_sessions("krw_crypto")[-1].isoformat()
    assert made == {(step, session) for step in ("bars", "indicators", "signals", "features")}
    run = desk.instance.get_run_by_id(launched.run)
    assert run is not None
    assert WORKER_TAG in run.tags


def test_a_backfill_of_sixty_sessions_is_one_run(launched: Launched) -> None:
    found = launched.web.finished_backfill(launched.sessions, timeout=240)

    assert found["status"] == "COMPLETED_SUCCESS", found
    (run,) = found["runs"]
    crypto = (*past_sessions("krw_crypto"), *live_sessions("krw_crypto"))[-BACKFILLED:]
    assert tags_of(run)["dagster/asset_partition_range_start"] == crypto[0].isoformat()
    assert tags_of(run)["dagster/asset_partition_range_end"] == crypto[-1].isoformat()
    assert {stats["stepKey"] for stats in run["stepStats"]} == {f"krw_crypto__{step}" for step in CHAIN}


def test_the_whole_graph_with_models_is_three_runs_and_ends_in_the_same_book(
    traded: Traded, launched: Launched, desk: OpenDesk
) -> None:
    """From nothing, in one backfill of 204 sessions and the 11 months that they lie in.

    Three runs: everything that the model is trained from (bars, indicators, signals, features), then hyperparameters
    and models, then what needs the model (predictions, decisions, orders, book, performance). The shadow book and
    its decisions are those of the desk that made the history in ranges and the rest tick by tick.
    """
    found = launched.web.finished_backfill(launched.whole, timeout=400)

    assert found["status"] == "COMPLETED_SUCCESS", found
    steps = [sorted(stats["stepKey"].split("__")[1] for stats in run["stepStats"]) for run in found["runs"]]
    assert steps == [
        ["bars", "features", "indicators", "signals"],
        ["hyperparameters", "model"],
        ["book", "decisions", "orders", "performance", "predictions"],
    ]
    span = past_sessions("us_equity")[0], live_sessions("us_equity")[-1]
    with opened(traded.place) as ticked:
        books = [shadow_state_hashes(one.desk.db, "us_equity", *span) for one in (desk, ticked)]
        decided = [
            [made.id for made in latest_decisions(one.desk.db, "us_equity", Book.SHADOW, *span)]
            for one in (desk, ticked)
        ]
    assert len(books[0]) == len(past_sessions("us_equity")) + len(live_sessions("us_equity"))
    assert books[0] == books[1]
    assert decided[0] == decided[1]


def test_nothing_launched_in_the_ui_sent_an_order(traded: Traded, launched: Launched) -> None:
    launched.web.finished_run(launched.run, timeout=240)
    launched.web.finished_backfill(launched.sessions, timeout=240)
    launched.web.finished_backfill(launched.whole, timeout=400)

    for name, handle in traded.venues.items():
        since = handle.admin.requests()[launched.requests_before[name] :]
        assert [row for row in since if row["method"] != "GET"] == []
    assert any(row["method"] == "GET" for row in traded.venues["us_equity"].admin.requests())
