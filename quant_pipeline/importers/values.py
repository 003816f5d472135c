"""The values that an import passes on: what a file looks like, how it is laid out, what was read, what was stored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

import pandas as pd

Stamp = Literal["start", "end"]
"""Whether a time names the start or the end of its bar."""

BadRows = Literal["refuse", "skip"]
"""What one row that cannot be understood does: the whole file is refused, or the row is reported and left out."""

TimeKind = Literal["auto", "us_date", "compact", "ms_of_day"]
"""How times are written; `auto` tries the unambiguous ones (ISO 8601 and epoch numbers)."""


@dataclass(frozen=True, slots=True)
class Peek:
    """The beginning of a file, enough to recognise its family.

    `name` is the file's name without folder, `member` the name inside a zip archive. `header` is the first row as it
    stands (also in a file without header), `rows` the next few rows. `krw` says whether market, symbol or file name
    speak of a KRW pair.
    """

    name: str
    member: str | None
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    krw: bool

    def column(self, *names: str) -> int | None:
        """Position of the first column whose header is one of `names` (any case), or None."""
        titles = self.titles()
        return next((titles.index(name.casefold()) for name in names if name.casefold() in titles), None)

    def titles(self) -> list[str]:
        """The header without case, outer blanks and invisible characters."""
        return ["".join(filter(str.isprintable, title)).strip().casefold() for title in self.header]


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """Where things stand in a file and how they are written.

    Column fields are positions. `zone` is the time zone of times written without one, when the family knows it.
    `stamp` None means: judged from the times themselves. `grouped` numbers may carry `$` and thousands separators.
    `scale` divides prices (Lean writes 1/10,000 USD). `day` is the date to which milliseconds of the day belong.
    `symbol` is a column, `file_symbol` a symbol that the family knows by itself. `interval` is the one that the file
    states; `texts` are columns in which each row says more about itself (see `stated.py`).
    """

    time: int
    open: int
    high: int
    low: int
    close: int
    volume: int
    source: str
    feed: str
    adjustment: str
    symbol: int | None = None
    file_symbol: str | None = None
    header: bool = True
    zone: str | None = None
    stamp: Stamp | None = None
    times: TimeKind = "auto"
    grouped: bool = False
    scale: float = 1.0
    day: date | None = None
    interval: str | None = None
    texts: tuple[tuple[str, int], ...] = ()

    @property
    def prices(self) -> tuple[tuple[str, int], ...]:
        """Names and positions of the five numbers of a bar."""
        return (
            ("open", self.open),
            ("high", self.high),
            ("low", self.low),
            ("close", self.close),
            ("volume", self.volume),
        )


@dataclass(frozen=True, slots=True)
class Format:
    """One family of files: how it is recognised, and how such a file is laid out.

    `layout` raises `errors.UnusableFile` when the family is recognised and this file holds no bars or misses a column.
    """

    name: str
    sniff: Callable[[Peek], bool]
    layout: Callable[[Peek], Layout]


@dataclass(frozen=True, slots=True)
class Gap:
    """A run of slots of the market's grid without a bar: first and last missing bar start (UTC) and their number."""

    symbol: str
    first: datetime
    last: datetime
    slots: int


@dataclass(frozen=True, slots=True)
class BadRow:
    """One row that was left out (`bad_rows="skip"`): where it stands and what is wrong with it."""

    line: int
    column: str | None
    value: str | None
    problem: str


@dataclass(frozen=True, slots=True)
class ParsedFile:
    """A file read and judged, nothing stored yet.

    `frame` is a bar frame. `rows_read` counts the rows asked for in the file: `len(frame) + duplicates_dropped +
    len(rejected)`. `slots` is how many bars the market's grid holds between the file's first and last bar, `gaps`
    those without one. `first` and `last` are bar starts (UTC). `stamp` says how the file's times were taken.
    `origins` has a row for each of `frame` with its source, feed and adjustment, in files whose rows state them; then
    the fields of the same names hold all that occur, joined by `+`.
    """

    path: Path
    frame: pd.DataFrame
    market: str
    symbols: tuple[str, ...]
    interval: str
    source: str
    feed: str
    adjustment: str
    format: str
    stamp: Stamp
    rows_read: int
    duplicates_dropped: int
    rejected: tuple[BadRow, ...]
    slots: int
    gaps: tuple[Gap, ...]
    first: datetime
    last: datetime
    origins: pd.DataFrame | None = None

    @property
    def symbol(self) -> str:
        """The symbol, or all of them joined by commas."""
        return ",".join(self.symbols)

    @property
    def slots_missing(self) -> int:
        """Slots of the grid without a bar."""
        return sum(gap.slots for gap in self.gaps)
