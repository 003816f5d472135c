"""Schedules and sensors at frozen times: which runs they ask for, for which partition, and why not otherwise."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final
from zoneinfo import ZoneInfo

import dagster as dg
import pytest
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._core.test_utils import create_run_for_test
from dagster._utils.schedules import schedule_execution_time_iterator
from sqlalchemy import text

from quant_pipeline.assets.spec import asset_key
from quant_pipeline.build import build_definitions
from quant_pipeline.importers.store import import_files
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import MARKETS
from quant_pipeline.resources import RunOptions
from quant_pipeline.restating import work_request
from quant_pipeline.settings import Settings, load_settings
from quant_pipeline.steps.dependants import Work
from quant_pipeline.steps.timing import tick_session
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.outbox import claim
from quant_pipeline.storage.repairs import begin_tries
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.assets.snapshot import REPOSITORY
from quant_pipeline_tests.e2e.desks import OpenDesk, Place, cloned_place, new_place, opened

NEW_YORK: Final = ZoneInfo("America/New_York")
LIVE_CHAIN: Final = "smart_trading_pipeline_us_equity"
NAMES: Final = [market.name for market in MARKETS]


def settings_with(**us_equity: object) -> Settings:
    return load_settings(REPOSITORY / "quant.toml", environ={}, changes={"markets": {"us_equity": us_equity}})


DEFS: Final = build_definitions(settings_with())


@pytest.fixture(scope="module")
def unused() -> Iterator[dg.DagsterInstance]:
    """An instance without any run, for tests that add none; schedules only accept one that is on disk."""
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance for tests that add runs."""
    with dg.instance_for_test() as made:
        yield made


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


FIRST: Final = date(2026, 2, 2)
TODAY: Final = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)
SYMBOLS: Final = ("AAPL", "MSFT")
CLOSED: Final = calendar.sessions("nyse", FIRST, date(2026, 3, 5))


@pytest.fixture(scope="module")
def prepared_place(tmp_path_factory: pytest.TempPathFactory, postgres: Dsn) -> Iterator[Place]:
    """A desk with a month of imported bars and everything up to its signals."""
    content = {"markets": {"us_equity": {"symbols": SYMBOLS, "history_start": FIRST, "min_history_sessions": 5}}}
    with new_place(tmp_path_factory.mktemp("prepared"), postgres, content) as place:
        with opened(place) as desk:
            at(desk, TODAY)
            import_bars(desk, tmp_path_factory.mktemp("files"), CLOSED, 1.0)
            recompute(desk, "prepare", CLOSED[0], CLOSED[-1])
        yield place


@pytest.fixture
def prepared(prepared_place: Place, tmp_path: Path, postgres: Dsn) -> Iterator[OpenDesk]:
    """A copy of that desk; its clock stands in a session."""
    with cloned_place(tmp_path, postgres, prepared_place) as place, opened(place) as desk:
        at(desk, TODAY)
        yield desk


def at(desk: OpenDesk, moment: datetime) -> None:
    """Let the desk's clock stand at `moment`."""
    desk.desk.clock = lambda _market: moment


def import_bars(desk: OpenDesk, folder: Path, sessions: tuple[date, ...], factor: float) -> None:
    """Import a file for each symbol, all prices multiplied by `factor`, at the desk's own time."""
    files = []
    for symbol in SYMBOLS:
        closes = [(100.0 + session.toordinal() % 7) * factor for session in sessions]
        rows = [f"{s},{c:.4f},{c + 1:.4f},{c - 1:.4f},{c:.4f},1000000" for s, c in zip(sessions, closes, strict=True)]
        files.append(folder / f"{symbol}.csv")
        files[-1].write_text("\n".join(["Date,Open,High,Low,Close,Volume", *rows]) + "\n")
    now = desk.desk.clock(desk.settings.us_equity) + timedelta(seconds=1)
    for result in import_files(desk.desk.db, files, at=now, market="us_equity"):
        assert (result.outcome, result.rows) == ("stored", len(sessions)), result


def recompute(desk: OpenDesk, kind: str, first: date, last: date) -> None:
    """Run a job over a range without asking the venue for anything."""
    tags = {ASSET_PARTITION_RANGE_START_TAG: first.isoformat(), ASSET_PARTITION_RANGE_END_TAG: last.isoformat()}
    job = desk.defs.resolve_job_def(f"{kind}_us_equity")
    config = dg.RunConfig(resources={"options": RunOptions(collect=False)})
    assert job.execute_in_process(instance=desk.instance, tags=tags, run_config=config).success


def look(desk: OpenDesk, instance: dg.DagsterInstance) -> list[dg.RunRequest] | dg.SkipReason:
    """One evaluation of the sensor of changed bars."""
    sensor = desk.defs.get_repository_def().get_sensor_def("changed_bars_us_equity")
    context = dg.build_sensor_context(instance, resources={"desk": desk.provider})
    found = sensor(context)
    assert isinstance(found, list | dg.SkipReason)
    return found


