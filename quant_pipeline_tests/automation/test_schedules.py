"""Schedules at frozen times: which runs they ask for, for which partition, and why not otherwise."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.test_utils import create_run_for_test
from dagster._utils.schedules import schedule_execution_time_iterator

from quant_pipeline.assets.spec import asset_key
from quant_pipeline.build import build_definitions
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import MARKETS
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.steps.timing import tick_session
from quant_pipeline_tests.assets.snapshot import REPOSITORY

NEW_YORK: Final = ZoneInfo("America/New_York")
LIVE_CHAIN: Final = "smart_trading_pipeline_us_equity"
NAMES: Final = [market.name for market in MARKETS]


def settings_with(**us_equity: object) -> Settings:
    return load_settings(REPOSITORY / "quant.toml", environ={}, changes={"markets": {"us_equity": us_equity}})


DEFS: Final = build_definitions(settings_with())


def schedule_of(name: str, kind: str, defs: dg.Definitions = DEFS) -> dg.ScheduleDefinition:
    return defs.get_repository_def().get_schedule_def(f"{kind}_{name}_schedule")


def evaluate(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, at: datetime
) -> dg.RunRequest | dg.SkipReason:
    """What the daemon would get for the tick at `at`."""
    context = dg.build_schedule_context(instance, scheduled_execution_time=at)
    context._instance = instance  # it would open the same one anew for each of hundreds of ticks
    found = schedule(context)
    assert isinstance(found, dg.RunRequest | dg.SkipReason)
    return found


def ticks(schedule: dg.ScheduleDefinition, first: date, days: int) -> list[datetime]:
    """The times at which the daemon evaluates a schedule from `first` on, for some days of its own time zone."""
    zone = ZoneInfo(schedule.execution_timezone or "UTC")
    start = datetime(first.year, first.month, first.day, tzinfo=zone)
    end = (datetime(first.year, first.month, first.day) + timedelta(days=days)).replace(tzinfo=zone)  # noqa: DTZ001 - its own midnight
    found: list[datetime] = []
    times = schedule_execution_time_iterator(start.timestamp(), str(schedule.cron_schedule), str(zone))
    for at in times:
        if at >= end:
            return found
        found.append(at)
    return found


def runs_of(
    schedule: dg.ScheduleDefinition, instance: dg.DagsterInstance, first: date, days: int
) -> dict[datetime, dg.RunRequest]:
    """The run requests of some days, by time."""
    listed = {at: evaluate(schedule, instance, at) for at in ticks(schedule, first, days)}
    return {at: found for at, found in listed.items() if isinstance(found, dg.RunRequest)}


def local(runs: dict[datetime, dg.RunRequest]) -> list[str]:
    return [f"{at.astimezone(NEW_YORK):%H:%M}" for at in runs]


@pytest.mark.parametrize(
    "day",
    [
        "2026-03-06",  # winter time
        "2026-03-09",  # the first session after the clocks went forward
        "2026-10-30",
        "2026-11-02",  # the first session after they went back
    ],
)
def test_stocks_tick_every_ten_minutes_in_session_hours_and_once_after_the_close(
    unused: dg.DagsterInstance, day: str
) -> None:
    runs = runs_of(schedule_of("us_equity", "smart_trading_pipeline"), unused, date.fromisoformat(day), 1)

    times = local(runs)
    assert (len(times), times[0], times[1], times[-2], times[-1]) == (40, "09:30", "09:40", "15:50", "16:10")
    assert {request.partition_key for request in runs.values()} == {day}


def test_a_half_day_ends_at_one_and_has_its_tick_after_the_close(unused: dg.DagsterInstance) -> None:
    runs = runs_of(schedule_of("us_equity", "smart_trading_pipeline"), unused, date(2026, 11, 27), 1)

    times = local(runs)
    assert (len(times), times[0], times[-2], times[-1]) == (22, "09:30", "12:50", "13:10")
    assert {request.partition_key for request in runs.values()} == {"2026-11-27"}


@pytest.mark.parametrize("minutes", [1, 2, 5, 10, 15, 20, 30, 60])
def test_every_tick_interval_has_exactly_one_tick_after_each_close(unused: dg.DagsterInstance, minutes: int) -> None:
    schedule = schedule_of(
        "us_equity", "smart_trading_pipeline", build_definitions(settings_with(tick_minutes=minutes))
    )

    for day, close in ((date(2026, 11, 25), "16:00"), (date(2026, 11, 27), "13:00")):
        after = [at for at in local(runs_of(schedule, unused, day, 1)) if at >= close]
        assert len(after) == 1, (day, after)


@pytest.mark.parametrize("first", ["2026-03-07", "2026-10-31", "2026-11-26", "2026-07-03"])
def test_weekends_and_holidays_have_no_run(unused: dg.DagsterInstance, first: str) -> None:
    """Both weekends with a change of clocks, Thanksgiving, and Independence Day observed with the weekend behind it."""
    days = {"2026-03-07": 2, "2026-10-31": 2, "2026-11-26": 1, "2026-07-03": 3}[first]

    assert runs_of(schedule_of("us_equity", "smart_trading_pipeline"), unused, date.fromisoformat(first), days) == {}


@pytest.mark.parametrize(
    ("at", "reason"),
    [
        ("2026-03-06 14:20", "it closed at 2026-03-05 21:00 UTC and opens at 2026-03-06 14:30 UTC"),
        ("2026-03-06 21:00", "it closed at 2026-03-06 21:00 UTC and opens at 2026-03-09 13:30 UTC"),
        ("2026-03-06 21:20", "it closed at 2026-03-06 21:00 UTC and opens at 2026-03-09 13:30 UTC"),
        ("2026-03-07 15:00", "it closed at 2026-03-06 21:00 UTC and opens at 2026-03-09 13:30 UTC"),
        ("2026-11-02 14:20", "it closed at 2026-10-30 20:00 UTC and opens at 2026-11-02 14:30 UTC"),
        ("2026-11-26 15:00", "it closed at 2026-11-25 21:00 UTC and opens at 2026-11-27 14:30 UTC"),
        ("2026-11-27 18:30", "it closed at 2026-11-27 18:00 UTC and opens at 2026-11-30 14:30 UTC"),
    ],
)
def test_a_skipped_tick_says_when_the_market_closed_and_when_it_opens(
    unused: dg.DagsterInstance, at: str, reason: str
) -> None:
    moment = datetime.fromisoformat(at).replace(tzinfo=UTC)

    found = evaluate(schedule_of("us_equity", "smart_trading_pipeline"), unused, moment)

    assert isinstance(found, dg.SkipReason)
    assert found.skip_message == f"us_equity is closed: {reason}"


def test_crypto_ticks_every_five_minutes_of_every_day(unused: dg.DagsterInstance) -> None:
    runs = runs_of(schedule_of("krw_crypto", "smart_trading_pipeline"), unused, date(2026, 3, 7), 1)

    assert len(runs) == 24 * 12


@pytest.mark.parametrize("name", NAMES)
def test_a_tick_names_its_session_itself_and_may_send_orders(unused: dg.DagsterInstance, name: str) -> None:
    market = settings_with().market(name)

    for at, request in runs_of(schedule_of(name, "smart_trading_pipeline"), unused, date(2026, 3, 6), 1).items():
        assert request.partition_key == tick_session(market, at).isoformat()
        assert request.run_config["resources"]["options"]["config"]["tick"] is True
        assert request.tags == {"quant/tick": at.astimezone(UTC).isoformat()}


@pytest.mark.parametrize("name", NAMES)
def test_run_keys_differ_between_all_ticks_of_both_markets(unused: dg.DagsterInstance, name: str) -> None:
    other = next(one for one in NAMES if one != name)
    first = date(2026, 11, 1)  # the day on which an hour of New York comes twice

    keys = [r.run_key for r in runs_of(schedule_of(name, "smart_trading_pipeline"), unused, first, 2).values()]
    others = {r.run_key for r in runs_of(schedule_of(other, "smart_trading_pipeline"), unused, first, 2).values()}

    assert len(keys) == len(set(keys)) >= 40
    assert not others & set(keys)


@pytest.mark.parametrize("status", ["QUEUED", "NOT_STARTED", "STARTING", "STARTED"])
def test_a_tick_is_dropped_while_a_run_of_the_market_is_under_way(instance: dg.DagsterInstance, status: str) -> None:
    at = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)
    location = RegisteredCodeLocationOrigin("quant_pipeline")
    origin = RemoteRepositoryOrigin(location, "__repository__").get_job_origin(LIVE_CHAIN)
    run = create_run_for_test(instance, LIVE_CHAIN, status=dg.DagsterRunStatus[status], remote_job_origin=origin)

    found = evaluate(schedule_of("us_equity", "smart_trading_pipeline"), instance, at)
    crypto = evaluate(schedule_of("krw_crypto", "smart_trading_pipeline"), instance, at)

    assert isinstance(found, dg.SkipReason)
    assert run.run_id in (found.skip_message or "")
    assert isinstance(crypto, dg.RunRequest)


@pytest.mark.parametrize("status", ["SUCCESS", "FAILURE", "CANCELED"])
def test_a_run_that_is_over_drops_no_tick(instance: dg.DagsterInstance, status: str) -> None:
    create_run_for_test(instance, LIVE_CHAIN, status=dg.DagsterRunStatus[status])

    found = evaluate(
        schedule_of("us_equity", "smart_trading_pipeline"), instance, datetime(2026, 3, 6, 15, 0, tzinfo=UTC)
    )

    assert isinstance(found, dg.RunRequest)


@pytest.mark.parametrize("name", NAMES)
def test_tuning_serves_the_month_that_begins(unused: dg.DagsterInstance, name: str) -> None:
    schedule = schedule_of(name, "optimize_hyperparameters")

    runs = runs_of(schedule, unused, date(2026, 1, 1), 365)

    assert [request.partition_key for request in runs.values()] == [f"2026-{n:02}-01" for n in range(1, 13)]
    assert all(at.astimezone(UTC).date().isoformat() == request.partition_key for at, request in runs.items())
    assert len({request.run_key for request in runs.values()}) == 12
    assert all(is_partition(name, "model", str(request.partition_key), at) for at, request in runs.items())


@pytest.mark.parametrize("name", NAMES)
def test_weekly_training_is_for_the_month_in_progress(unused: dg.DagsterInstance, name: str) -> None:
    runs = runs_of(schedule_of(name, "weekly_retraining"), unused, date(2026, 2, 16), 35)

    found = {at.astimezone(UTC).date().isoformat(): request.partition_key for at, request in runs.items()}
    assert found == {
        "2026-02-22": "2026-02-01",
        "2026-03-01": "2026-03-01",
        "2026-03-08": "2026-03-01",
        "2026-03-15": "2026-03-01",
        "2026-03-22": "2026-03-01",
    }
    assert len({request.run_key for request in runs.values()}) == len(runs)


def test_fine_tuning_follows_each_session_of_stocks_once(unused: dg.DagsterInstance) -> None:
    runs = runs_of(schedule_of("us_equity", "daily_model_finetuning"), unused, date(2026, 11, 16), 21)

    sessions = calendar.sessions("nyse", date(2026, 11, 16), date(2026, 12, 6))
    assert [request.partition_key for request in runs.values()] == [session.isoformat() for session in sessions]
    assert len({request.run_key for request in runs.values()}) == len(sessions)
    assert {f"{at.astimezone(NEW_YORK):%H:%M}" for at in runs} == {"18:00"}


def test_fine_tuning_is_skipped_on_a_holiday_with_the_reason(unused: dg.DagsterInstance) -> None:
    at = datetime(2026, 11, 26, 18, 0, tzinfo=NEW_YORK)

    found = evaluate(schedule_of("us_equity", "daily_model_finetuning"), unused, at)

    assert isinstance(found, dg.SkipReason)
    assert "2026-11-25" in (found.skip_message or "")


def test_fine_tuning_follows_each_day_of_crypto_once(unused: dg.DagsterInstance) -> None:
    runs = runs_of(schedule_of("krw_crypto", "daily_model_finetuning"), unused, date(2026, 3, 7), 3)

    assert [request.partition_key for request in runs.values()] == ["2026-03-06", "2026-03-07", "2026-03-08"]


def is_partition(name: str, step: str, key: str, at: datetime) -> bool:
    definition = DEFS.resolve_asset_graph().get(asset_key(name, step)).partitions_def
    assert definition is not None
    with dg.partition_loading_context(effective_dt=at):
        return definition.has_partition_key(key)
