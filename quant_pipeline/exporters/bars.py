"""Stored bars into one CSV or Parquet file, whole or not at all; `quant import` reads it back to the same bars."""

from __future__ import annotations

import gzip
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import IO

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.exporters.whole_files import whole_file
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.database import Database

SUFFIXES = (".parquet", ".csv", ".csv.gz")
_ORIGIN = ("source", "feed", "adjustment")


@dataclass(frozen=True, slots=True)
class Exported:
    """What a file holds: bars, the symbols that have any, first and last bar start (UTC; None without bars)."""

    path: Path
    rows: int
    symbols: tuple[str, ...]
    first: datetime | None
    last: datetime | None


def export_bars(
    db: Database,
    market: str,
    interval: str,
    symbols: Sequence[str] | None,
    start: datetime,
    end: datetime,
    path: Path,
    *,
    as_of: datetime | None = None,
    on_progress: Callable[[datetime], None] | None = None,
) -> Exported:
    """Write the bars with `start <= ts < end` (aware), month by month, each month by (symbol, ts).

    The suffix of `path` says how: one of `SUFFIXES`. A file that is there is replaced when the new one is whole;
    without any bar nothing is written. Each row also says where its bar came from.

    Args:
        db: where bars are.
        market: as in `read_bars`, likewise down to `end`.
        interval: see market.
        symbols: see market; None means all.
        start: see market.
        end: see market.
        path: the file; its folder must exist.
        as_of: bars as they were stored at that time.
        on_progress: told the beginning of each month that is done.

    Raises:
        ValueError: the suffix is not one of `SUFFIXES`.
    """
    rows, names = 0, set[str]()
    first: datetime | None = None
    last: datetime | None = None
    with whole_file(path) as (file, keep), _writer(path, file) as writer:
        for month_start, month_end in _months(start, end):
            bars = read_bars(db, market, interval, symbols, month_start, month_end, as_of=as_of, with_origin=True)
            if not bars.empty:
                writer.write(_table(bars, market, interval))
                rows, names = rows + len(bars), names | set(bars["symbol"].unique().tolist())
                first = first or bars["ts"].min().to_pydatetime()
                last = bars["ts"].max().to_pydatetime()
            if on_progress is not None:
                on_progress(month_start)
        if rows:
            keep()
    return Exported(path, rows, tuple(sorted(names)), first, last)


def suffix_of(path: Path) -> str | None:
    """The one of `SUFFIXES` with which the name ends, or None."""
    return next((suffix for suffix in reversed(SUFFIXES) if path.name.lower().endswith(suffix)), None)


def _months(start: datetime, end: datetime) -> Iterator[tuple[datetime, datetime]]:
    begin = start
    while begin < end:
        first = begin.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        following = first.replace(year=first.year + first.month // 12, month=first.month % 12 + 1)
        yield begin, min(following, end)
        begin = following


def _table(bars: pd.DataFrame, market: str, interval: str) -> pa.Table:
    count = len(bars)
    columns = {
        "market": pa.array([market] * count, pa.string()),
        "interval": pa.array([interval] * count, pa.string()),
        "symbol": pa.array(bars["symbol"].tolist(), pa.string()),
        "ts": pa.array(bars["ts"]).cast(pa.timestamp("us", "UTC")),
    }
    columns |= {name: pa.array(bars[name].to_numpy(dtype="float64")) for name in BAR_COLUMNS[2:]}
    return pa.table(columns | {name: pa.array(bars[name].tolist(), pa.string()) for name in _ORIGIN})


class _Writer(ABC):
    """Appends tables to a file."""

    @abstractmethod
    def write(self, table: pa.Table) -> None:
        """Append the rows of a table."""

    @abstractmethod
    def close(self) -> None:
        """Finish what the format needs at its end; the file stays open."""


class _Parquet(_Writer):
    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._writer: pq.ParquetWriter | None = None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._file, table.schema)
        self._writer.write_table(table)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


class _Csv(_Writer):
    def __init__(self, file: IO[bytes], *, packed: bool) -> None:
        # Without a time and a name inside, equal bars give equal bytes.
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0) if packed else None
        self._file: IO[bytes] | gzip.GzipFile = self._packed or file
        self._begun = False

    def write(self, table: pa.Table) -> None:
        times = pa.array(table["ts"].to_pandas().dt.strftime("%Y-%m-%dT%H:%M:%S.%fZ"), pa.string())
        times = pa.compute.replace_substring(times, ".000000", "")
        table = table.set_column(table.schema.get_field_index("ts"), "ts", times)
        options = pa_csv.WriteOptions(include_header=not self._begun, quoting_style="none")
        pa_csv.write_csv(table, self._file, options)
        self._begun = True

    def close(self) -> None:
        if self._packed is not None:
            self._packed.close()


@contextmanager
def _writer(path: Path, file: IO[bytes]) -> Iterator[_Writer]:
    suffix = suffix_of(path)
    if suffix is None:
        msg = f"{path} says not how to write it; end its name with one of {', '.join(SUFFIXES)}"
        raise ValueError(msg)
    writer: _Writer = _Parquet(file) if suffix == ".parquet" else _Csv(file, packed=suffix == ".csv.gz")
    try:
        yield writer
    finally:
        writer.close()  # also after an error, so that nothing writes to the file later
