"""Files into storage: parsed and stored side by side, each all or nothing, with the outcome of one after the other.

Factor and map files go first, because they say which bars are a company's own. Files with bars of the same symbol and
interval are stored in the order given: a later one may restate what an earlier one said.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date, datetime
from functools import partial
from pathlib import Path

from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.folders import expand
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.references import is_reference
from quant_pipeline.importers.results import ImportResult, Progress
from quant_pipeline.importers.store_one import refused, store_bars, store_reference_file
from quant_pipeline.importers.values import BadRows, ParsedFile, Stamp
from quant_pipeline.markets.market import US_EQUITY
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ticker_spans import read_spans

__all__ = ["ImportResult", "Progress", "import_files"]

type _Parsed = ParsedFile | ImportRefused


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
    feed: str | None = None,
    replace_better: bool = False,
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
        feed: whose trades the bars are made of (`iex`, `consolidated`, ...), where the files do not say it rightly.
        replace_better: bars of these files replace also those that are stored of a better source.
        workers: how many files are parsed, and how many stored, at a time.
        on_progress: called after each file, in the caller's thread; factor and map files come first.

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
    references = [path for path in files if is_reference(path)]
    found: dict[Path, ImportResult] = {}

    def note(result: ImportResult) -> None:
        found[result.path] = result
        if on_progress is not None:
            on_progress(Progress(len(found), len(files), result))

    for path in references:
        note(store_reference_file(db, path, at=at, market=market, symbol=symbol))
    spans = read_spans(db, US_EQUITY.name)
    store = partial(store_bars, db, spans=spans, at=at, replace_better=replace_better, feed=feed)
    prices = tuple(path for path in files if path not in found)
    for result in _stored(_parsed(prices, read, workers), store, workers):
        note(result)
    return tuple(found[path] for path in files)


def _parsed(
    files: tuple[Path, ...], read: Callable[[Path], ParsedFile], workers: int
) -> Iterator[tuple[Path, _Parsed]]:
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
                    parsed: _Parsed = future.result()
                except ImportRefused as refusal:
                    parsed = refusal
                yield path, parsed
        finally:
            pool.shutdown(cancel_futures=True)


def _stored(
    files: Iterable[tuple[Path, _Parsed]], store: Callable[[ParsedFile], ImportResult], workers: int
) -> Iterator[ImportResult]:
    """Results in the order of `files`; no two files with a symbol and interval in common are stored at a time."""
    with ThreadPoolExecutor(max_workers=workers, thread_name_prefix="store") as pool:
        running: deque[tuple[frozenset[tuple[str, str]], Future[ImportResult]]] = deque()
        for path, parsed in files:
            keys: frozenset[tuple[str, str]] = frozenset()
            if isinstance(parsed, ParsedFile):
                keys = frozenset((symbol, parsed.interval) for symbol in parsed.symbols)
            while len(running) >= workers or any(keys & held for held, _ in running):
                yield running.popleft()[1].result()
            if isinstance(parsed, ParsedFile):
                running.append((keys, pool.submit(store, parsed)))
            else:
                done: Future[ImportResult] = Future()
                done.set_result(refused(path, parsed))
                running.append((keys, done))
        while running:
            yield running.popleft()[1].result()
