"""The sensor that repairs bars: which sessions it asks for, and what it gives up."""

from __future__ import annotations

from datetime import date

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG
from dagster._core.test_utils import create_run_for_test
from sqlalchemy import text

from quant_pipeline.storage.repairs import begin_tries
from quant_pipeline_tests.automation.prepared import CLOSED, TODAY
from quant_pipeline_tests.e2e.desks import OpenDesk


def range_of(request: dg.RunRequest) -> tuple[str, str]:
    assert request.partition_key is None
    return request.tags[ASSET_PARTITION_RANGE_START_TAG], request.tags[ASSET_PARTITION_RANGE_END_TAG]


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
