"""Files into storage: parsed side by side, stored one after the other in the order given, each all or nothing.

Storing keeps the order because a later file may restate what an earlier one said, and the outcome must not depend on
which of them was parsed first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import partial
from pathlib import Path
from typing import Literal

from quant_pipeline.importers.closed import only_closed
from quant_pipeline.importers.coverage import record_file
from quant_pipeline.importers.errors import ImportRefused, NotBars
from quant_pipeline.importers.folders import expand
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.values import BadRow, BadRows, Gap, ParsedFile, Stamp
from quant_pipeline.storage.bars import upsert_bars
from quant_pipeline.storage.database import Database

Outcome = Literal["stored", "refused", "passed_by"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of one file. Fields of the content are those of `ParsedFile`, empty unless it was stored.

    `outcome` is `refused` with the reason, `passed_by` for a sound file of another kind, or `stored`; `rows` counts
    the bars of the file, of which `inserted` are new, `changed` replaced other values, `unchanged` were there.
    `not_closed` bars ended after the time of the import and were left out. `sessions` are the (symbol, session)
    pairs whose stored bars changed.
    """

    path: Path
    outcome: Outcome
    reason: str | None = None
    market: str | None = None
    symbols: tuple[str, ...] = ()
    interval: str | None = None
    format: str | None = None
    source: str | None = None
    adjustment: str | None = None
    stamp: Stamp | None = None
    rows_read: int = 0
    rows: int = 0
    duplicates_dropped: int = 0
    rejected: tuple[BadRow, ...] = ()
    not_closed: int = 0
    slots: int = 0
    gaps: tuple[Gap, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    sessions: tuple[tuple[str, date], ...] = ()

    @property
    def slots_missing(self) -> int:
        """Slots of the market's grid between the file's first and last bar that hold no bar."""
        return sum(gap.slots for gap in self.gaps)


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: `done` of `total` files, and the result of the file just finished."""

    done: int
    total: int
    result: ImportResult


def import_files(
    db: Database,
    paths: Iterable[Path],
    *,
    at: datetime,
    market: str | None = None,
    symbol: str | None = None,
    interval: str | None = None,
    tz: str | None = None,
    stamp: Stamp | None = None,
    since: date | None = None,
    until: date | None = None,
    bad_rows: BadRows = "refuse",
    workers: int = 2,
    on_progress: Callable[[Progress], None] | None = None,
) -> tuple[ImportResult, ...]:
    """Read files, and folders with all that is below them, and store their bars and coverage.

    A file that is refused leaves nothing behind and does not stop the rest. Importing again changes nothing.

    Args:
        db: where bars go.
        paths: files and folders; folders are searched for price files, in the order of their names.
        at: the time of the import (aware): stored as the time at which these bars became known.
        market: as in `read.read_file`, for every file; likewise all down to `bad_rows`.
        symbol: see market.
        interval: see market.
        tz: see market.
        stamp: see market.
        since: see market.
        until: see market.
        bad_rows: see market.
        workers: how many files are parsed at a time.
        on_progress: called after each file, in the caller's thread.

    Returns:
        One result a file, in the order of the expanded paths.

    Raises:
        ValueError: an argument is not one of the known values, or `at` has no zone.
    """
    if at.tzinfo is None:
        msg = f"the time of the import {at} has no time zone; pass an aware datetime"
        raise ValueError(msg)
    files = expand(paths)
    read = partial(
        read_file,
        market=market,
        symbol=symbol,
        interval=interval,
        tz=tz,
        stamp=stamp,
        since=since,
        until=until,
        bad_rows=bad_rows,
    )
    results: list[ImportResult] = []
    for path, parsed in _parsed(files, read, workers):
        results.append(_stored(db, path, parsed, at))
        if on_progress is not None:
            on_progress(Progress(len(results), len(files), results[-1]))
    return tuple(results)


def _parsed(
    files: tuple[Path, ...], read: Callable[[Path], ParsedFile], workers: int
) -> Iterator[tuple[Path, ParsedFile | ImportRefused]]:
    """Files in order with what reading gave. No more than a few are held in memory ahead of the one being stored."""
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="import") as pool:
        waiting: deque[tuple[Path, Future[ParsedFile]]] = deque()
        rest = iter(files)
        try:
            while True:
                while len(waiting) <= workers and (path := next(rest, None)) is not None:
                    waiting.append((path, pool.submit(read, path)))
                if not waiting:
                    return
                path, future = waiting.popleft()
                try:
                    parsed: ParsedFile | ImportRefused = future.result()
                except ImportRefused as refusal:
                    parsed = refusal
                yield path, parsed
        finally:
            pool.shutdown(cancel_futures=True)


def _stored(db: Database, path: Path, parsed: ParsedFile | ImportRefused, at: datetime) -> ImportResult:
    try:
        if isinstance(parsed, ImportRefused):
            raise parsed
        closed = only_closed(parsed, at)
    except NotBars as refusal:
        return ImportResult(path=path, outcome="passed_by", reason=str(refusal))
    except ImportRefused as refusal:
        return ImportResult(path=path, outcome="refused", reason=str(refusal))
    change = upsert_bars(
        db,
        closed.market,
        closed.interval,
        closed.frame,
        source=closed.source,
        feed=closed.feed,
        adjustment=closed.adjustment,
        at=at,
    )
    record_file(db, closed, at=at)
    return replace(
        _summary(closed),
        not_closed=len(parsed.frame) - len(closed.frame),
        inserted=change.inserted,
        changed=change.changed,
        unchanged=change.unchanged,
        sessions=change.sessions,
    )


def _summary(parsed: ParsedFile) -> ImportResult:
    return ImportResult(
        path=parsed.path,
        outcome="stored",
        market=parsed.market,
        symbols=parsed.symbols,
        interval=parsed.interval,
        format=parsed.format,
        source=parsed.source,
        adjustment=parsed.adjustment,
        stamp=parsed.stamp,
        rows_read=parsed.rows_read,
        rows=len(parsed.frame),
        duplicates_dropped=parsed.duplicates_dropped,
        rejected=parsed.rejected,
        slots=parsed.slots,
        gaps=parsed.gaps,
        first=parsed.first,
        last=parsed.last,
    )
