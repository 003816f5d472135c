"""Which family a file belongs to, from its first rows and its name. What a family looks like stands in `formats/`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from quant_pipeline.importers.errors import NotBars, UnusableFile
from quant_pipeline.importers.formats.registry import FORMATS
from quant_pipeline.importers.naming import krw_pair, stem
from quant_pipeline.importers.source import Source
from quant_pipeline.importers.values import Format, Layout, Peek

_OTHER_DELIMITERS = {";": "semicolons", "\t": "tabs", "|": "bars"}
_NEEDED = "a time column and open, high, low, close, volume"


@dataclass(frozen=True, slots=True)
class Recognised:
    """A file's family, its layout, and the column names to use in messages."""

    format: Format
    layout: Layout
    peek: Peek
    header: tuple[str, ...]


def recognise(source: Source, *, market: str | None, symbol: str | None) -> Recognised:
    """Find the family of a file.

    Raises:
        ImportRefused: no family fits, there is no data row, or the family says that the file cannot be used.
        NotBars: the file is sound and holds something else than bars.
    """
    header, rows = source.head()
    peek = Peek(source.path.name, source.member, header, rows, _is_krw(source.path.name, market, symbol))
    family = next((each for each in FORMATS if each.sniff(peek)), None)
    if family is None:
        _refuse_unknown(source, header)
    try:
        layout = family.layout(peek)
    except UnusableFile as error:
        if error.is_other_kind:
            raise NotBars(source.path, error.problem, remedy=error.remedy) from error
        source.refuse(error.problem, remedy=error.remedy)
    if layout.header and not rows:
        source.refuse("there is a header and no data row", remedy="Give a file with at least one row.")
    return Recognised(family, layout, peek, header)


def _is_krw(name: str, market: str | None, symbol: str | None) -> bool:
    if market is not None:
        return market == "krw_crypto"
    return krw_pair(symbol if symbol is not None else stem(name)) is not None


def _refuse_unknown(source: Source, header: tuple[str, ...]) -> NoReturn:
    line = header[0] if len(header) == 1 else ""
    for delimiter, name in _OTHER_DELIMITERS.items():
        if delimiter in line:
            source.refuse(
                f"the columns are separated by {name}",
                remedy="Save the file with commas between columns and points in decimals.",
                line=1,
                value=line,
            )
    source.refuse(
        "the columns are of no known family of price files",
        remedy=f"Name the columns in the first row: {_NEEDED} (any order and case).",
        line=None if source.table is not None else 1,
        value=",".join(header),
    )
