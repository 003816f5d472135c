"""How fast bars go in and out: `python -m quant_pipeline_tests.benchmarks.bulk_bars` prints rows a second for a million.

Written new, written again unchanged, written with 1 % of other numbers, read; then the same new rows and the same changed
ones by a single INSERT ... ON CONFLICT DO UPDATE, which keeps no revisions, to compare with. The server is the embedded
one with everything that makes it durable, or the one of --dsn.
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.storage import bars as bars_store
from quant_pipeline.storage.bar_rows import bar_rows
from quant_pipeline.storage.bars import read_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import upgrade
from quant_pipeline.storage.partitions import ensure_months
from quant_pipeline.storage.staging import run, stage
from quant_pipeline_tests.postgres import new_database

_AT = datetime(2026, 1, 1, tzinfo=UTC)
_SYMBOLS = 20
_ONE_STATEMENT = """
INSERT INTO bars (market, symbol, interval, ts, open, high, low, close, volume, source, feed, adjustment, fetched_at)
SELECT 'm', symbol, '1m', ts, open, high, low, close, volume, 's', 'f', 'raw', now() FROM staged ORDER BY symbol, ts
ON CONFLICT (market, symbol, interval, ts) DO UPDATE SET
    open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close, volume = excluded.volume,
    source = excluded.source, feed = excluded.feed, adjustment = excluded.adjustment, fetched_at = excluded.fetched_at
WHERE (bars.open, bars.high, bars.low, bars.close, bars.volume)
    IS DISTINCT FROM (excluded.open, excluded.high, excluded.low, excluded.close, excluded.volume)
"""


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dsn", help="postgresql://user:password@host:port/database of a superuser; empty: embedded")
    given = parser.parse_args(arguments)
    rows = given.rows // _SYMBOLS * _SYMBOLS
    new = _bars(rows)
    changed = new.copy()
    changed.loc[::100, "close"] += 0.01
    with _server(given.dsn) as server:
        with _database(server) as db:
            _measure("in, new", rows, lambda: _upsert(db, new))
            _measure("in, unchanged", rows, lambda: _upsert(db, new))
            _measure("in, 1 % changed", rows, lambda: _upsert(db, changed))
            _measure("out", rows, lambda: _read(db))
        with _database(server) as db:
            ensure_months(db, bars_store._months(new))
            _measure("ON CONFLICT, new", rows, lambda: _one_statement(db, new))
            _measure("ON CONFLICT, unchanged", rows, lambda: _one_statement(db, new))
            _measure("ON CONFLICT, 1 % changed", rows, lambda: _one_statement(db, changed))


def _bars(rows: int) -> pd.DataFrame:
    """Minutes of twenty symbols."""
    random = np.random.default_rng(7)
    count = rows // _SYMBOLS
    ts = pd.date_range("2025-01-01", periods=count, freq="1min", tz="UTC", unit="ns")
    names = [f"KRW-S{number:02d}" for number in range(_SYMBOLS)]
    values = {name: random.random(rows) * 1e5 for name in ("open", "high", "low", "close", "volume")}
    return pd.DataFrame(
        {"symbol": np.repeat(np.array(names, dtype=object), count), "ts": np.tile(ts, _SYMBOLS), **values}
    )


def _upsert(db: Database, frame: pd.DataFrame) -> object:
    return upsert_bars(db, "m", "1m", frame, source="s", feed="f", adjustment="raw", at=_AT)


def _read(db: Database) -> str:
    return f"{len(read_bars(db, 'm', '1m', None, _AT - timedelta(days=3650), _AT)):,} rows"


def _one_statement(db: Database, frame: pd.DataFrame) -> str:
    with db.arrow() as connection, connection.cursor() as cursor:
        stage(cursor, "staged", bars_store._STAGED, bar_rows(frame))
        run(cursor, _ONE_STATEMENT)
    return "no revisions"


def _measure(what: str, rows: int, work: Callable[[], Any]) -> None:
    begun = time.perf_counter()
    outcome = str(work())
    took = time.perf_counter() - begun
    shown = outcome if len(outcome) < 100 else f"{outcome[:60]}..."
    print(f"{what:26} {rows:10,} rows in {took:6.2f} s = {rows / took:10,.0f} rows/s   {shown}")  # noqa: T201


@contextmanager
def _database(server: Dsn) -> Iterator[Database]:
    with new_database(server) as dsn:
        upgrade(dsn)
        with closing(Database(dsn)) as db:
            yield db


@contextmanager
def _server(named: str | None) -> Iterator[Dsn]:
    if named:
        yield Dsn.parse(named)
        return
    state_dir = Path(tempfile.mkdtemp(prefix="quant-benchmark-"))
    state_dir.chmod(0o711)
    try:
        with EmbeddedPostgres(state_dir).session() as dsn:
            yield dsn
    finally:
        shutil.rmtree(state_dir)


if __name__ == "__main__":
    main()
