"""How fast files become bars: `python -m quant_pipeline_tests.benchmarks.import_files FOLDER...` prints rows a second.

Each folder is imported into an empty database with one worker, then with two, then again with two (nothing is new).
"""

from __future__ import annotations

import argparse
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from quant_pipeline.importers.store import import_files
from quant_pipeline.runtime.postgres import EmbeddedPostgres
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.migrate import upgrade
from quant_pipeline_tests.postgres import new_database


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", type=Path, nargs="+", help="folders or files, as for `quant import`")
    parser.add_argument("--tz", help="zone of times that are written without one")
    given = parser.parse_args(arguments)
    with _server() as server:
        for folder in given.folders:
            for workers in (1, 2):
                with new_database(server) as dsn:
                    upgrade(dsn)
                    with closing(Database(dsn)) as db:
                        _measure(db, folder, workers, given.tz, "new")
                        if workers == 2:
                            _measure(db, folder, workers, given.tz, "again")


def _measure(db: Database, folder: Path, workers: int, tz: str | None, what: str) -> None:
    begun = time.perf_counter()
    results = import_files(db, [folder], at=datetime.now(UTC), tz=tz, workers=workers)
    took = time.perf_counter() - begun
    rows = sum(result.rows for result in results)
    refused = sum(result.outcome == "refused" for result in results)
    print(  # noqa: T201 - this is what the command is for
        f"{folder.name:20} {what:6} {workers} worker(s): {len(results):3} files ({refused} refused), {rows:9,} rows"
        f" in {took:6.2f} s = {rows / took:10,.0f} rows/s"
    )


@contextmanager
def _server() -> Iterator[Dsn]:
    state_dir = Path(tempfile.mkdtemp(prefix="quant-benchmark-"))
    state_dir.chmod(0o711)
    try:
        with EmbeddedPostgres(state_dir, fast=True).session() as dsn:
            yield dsn
    finally:
        shutil.rmtree(state_dir)


if __name__ == "__main__":
    main()
