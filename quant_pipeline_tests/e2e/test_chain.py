"""The whole chain through Dagster: what each run materialized, what its metadata says, and what the exchange did."""

from __future__ import annotations

from datetime import date
from typing import Any, Final

import dagster as dg
import pytest
from dagster._core.event_api import AssetRecordsFilter

from quant_pipeline.assets.bar_checks import CHECKS
from quant_pipeline.assets.spec import asset_key
from quant_pipeline.automation import CHAIN, DECIDED, PREPARED
from quant_pipeline.core.values import OrderState, Reason, Side
from quant_pipeline.demo.summary import summarize
from quant_pipeline.markets import calendar
from quant_pipeline.steps.tables import stored_outcomes
from quant_pipeline.steps.timing import session_span
from quant_pipeline.storage.decisions import decision, latest_decisions
from quant_pipeline.storage.identity import get_code, get_platform, get_settings
from quant_pipeline.storage.intents import intent
from quant_pipeline.storage.orders import orders_between
from quant_pipeline_tests.e2e.conftest import Traded
from quant_pipeline_tests.e2e.desks import OpenDesk
from quant_pipeline_tests.e2e.worlds import NAMES, SERVED_MONTH, TRAINED, live_sessions, past_sessions

IN_LAKE: Final = ("indicators", "signals", "features", "predictions", "decisions", "performance")


def sessions_of(name: str) -> tuple[date, ...]:
    return (*past_sessions(name), *live_sessions(name))


def materialized(read: OpenDesk, name: str, step: str) -> set[str]:
    return set(read.instance.get_materialized_partitions(asset_key(name, step)))


def metadata_of(read: OpenDesk, name: str, step: str, key: str) -> dict[str, Any]:
    """What the newest materialization of a partition says."""
    wanted = AssetRecordsFilter(asset_key(name, step), asset_partitions=[key])
    (record,) = read.instance.fetch_materializations(wanted, limit=1).records
    assert record.asset_materialization is not None
    return {label: value.value for label, value in record.asset_materialization.metadata.items()}


@pytest.mark.parametrize("name", NAMES)
def test_every_session_is_a_filled_partition_of_every_step(read: OpenDesk, name: str) -> None:
    every = {session.isoformat() for session in sessions_of(name)}
    live = {session.isoformat() for session in live_sessions(name)}
    # The tick that opens the session after the last one sends what that one decided; it is part of the chain too.
    after = calendar.next_session(read.settings.market(name).market.calendar, live_sessions(name)[-1]).isoformat()
    also = {after} if name == "us_equity" else set()

    for step in (*PREPARED, *DECIDED):
        assert materialized(read, name, step) == every | also, step
    for step in ("orders", "book"):
        assert materialized(read, name, step) == live | also, step
    for step in ("hyperparameters", "model"):
        assert materialized(read, name, step) == {month.isoformat() for month in TRAINED[name]}, step


@pytest.mark.parametrize("name", NAMES)
def test_every_tick_was_one_successful_run_of_the_whole_chain_in_its_order(
    traded: Traded, read: OpenDesk, name: str
) -> None:
    for tick in traded.ticks[name]:
        run = read.instance.get_run_by_id(tick.run_id)
        assert run is not None
        assert run.status is dg.DagsterRunStatus.SUCCESS
        assert run.tags["quant/desk"] == name
        events = read.instance.all_logs(tick.run_id, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION)
        made = [e.get_dagster_event().asset_key for e in events]
        steps = [key.path[-1] for key in made if key is not None]
        assert sorted(steps) == sorted(CHAIN)
        order = [
            steps.index(step)
            for step in ("bars", "signals", "predictions", "decisions", "orders", "book", "performance")
        ]
        assert order == sorted(order), steps


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", IN_LAKE)
def test_metadata_says_how_many_rows_are_stored_and_their_data_version(read: OpenDesk, name: str, step: str) -> None:
    """For a session made in a range and one made by ticks: the numbers in the UI are those of the storage."""
    for session in (past_sessions(name)[-1], live_sessions(name)[-1]):
        (stored,) = stored_outcomes(read.desk, read.settings.market(name).name, step, [session])
        table = read.desk.lake.get_table(name, step, session)
        said = metadata_of(read, name, step, session.isoformat())

        assert table is not None
        assert said["dagster/partition_row_count"] == table.num_rows == stored.rows
        assert said["data_version"] == stored.content_hash


@pytest.mark.parametrize("name", NAMES)
def test_stored_columns_are_those_that_the_asset_declares(read: OpenDesk, name: str) -> None:
    graph = read.defs.resolve_asset_graph()
    session = live_sessions(name)[-1]

    for step in IN_LAKE:
        declared = graph.get(asset_key(name, step)).metadata["dagster/column_schema"]
        table = read.desk.lake.get_table(name, step, session)
        assert table is not None
        stored = {field.name: str(field.type).replace("tz=", "") for field in table.schema}
        assert stored == {column.name: column.type for column in declared.columns}, step