def asked(requests: list[dg.RunRequest] | dg.SkipReason) -> dict[str, tuple[str, str]]:
    """The range of sessions that each asset is asked for."""
    assert isinstance(requests, list)
    found: dict[str, tuple[str, str]] = {}
    for request in requests:
        assert request.partition_key is None
        for key in request.asset_selection or ():
            assert key.path[-1] not in found
            found[key.path[-1]] = (
                request.tags[ASSET_PARTITION_RANGE_START_TAG], request.tags[ASSET_PARTITION_RANGE_END_TAG],
            )  # fmt: skip
    return found


def launch(desk: OpenDesk, requests: list[dg.RunRequest] | dg.SkipReason) -> None:
    """Run what the sensor asked for, without asking the venue for anything."""
    assert isinstance(requests, list)
    for request in requests:
        job = desk.defs.resolve_job_def(str(request.job_name))
        config = dg.RunConfig(resources={"options": RunOptions(collect=False)})
        done = job.execute_in_process(
            instance=desk.instance, tags=request.tags, run_config=config, asset_selection=request.asset_selection
        )
        assert done.success
        names = {key.path[-1] for key in request.asset_selection or ()}
        made = {event.asset_key.path[-1] for event in done.get_asset_materialization_events() if event.asset_key}
        assert made == names


def range_of(request: dg.RunRequest) -> tuple[str, str]:
    assert request.partition_key is None
    return request.tags[ASSET_PARTITION_RANGE_START_TAG], request.tags[ASSET_PARTITION_RANGE_END_TAG]


def span(first: date, last: date) -> tuple[str, str]:
    return first.isoformat(), last.isoformat()


def test_changed_bars_ask_for_runs_of_exactly_what_depends_on_them_phase_after_phase(
    prepared: OpenDesk, instance: dg.DagsterInstance, tmp_path: Path
) -> None:
    """An import that changes two sessions; while a run is under way nothing more is asked for."""
    import_bars(prepared, tmp_path, CLOSED[-6:-4], 1.01)

    found = look(prepared, instance)

    after = span(CLOSED[-6], CLOSED[-1])
    assert asked(found) == {
        "bars": span(CLOSED[-6], CLOSED[-5]), "indicators": after, "signals": after, "features": after,
    }  # fmt: skip
    restate = prepared.defs.resolve_job_def("restate_us_equity").name
    under_way = create_run_for_test(instance, restate, status=dg.DagsterRunStatus.STARTED)
    busy = look(prepared, instance)
    assert isinstance(busy, dg.SkipReason)
    assert under_way.run_id in (busy.skip_message or "")
    instance.report_run_failed(under_way)
    assert asked(look(prepared, instance)) == asked(found)

    launch(prepared, found)
    assert isinstance(look(prepared, instance), dg.SkipReason)
    events = restatements(prepared.desk.db)
    assert {(e.symbol, e.session, e.kind, e.bars) for e in events} == {
        (symbol, session, "changed", 1) for symbol in SYMBOLS for session in CLOSED[-6:-4]
    }
    runs = {run.run_id for run in prepared.instance.get_runs(dg.RunsFilter(tags={"quant/phase": "sessions"}))}
    assert {e.run_id for e in events} <= runs


def test_training_that_recomputes_queues_with_all_training_and_holds_up_the_next_phase(
    prepared: OpenDesk, instance: dg.DagsterInstance
) -> None:
    market = prepared.settings.us_equity
    months = (date(2026, 2, 1), date(2026, 3, 1))
    for steps, job in ((("model",), "weekly_retraining"), (("hyperparameters", "model"), "optimize_hyperparameters")):
        request = work_request(market, Work("models", steps, *months), "1")
        assert request.job_name == f"{job}_us_equity"
        assert asked([request]) == {step: span(*months) for step in steps}
    request = work_request(market, Work("updates", ("model_update",), CLOSED[-2], CLOSED[-1]), "1")
    assert request.job_name == "daily_model_finetuning_us_equity"

    create_run_for_test(instance, str(request.job_name), status=dg.DagsterRunStatus.STARTED, tags=request.tags)
    assert isinstance(look(prepared, instance), dg.SkipReason)


def test_the_same_work_is_asked_for_once_until_something_changes_or_an_hour_is_over(
    prepared: OpenDesk, unused: dg.DagsterInstance, tmp_path: Path
) -> None:
    """A run that fails must not be launched again every minute."""
    import_bars(prepared, tmp_path, CLOSED[-2:-1], 1.01)

    def keys() -> list[str | None]:
        found = look(prepared, unused)
        assert isinstance(found, list)
        return [request.run_key for request in found]

    first = keys()
    assert len(set(first)) == len(first)
    at(prepared, TODAY + timedelta(minutes=30))
    assert keys() == first
    at(prepared, TODAY + timedelta(hours=1))
    assert not set(keys()) & set(first)


def test_nothing_is_asked_for_when_nothing_changed(prepared: OpenDesk, unused: dg.DagsterInstance) -> None:
    found = look(prepared, unused)

    assert isinstance(found, dg.SkipReason)
    assert "made from the bars as they are now" in (found.skip_message or "")


