"""The sensor of changed bars: which runs it asks for, what it waits for, and when it asks again."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._core.test_utils import create_run_for_test

from quant_pipeline.restating import work_request
from quant_pipeline.steps.dependants import Work
from quant_pipeline.storage.restatements import restatements
from quant_pipeline_tests.automation.prepared import CLOSED, SYMBOLS, TODAY, at, import_bars
from quant_pipeline_tests.e2e.desks import OpenDesk


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
    """Run what the sensor asked for; no exchange runs, so a run that asked the venue for anything would fail."""
    assert isinstance(requests, list)
    for request in requests:
        job = desk.defs.resolve_job_def(str(request.job_name))
        done = job.execute_in_process(
            instance=desk.instance,
            tags=request.tags,
            run_config=request.run_config,
            asset_selection=request.asset_selection,
        )
        assert done.success
        names = {key.path[-1] for key in request.asset_selection or ()}
        made = {event.asset_key.path[-1] for event in done.get_asset_materialization_events() if event.asset_key}
        assert made == names


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
