"""Sessions and months as Dagster sees them at frozen times, and that no dependency of the graph looks ahead."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from typing import Final

import dagster as dg
import pytest

from quant_pipeline.assets.spec import asset_key
from quant_pipeline.build import build_definitions
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import MARKETS
from quant_pipeline.partitions import month_partitions, session_partitions
from quant_pipeline.settings import MarketSettings, load_settings
from quant_pipeline.steps.timing import next_month, tick_session
from quant_pipeline_tests.assets.snapshot import REPOSITORY

CHANGES: Final = {
    "markets": {"us_equity": {"history_start": "2021-11-15"}, "krw_crypto": {"history_start": "2023-11-15"}}
}
SETTINGS: Final = load_settings(REPOSITORY / "quant.toml", environ={}, changes=CHANGES)
US: Final = SETTINGS.us_equity
KRW: Final = SETTINGS.krw_crypto
NAMES: Final = [market.name for market in MARKETS]


def keys_at(definition: dg.TimeWindowPartitionsDefinition, at: datetime) -> list[date]:
    return [date.fromisoformat(key) for key in definition.get_partition_keys(current_time=at)]


def has_key(definition: dg.TimeWindowPartitionsDefinition, key: str, at: datetime) -> bool:
    with dg.partition_loading_context(effective_dt=at):
        return definition.has_partition_key(key)


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def last_key(market: MarketSettings, at: datetime) -> date:
    return keys_at(session_partitions(market), at)[-1]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("at", ["2024-07-05 15:00", "2025-03-14 02:00", "2026-11-27 19:00"])
def test_the_keys_are_the_sessions_of_the_calendar(name: str, at: str) -> None:
    market = SETTINGS.market(name)

    keys = keys_at(session_partitions(market), utc(at))

    assert tuple(keys) == calendar.sessions(market.market.calendar, market.history_start, keys[-1])
    assert keys[-1] >= calendar.last_closed_session(market.market.calendar, utc(at))


@pytest.mark.parametrize(
    ("at", "last"),
    [
        ("2024-07-03 15:00", "2024-07-03"),  # a Wednesday, in session
        ("2024-07-04 15:00", "2024-07-05"),  # a holiday: the next session to open
        ("2024-07-05 15:00", "2024-07-05"),
        ("2024-07-06 15:00", "2024-07-08"),  # a Saturday: Monday
        ("2024-07-08 15:00", "2024-07-08"),
        ("2024-11-28 15:00", "2024-11-29"),  # Thanksgiving: the half day after it
        ("2024-11-30 00:05", "2024-12-02"),  # five minutes into Saturday in UTC, Friday evening in New York
        ("2026-07-03 15:00", "2026-07-06"),  # Independence Day observed on a Friday: Monday
    ],
)
def test_the_last_stock_session_is_the_one_in_progress_or_the_next_to_open(at: str, last: str) -> None:
    assert last_key(US, utc(at)) == date.fromisoformat(last)


@pytest.mark.parametrize("at", ["2024-07-06 00:00", "2024-07-06 23:59", "2024-07-07 12:00"])
def test_crypto_has_a_session_every_day_and_the_last_one_is_in_progress(at: str) -> None:
    assert last_key(KRW, utc(at)) == utc(at).date()


@pytest.mark.parametrize("name", NAMES)
def test_every_tick_names_a_session_that_is_a_partition_by_then(name: str) -> None:
    market = SETTINGS.market(name)
    definition = session_partitions(market)
    start = utc("2024-11-25 00:00")  # a week with a holiday, a half day, a weekend and a month's end

    for hours in range(24 * 9):
        at = start + timedelta(hours=hours, minutes=1)
        key = tick_session(market, at).isoformat()
        assert has_key(definition, key, at), (at, key)


def test_holidays_and_weekends_are_no_partitions() -> None:
    definition = session_partitions(US)
    days = ("2024-07-04", "2024-07-06", "2024-07-07", "2025-01-09", "2026-12-25")

    found = [day for day in days if has_key(definition, day, utc("2027-01-15 15:00"))]

    assert found == []


def test_a_half_day_is_a_partition_like_any_other() -> None:
    assert has_key(session_partitions(US), "2024-11-29", utc("2024-12-02 15:00"))


def test_a_range_over_weekends_and_holidays_is_one_range() -> None:
    definition = session_partitions(US)
    at = utc("2024-12-02 15:00")
    wanted = [day.isoformat() for day in calendar.sessions("nyse", date(2024, 8, 30), date(2024, 12, 2))]

    with dg.partition_loading_context(effective_dt=at):
        subset = definition.empty_subset().with_partition_keys(wanted)
        ranges = list(subset.get_partition_key_ranges(definition))

    assert [(one.start, one.end) for one in ranges] == [("2024-08-30", "2024-12-02")]


@pytest.mark.parametrize(
    ("at", "last"),
    [("2024-02-29 23:59", "2024-02-01"), ("2024-03-01 00:00", "2024-03-01"), ("2024-03-02 10:00", "2024-03-01")],
)
@pytest.mark.parametrize("name", NAMES)
def test_the_last_month_is_the_one_in_progress(name: str, at: str, last: str) -> None:
    keys = keys_at(month_partitions(SETTINGS.market(name)), utc(at))

    assert keys[-1] == date.fromisoformat(last)
    assert keys[0] == SETTINGS.market(name).history_start.replace(day=1)
    assert all(later == next_month(earlier) for earlier, later in pairwise(keys))


def parents(name: str, step: str, key: str, at: str) -> dict[str, list[date]]:
    """The upstream partitions of one partition in the wired graph, by step."""
    graph = build_definitions(SETTINGS).resolve_asset_graph()
    with dg.partition_loading_context(effective_dt=utc(at)):
        found = graph.get_parents_partitions(asset_key(name, step), key)
    assert not found.required_but_nonexistent_parents_partitions
    listed: dict[str, list[date]] = {}
    for parent in found.parent_partitions:
        assert parent.partition_key is not None
        listed.setdefault(parent.asset_key.path[-1], []).append(date.fromisoformat(parent.partition_key))
    return {step: sorted(days) for step, days in listed.items()}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["model", "hyperparameters"])
def test_what_serves_a_month_needs_the_24_months_before_it_and_nothing_of_it(name: str, step: str) -> None:
    needed = parents(name, step, "2026-03-01", "2026-03-20 15:00")

    kind = SETTINGS.market(name).market.calendar
    assert tuple(needed["features"]) == calendar.sessions(kind, date(2024, 3, 1), date(2026, 2, 28))
    assert needed.get("hyperparameters", [date(2026, 3, 1)]) == [date(2026, 3, 1)]


@pytest.mark.parametrize("name", NAMES)
def test_the_training_window_of_the_first_months_begins_with_the_first_session(name: str) -> None:
    start = SETTINGS.market(name).history_start
    month = next_month(start)

    needed = parents(name, "model", month.replace(day=1).isoformat(), "2026-03-20 15:00")["features"]

    assert tuple(needed) == calendar.sessions(
        SETTINGS.market(name).market.calendar, start, month.replace(day=1) - timedelta(1)
    )


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("step", ["predictions", "model_update"])
@pytest.mark.parametrize(
    ("session", "month"), [("2026-03-02", "2026-03-01"), ("2026-03-31", "2026-03-01"), ("2026-04-01", "2026-04-01")]
)
def test_a_session_uses_the_model_of_its_own_month(name: str, step: str, session: str, month: str) -> None:
    needed = parents(name, step, session, "2026-04-20 15:00")

    assert needed["model"] == [date.fromisoformat(month)]
    assert needed["features"] == [date.fromisoformat(session)]


@pytest.mark.parametrize("name", NAMES)
def test_nothing_in_the_graph_depends_on_a_later_session(name: str) -> None:
    graph = build_definitions(SETTINGS).resolve_asset_graph()
    session, month = "2026-03-16", "2026-03-01"

    for node in graph.asset_nodes:
        if node.key.path[0] != name:
            continue
        is_monthly = node.key.path[1] in ("model", "hyperparameters")
        needed = parents(name, node.key.path[1], month if is_monthly else session, "2026-04-20 15:00")
        latest = max((day for days in needed.values() for day in days), default=date.min)
        assert latest <= date.fromisoformat(month if is_monthly else session), node.key


@pytest.mark.parametrize("name", NAMES)
def test_session_assets_share_one_definition_so_that_they_share_a_run(name: str) -> None:
    graph = build_definitions(SETTINGS).resolve_asset_graph()
    sessions = [
        n for n in graph.asset_nodes if n.key.path[0] == name and n.key.path[1] not in ("model", "hyperparameters")
    ]

    assert len(sessions) == 10
    assert {node.partitions_def for node in sessions} == {session_partitions(SETTINGS.market(name))}
    assert {node.backfill_policy for node in sessions} == {dg.BackfillPolicy.single_run()}


def test_a_later_start_begins_with_its_first_session_and_leaves_out_the_holidays_before_it() -> None:
    changes = {"markets": {"us_equity": {"history_start": "2026-01-01"}}}
    later = session_partitions(load_settings(REPOSITORY / "quant.toml", environ={}, changes=changes).us_equity)

    assert keys_at(later, utc("2026-01-20 15:00"))[:2] == [date(2026, 1, 2), date(2026, 1, 5)]
    assert 1 < len(later.exclusions or ()) < len(session_partitions(US).exclusions or ())