@pytest.mark.parametrize("name", NAMES)
def test_bars_orders_and_book_say_what_they_hold(read: OpenDesk, name: str) -> None:
    market = read.settings.market(name)
    bars_a_day = market.bars_per_day * len(market.symbols)
    for session in (past_sessions(name)[3], live_sessions(name)[0]):
        said = metadata_of(read, name, "bars", session.isoformat())
        assert said["dagster/partition_row_count"] == bars_a_day
        assert said["symbols"] == len(market.symbols)
        assert said["volume"] > 0

    sent = {
        session: metadata_of(read, name, "orders", session.isoformat())["dagster/partition_row_count"]
        for session in live_sessions(name)
    }
    start, end = session_span(live_sessions(name)[0], live_sessions(name)[-1])
    assert sum(sent.values()) == len(orders_between(read.desk.db, name, market.broker_book, start, end)) > 0
    book = metadata_of(read, name, "book", live_sessions(name)[-1].isoformat())
    assert book["equity"] > 0
    assert book["differences"] == 0


@pytest.mark.parametrize("name", NAMES)
def test_models_say_from_which_sessions_they_were_trained_and_their_mlflow_versions(read: OpenDesk, name: str) -> None:
    said = metadata_of(read, name, "model", SERVED_MONTH.isoformat())

    assert said["trained"] == said["dagster/partition_row_count"] == len(read.settings.market(name).symbols)
    assert said["accepted"] + said["rejected"] == said["trained"]
    assert said["accepted"] > 0
    assert all(f"{symbol} v" in said["mlflow_versions"] for symbol in read.settings.market(name).symbols)
    assert date.fromisoformat(said["trained_from"]) >= past_sessions(name)[0]
    assert date.fromisoformat(said["trained_to"]) < SERVED_MONTH


@pytest.mark.parametrize("name", NAMES)
def test_the_checks_of_every_tick_are_recorded_and_passed(traded: Traded, read: OpenDesk, name: str) -> None:
    runs = {tick.run_id for tick in traded.ticks[name]}
    wanted = {("bars", check) for check in CHECKS} | {("book", "reconciliation")}

    for step, check in wanted:
        key = dg.AssetCheckKey(asset_key(name, step), check)
        found = read.instance.event_log_storage.get_asset_check_execution_history(key, limit=1000)
        passed = {record.run_id for record in found if record.status.value == "SUCCEEDED"}
        assert runs <= passed, (step, check)


@pytest.mark.parametrize("name", NAMES)
def test_orders_were_filled_and_the_ledger_equals_the_exchange(traded: Traded, read: OpenDesk, name: str) -> None:
    market = read.settings.market(name)

    found = summarize(read.desk, market, live_sessions(name), traded.venues[name].admin)

    assert found.differences == ()
    assert (found.filled_buys > 0, found.filled_sells > 0) == (True, True), found
    assert found.posts == sum(found.orders.values())
    assert set(found.orders) == {"filled"}
    assert found.opinions > 0
    assert found.holds > 0
    assert found.equity_after != found.equity_before


@pytest.mark.parametrize("name", NAMES)
def test_every_order_leads_to_its_decision_and_that_to_all_it_was_made_from(read: OpenDesk, name: str) -> None:
    market = read.settings.market(name)
    start, end = session_span(live_sessions(name)[0], live_sessions(name)[-1])
    orders = orders_between(read.desk.db, name, market.broker_book, start, end)
    assert {order.side for order in orders} == {Side.BUY, Side.SELL}

    for order in orders:
        assert order.state is OrderState.FILLED
        planned = intent(read.desk.db, order.intent_id)
        assert planned is not None
        made = decision(read.desk.db, planned.decision_id)
        assert made is not None
        assert get_settings(read.desk.db, made.settings_hash) == market.trading_content()
        assert get_code(read.desk.db, made.code_hash) is not None
        assert get_platform(read.desk.db, made.platform_hash)
        if Reason[made.reason.upper()] is Reason.BUY_SIGNAL:
            assert set(made.inputs) == {"bars", "indicators", "signals", "features", "predictions"}
            assert made.model_version_id is not None


@pytest.mark.parametrize("name", NAMES)
def test_each_bar_was_decided_once_for_the_broker_and_before_its_orders(
    traded: Traded, read: OpenDesk, name: str
) -> None:
    market = read.settings.market(name)
    live = live_sessions(name)
    ticks = {tick.at for tick in traded.ticks[name]}

    decided = latest_decisions(read.desk.db, name, market.broker_book, live[0], live[-1])

    at_closes = [d for d in decided if Reason[d.reason.upper()] not in (Reason.TAKE_PROFIT, Reason.STOP_LOSS)]
    assert len(at_closes) == len(live) * market.bars_per_day * len(market.symbols)
    assert {d.version for d in decided} == {1}
    assert all(d.decided_at >= d.bar_close and d.decided_at in ticks for d in decided)


def test_a_stock_decision_of_one_session_trades_at_the_open_of_the_next(read: OpenDesk) -> None:
    market = read.settings.us_equity
    live = live_sessions("us_equity")
    start, end = session_span(live[0], live[-1])
    entries = [
        o for o in orders_between(read.desk.db, "us_equity", market.broker_book, start, end) if o.side is Side.BUY
    ]
    assert entries

    for order in entries:
        planned = intent(read.desk.db, order.intent_id)
        assert planned is not None
        made = decision(read.desk.db, planned.decision_id)
        assert made is not None
        following = calendar.session_hours("nyse", calendar.next_session("nyse", made.session))
        assert made.bar_close == calendar.session_hours("nyse", made.session).closes_at
        assert planned.not_before == order.submitted_at == following.opens_at
