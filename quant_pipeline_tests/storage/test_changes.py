"""Which sessions were touched after their version was recorded."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pyarrow as pa

from quant_pipeline.storage.changes import last_stored_session, latest_decision_ids
from quant_pipeline.storage.coverage import Coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions
from quant_pipeline.storage.lake import Lake
from quant_pipeline.storage.versions import Version
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, SESSION, decision

_COVERED = Coverage(MARKET, "A", "1d", SESSION, 1, 1, 0, AT, AT, "alpaca", "iex", "raw", "complete", AT)
_VERSION = Version(MARKET, "bars", SESSION, "A", "c", "i", "k", "s", AT, "run")


def test_last_stored_session_is_that_of_the_step(database: Database, tmp_path: Path) -> None:
    assert last_stored_session(database, MARKET, "signals") is None
    lake = Lake(str(tmp_path), database)
    lake.put_tables(MARKET, "signals", {day: pa.table({"n": [1]}) for day in (SESSION, date(2024, 4, 1))})
    assert last_stored_session(database, MARKET, "signals") == SESSION


def test_newest_decision_of_a_bar_is_the_highest_version(database: Database) -> None:
    old, new = decision(version=1), decision(version=2)
    append_decisions(database, [new, old])
    found = latest_decision_ids(database, MARKET, BOOK, SESSION, SESSION)
    assert found == {("AAPL", old.bar_ts): (2, new.id)}
