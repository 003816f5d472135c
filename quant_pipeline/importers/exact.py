"""The exact path: row by row, which row cannot be read and why. It runs only after the fast path failed.

The rows that can be read go back through the same conversion as on the fast path, so both give the same numbers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quant_pipeline.importers.columns import Columns, number_pattern, positions
from quant_pipeline.importers.source import Source
from quant_pipeline.importers.times import TimeStyle, problem_with, style_of
from quant_pipeline.importers.values import BadRow, Layout

_TIME_HELP = "no known way to write a time; use 2025-01-02, 2025-01-02 09:30:00 or 2025-01-02T09:30:00+00:00"


@dataclass(frozen=True, slots=True)
class Sorted:
    """The readable rows as columns of text, and the others with their place."""

    columns: Columns
    bad: tuple[BadRow, ...]


def sort_rows(source: Source, layout: Layout, header: tuple[str, ...]) -> Sorted:
    """Judge every row.

    Raises:
        ImportRefused: the text is not CSV (a quote that never ends).
    """
    wanted, number = positions(layout), number_pattern(layout)
    good: dict[str, list[str]] = {name: [] for name in wanted}
    rows: list[int] = []
    bad: list[BadRow] = []
    style: TimeStyle | None = None
    for position, line, fields in source.data_rows(header=layout.header):
        if style is None and len(fields) > layout.time:
            style = style_of(fields[layout.time].strip(), layout.times, layout.day)
        fault = _fault(line, fields, header, layout, wanted, number, style)
        if fault is not None:
            bad.append(fault)
            continue
        rows.append(position)
        for name, column in wanted.items():
            good[name].append(fields[column])
    columns = {name: pa.chunked_array([pa.array(texts, pa.string())]) for name, texts in good.items()}
    return Sorted(Columns(columns, np.array(rows, dtype=np.int64)), tuple(bad))


def _fault(
    line: int,
    fields: list[str],
    header: tuple[str, ...],
    layout: Layout,
    wanted: dict[str, int],
    number: re.Pattern[str],
    style: TimeStyle | None,
) -> BadRow | None:
    if len(fields) != len(header):
        return BadRow(line, None, ",".join(fields), f"the row has {len(fields)} fields, the header {len(header)}")
    texts = dict(layout.texts)
    for name, column in wanted.items():
        text = fields[column].strip()
        title = header[column] if layout.header else name
        if name == "time":
            problem = _TIME_HELP if style is None else problem_with(text, style)
        elif name == "symbol" or name in texts:
            problem = None if text else f"the {name} is empty"
        else:
            problem = None if number.fullmatch(text) else f"{name} is not a number"
        if problem is not None:
            return BadRow(line, title, fields[column], problem)
    return None
