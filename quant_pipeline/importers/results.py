"""What an import says about each file, and how far it is."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Literal

from quant_pipeline.importers.companies import LeftOut
from quant_pipeline.importers.values import BadRow, Gap, ParsedFile, Stamp

Outcome = Literal["stored", "refused", "passed_by"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportResult:
    """What became of one file. Fields of the content are those of `ParsedFile`, empty unless it was stored.

    `outcome` is `refused` with the reason, `passed_by` for a sound file with nothing for us, or `stored`; `rows` counts
    the bars of the file, of which `inserted` are new, `changed` replaced other values, `unchanged` were there, `kept`
    say something else than what is stored of a better source. `not_closed` bars ended after the time of the import,
    those of `left_out` are of another company. `sessions` are the (symbol, session) pairs whose stored bars changed.

    A factor or map file has no bars: `recorded` counts the actions or ticker spans that were not known before,
    `removed` the stored bars that turned out to be of another company.
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
    left_out: tuple[LeftOut, ...] = ()
    slots: int = 0
    gaps: tuple[Gap, ...] = ()
    first: datetime | None = None
    last: datetime | None = None
    inserted: int = 0
    changed: int = 0
    unchanged: int = 0
    kept: int = 0
    recorded: int = 0
    removed: int = 0
    sessions: tuple[tuple[str, date], ...] = ()

    @property
    def slots_missing(self) -> int:
        """Slots of the market's grid between the file's first and last bar that hold no bar."""
        return sum(gap.slots for gap in self.gaps)

    @property
    def is_reference(self) -> bool:
        """Whether it is a factor or map file."""
        return self.format in ("lean_factors", "lean_map")


@dataclass(frozen=True, slots=True)
class Progress:
    """How far an import is: `done` of `total` files, and the result of the file just finished."""

    done: int
    total: int
    result: ImportResult


def stored(parsed: ParsedFile) -> ImportResult:
    """The result of a file whose bars were stored, without what storing changed."""
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