def test_the_same_bars_imported_again_ask_for_nothing(
    prepared: OpenDesk, unused: dg.DagsterInstance, tmp_path: Path
) -> None:
    import_bars(prepared, tmp_path, CLOSED[:3], 1.0)

    assert isinstance(look(prepared, unused), dg.SkipReason)


def test_a_session_is_left_to_the_ticks_until_the_next_one_opens(
    prepared: OpenDesk, unused: dg.DagsterInstance, tmp_path: Path
) -> None:
    today = TODAY.date()
    at(prepared, datetime(2026, 3, 6, 21, 5, tzinfo=UTC))
    import_bars(prepared, tmp_path, (today,), 1.0)

    assert isinstance(look(prepared, unused), dg.SkipReason)

    at(prepared, datetime(2026, 3, 9, 13, 30, tzinfo=UTC))
    assert set(asked(look(prepared, unused)).values()) == {span(today, today)}


def look_for_holes(desk: OpenDesk, instance: dg.DagsterInstance) -> list[dg.RunRequest] | dg.SkipReason:
    """One evaluation of the sensor that repairs bars."""
    sensor = desk.defs.get_repository_def().get_sensor_def("repair_bars_us_equity")
    found = sensor(dg.build_sensor_context(instance, resources={"desk": desk.provider}))
    assert isinstance(found, list | dg.SkipReason)
    return found


def forget_sessions(desk: OpenDesk, *sessions: date) -> None:
    """Let nothing be known of AAPL's sessions, as if they had never been collected."""
    with desk.desk.db.begin() as connection:
        for table, column in (("coverage", "session"), ("bars", "(ts AT TIME ZONE 'UTC')::date")):
            query = text(f"DELETE FROM {table} WHERE symbol = 'AAPL' AND {column} = ANY(:sessions)")
            connection.execute(query, {"sessions": list(sessions)})


def test_holes_ask_for_runs_of_exactly_their_sessions_and_symbols(
    prepared: OpenDesk, instance: dg.DagsterInstance
) -> None:
    forget_sessions(prepared, CLOSED[3], CLOSED[4], CLOSED[9])

    found = look_for_holes(prepared, instance)

    assert isinstance(found, list)
    spans = [(CLOSED[3].isoformat(), CLOSED[4].isoformat()), (CLOSED[9].isoformat(), CLOSED[9].isoformat())]
    assert [range_of(request) for request in found] == spans
    options = [request.run_config["resources"]["options"]["config"] for request in found]
    assert [(one["symbols"], one["repair"], one["tick"]) for one in options] == [(["AAPL"], True, False)] * 2
    repairs = prepared.defs.resolve_job_def("repair_bars_us_equity").name
    create_run_for_test(instance, repairs, status=dg.DagsterRunStatus.STARTED)
    busy = look_for_holes(prepared, instance)
    assert isinstance(busy, dg.SkipReason)
    assert "still in progress" in (busy.skip_message or "")


def test_nothing_is_repaired_where_everything_is_explained(prepared: OpenDesk, unused: dg.DagsterInstance) -> None:
    found = look_for_holes(prepared, unused)

    assert isinstance(found, dg.SkipReason)
    assert "every session that is over is explained" in (found.skip_message or "")


def test_a_hole_that_was_given_up_is_not_asked_for_and_its_reason_is_told(
    prepared: OpenDesk, unused: dg.DagsterInstance
) -> None:
    forget_sessions(prepared, CLOSED[3])
    hole = [(CLOSED[3], "AAPL", "1d")]
    for _ in range(prepared.settings.us_equity.quality.repair_tries):
        begin_tries(prepared.desk.db, "us_equity", hole, at=TODAY, reason="the venue was down")

    found = look_for_holes(prepared, unused)

    assert isinstance(found, dg.SkipReason)
    assert "1 given up" in (found.skip_message or "")
    assert f"AAPL {CLOSED[3]}: given up after 5 tries" in (found.skip_message or "")
    assert "the venue was down" in (found.skip_message or "")


def test_a_failed_run_becomes_one_notification_however_often_it_is_told(
    prepared: OpenDesk, instance: dg.DagsterInstance
) -> None:
    @dg.op
    def breaks() -> None:
        msg = "broken on purpose"
        raise ValueError(msg)

    @dg.job(tags={"quant/desk": "us_equity"})
    def breaking() -> None:
        breaks()

    done = breaking.execute_in_process(instance=instance, raise_on_error=False)
    sensor = prepared.defs.get_repository_def().get_sensor_def("run_failure")
    context = dg.build_run_status_sensor_context(
        sensor_name="run_failure",
        dagster_instance=instance,
        dagster_run=done.dagster_run,
        dagster_event=done.get_run_failure_event(),
        resources={"desk": prepared.provider},
    ).for_run_failure()

    for _ in range(2):
        sensor(context)

    sent = [n for n in claim(prepared.desk.db, datetime.now(UTC)) if n.key == f"run_failure:{done.run_id}"]
    (notification,) = sent
    assert (notification.kind, notification.market) == ("run_failure", "us_equity")
    assert notification.payload["job"] == "breaking"
    assert notification.payload["run_id"] == done.run_id
    assert notification.payload["message"]
