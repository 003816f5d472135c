"""What happens to a bad row: the file is refused with its place, or the row is left out and reported, by choice."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NoReturn

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.columns import positions
from quant_pipeline.importers.errors import SKIP_BAD_OPTION
from quant_pipeline.importers.source import Source
from quant_pipeline.importers.values import BadRow, BadRows, Layout

ROW_REMEDY = f"Correct the row, or leave bad rows out with {SKIP_BAD_OPTION}."
_ORDINARY_SHARE = 0.5
"""Skipping is for a few bad rows: when more than this share is bad, the file is not what it was taken for."""


class Judge:
    """Collects the bad rows of one file, or refuses the file at the first, by `bad_rows`."""

    def __init__(self, source: Source, layout: Layout, header: tuple[str, ...], bad_rows: BadRows) -> None:
        """Nothing is read yet."""
        self.source = source
        self.layout = layout
        self.header = header
        self.bad_rows = bad_rows
        self.rejected: list[BadRow] = []

    def add(self, bad: Iterable[BadRow], remedy: str = ROW_REMEDY) -> None:
        """Take note of bad rows.

        Raises:
            ImportRefused: bad rows are not to be skipped.
        """
        for row in bad:
            if self.bad_rows == "refuse":
                self.source.refuse(row.problem, remedy=remedy, line=row.line, column=row.column, value=row.value)
            self.rejected.append(row)

    def drop(
        self, frame: pd.DataFrame, bad: npt.NDArray[np.bool_], field: str, problem: str, remedy: str = ROW_REMEDY
    ) -> pd.DataFrame:
        """`frame` without the rows marked in `bad`; `field` is the column at fault (a name of our frames).

        Raises:
            ImportRefused: bad rows are not to be skipped.
        """
        if not bad.any():
            return frame
        rows = np.sort(frame["row"].to_numpy()[bad])
        rows = rows[:1] if self.bad_rows == "refuse" else rows
        column = positions(self.layout).get(field)
        title = field if column is None or not self.layout.header else self.header[column]
        located = self.source.locate([int(row) for row in rows], header=self.layout.header)
        self.add(
            (BadRow(line, title, None if column is None else fields[column], problem) for line, fields in located),
            remedy,
        )
        return frame.loc[~bad].reset_index(drop=True)

    def lines(self, rows: Iterable[int]) -> list[int]:
        """Line numbers of data rows."""
        return [line for line, _ in self.source.locate([int(row) for row in rows], header=self.layout.header)]

    def finish(self, rows_read: int) -> tuple[BadRow, ...]:
        """All rejected rows by line.

        Raises:
            ImportRefused: too many rows were bad for them to be slips.
        """
        if len(self.rejected) > _ORDINARY_SHARE * rows_read:
            first = min(self.rejected, key=lambda row: row.line)
            self.refuse(
                f"{len(self.rejected)} of {rows_read} rows cannot be used; the first: {first.problem}",
                remedy="Check that the file, its time zone and its interval are what they were taken for.",
                line=first.line,
                column=first.column,
                value=first.value,
            )
        return tuple(sorted(self.rejected, key=lambda row: row.line))

    def refuse(
        self, problem: str, *, remedy: str, line: int | None = None, column: str | None = None, value: str | None = None
    ) -> NoReturn:
        """Refuse the whole file."""
        self.source.refuse(problem, remedy=remedy, line=line, column=column, value=value)
