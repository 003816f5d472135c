"""The sensor of failed runs."""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from quant_pipeline.storage.outbox import claim
from quant_pipeline_tests.e2e.desks import OpenDesk


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
