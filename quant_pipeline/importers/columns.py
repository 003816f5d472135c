"""The fast path: the needed columns of a whole file at once, then numbers and times out of them, vectorised.

Values are not judged here (see `checks.py`), and a failure does not say where: `exact.py` finds the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from quant_pipeline.importers.source import Source
from quant_pipeline.importers.times import Clock, Times, TimeStyle, read_times, style_of
from quant_pipeline.importers.values import Layout

NUMBER = r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
GROUPED_NUMBER = r"\$?(?:[0-9]{1,3}(?:,[0-9]{3})+|[0-9]+)(?:\.[0-9]*)?"
BAR_FIELDS = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True)
class Columns:
    """The needed columns as they stand in the file, and the position (from 0) of each row among its data rows.

    `fields` has the keys time, open, high, low, close, volume and, where the file has them, symbol and `texts`.
    """

    fields: dict[str, pa.ChunkedArray]
    row: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RawBars:
    """Rows in file order as numbers: frame columns symbol (if any), time, open..volume, row; and what the time is."""

    frame: pd.DataFrame
    clock: Clock


class FastPathFailed(Exception):  # noqa: N818 - an outcome that the caller handles
    """Some row cannot be read; the exact path says which."""


def positions(layout: Layout) -> dict[str, int]:
    """Column positions by the name they have in our frames."""
    named = {"time": layout.time, **dict(layout.prices)}
    return {**named, **dict(layout.texts), **({} if layout.symbol is None else {"symbol": layout.symbol})}


def read_columns(source: Source, layout: Layout, width: int) -> Columns:
    """Read the needed columns of a file of `width` columns.

    Raises:
        FastPathFailed: the rows do not all have `width` fields, or quotes span lines.
    """
    wanted = positions(layout)
    if source.table is not None:
        table = source.table
        picked = {name: table.column(position) for name, position in wanted.items()}
        return Columns(picked, np.arange(table.num_rows, dtype=np.int64))
    names = [f"c{position}" for position in range(width)]
    used = sorted({names[position] for position in wanted.values()})
    skipped = next(line for line, _ in source.numbered()) if layout.header else 0
    try:
        table = pa_csv.read_csv(
            pa.BufferReader((source.text or "").encode()),
            read_options=pa_csv.ReadOptions(column_names=names, skip_rows=skipped),
            convert_options=pa_csv.ConvertOptions(
                include_columns=used, column_types=dict.fromkeys(used, pa.string()), strings_can_be_null=False
            ),
        )
    except pa.ArrowInvalid as error:
        raise FastPathFailed(str(error)) from error
    picked = {name: table.column(names[position]) for name, position in wanted.items()}
    return Columns(picked, np.arange(table.num_rows, dtype=np.int64))


def time_style(columns: Columns, layout: Layout) -> TimeStyle | None:
    """The style of the first row's time, or None when it is in no known one (or is no text at all)."""
    times = columns.fields["time"]
    if len(times) == 0 or not _is_text(times):
        return None
    return style_of(str(times[0].as_py()).strip(), layout.times, layout.day)


def convert(columns: Columns, layout: Layout) -> RawBars:
    """Turn columns into numbers and times.

    Raises:
        FastPathFailed: some value is not a number or not a time.
    """
    times, clock = _times(columns, layout)
    values: dict[str, object] = {"time": times}
    for name in BAR_FIELDS:
        numbers = _numbers(columns.fields[name], grouped=layout.grouped)
        values[name] = numbers / layout.scale if name != "volume" and layout.scale != 1.0 else numbers
    for name in ("symbol", *(name for name, _ in layout.texts)):
        if name in columns.fields:
            values[name] = columns.fields[name].cast(pa.string()).to_pandas().astype(object)
    values["row"] = columns.row
    return RawBars(pd.DataFrame(values), clock)


def _is_text(column: pa.ChunkedArray) -> bool:
    kind = column.type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_dictionary(kind))


def _times(columns: Columns, layout: Layout) -> tuple[Times, Clock]:
    column = columns.fields["time"]
    if column.null_count:
        msg = "a time is absent"
        raise FastPathFailed(msg)
    if pa.types.is_timestamp(column.type):
        return _nanoseconds(column), "local" if column.type.tz is None else "utc"
    if pa.types.is_date(column.type):
        return _nanoseconds(column), "date"
    column = column.cast(pa.string())
    style = time_style(Columns({"time": column}, columns.row), layout)
    if style is None:
        msg = "the first time is in no known style"
        raise FastPathFailed(msg)
    column = pc.utf8_trim_whitespace(column)
    _require_all(column, style.pattern)
    try:
        return read_times(column.to_pandas(), style), style.clock
    except ValueError as error:
        raise FastPathFailed(str(error)) from error


def _nanoseconds(column: pa.ChunkedArray) -> Times:
    try:
        stamps = column.cast(pa.timestamp("ns", tz=getattr(column.type, "tz", None)))
    except pa.ArrowInvalid as error:
        raise FastPathFailed(str(error)) from error
    values: Times = stamps.cast(pa.int64()).to_numpy().view("datetime64[ns]")
    return values


def _numbers(column: pa.ChunkedArray, *, grouped: bool) -> npt.NDArray[np.float64]:
    if _is_text(column):
        column = pc.utf8_trim_whitespace(column.cast(pa.string()))
        _require_all(column, GROUPED_NUMBER if grouped else NUMBER)
        column = pc.replace_substring_regex(column, r"[$,]", "") if grouped else column
    try:
        # A null becomes NaN, which the checks name with its place.
        numbers: npt.NDArray[np.float64] = column.cast(pa.float64()).to_numpy(zero_copy_only=False).astype(np.float64)
    except pa.ArrowException as error:
        raise FastPathFailed(str(error)) from error
    return numbers


def _require_all(column: pa.ChunkedArray, pattern: str) -> None:
    if not pc.all(pc.match_substring_regex(column, f"^(?:{pattern})$"), min_count=0).as_py():
        msg = f"a value does not look like {pattern}"
        raise FastPathFailed(msg)


def number_pattern(layout: Layout) -> re.Pattern[str]:
    """What a number of this file must match as a whole."""
    return re.compile(GROUPED_NUMBER if layout.grouped else NUMBER)
