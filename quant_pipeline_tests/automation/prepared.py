"""What is done to a desk with a month of imported bars: its time, its bars, its runs. No assertions about sensors."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import dagster as dg
from dagster._core.storage.tags import ASSET_PARTITION_RANGE_END_TAG, ASSET_PARTITION_RANGE_START_TAG

from quant_pipeline.importers.store import import_files
from quant_pipeline.markets import calendar
from quant_pipeline.resources import RunOptions
from quant_pipeline_tests.e2e.desks import OpenDesk

FIRST: Final = date(2026, 2, 2)
TODAY: Final = datetime(2026, 3, 6, 15, 0, tzinfo=UTC)
SYMBOLS: Final = ("AAPL", "MSFT")
CLOSED: Final = calendar.sessions("nyse", FIRST, date(2026, 3, 5))


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
