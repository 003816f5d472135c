"""Writing down that a run failed, so that people are told once. Telling them belongs to the notifier."""

from __future__ import annotations

from datetime import UTC, datetime

from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.outbox import enqueue

_LONGEST = 2000


def note_failed_run(desk: Desk, *, run_id: str, job: str, market: str, message: str) -> None:
    """Put a failed run into the outbox under its own key; the same run again changes nothing.

    The time is the real one: a run fails when it fails, whatever the clock of its market says.
    """
    payload = {"run_id": run_id, "job": job, "message": message[:_LONGEST]}
    with desk.db.begin() as connection:
        enqueue(connection, f"run_failure:{run_id}", "run_failure", payload, market=market, at=datetime.now(UTC))
