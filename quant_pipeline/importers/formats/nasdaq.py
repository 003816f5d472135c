"""Historical quotes as the Nasdaq site gives them: `$1,234.56`, grouped volume, MM/DD/YYYY, newest first.

The site's prices are adjusted for splits, not for dividends. Newer downloads call the close `Close/Last`.
"""

from __future__ import annotations

from quant_pipeline.importers.errors import UnusableFile
from quant_pipeline.importers.formats.plain import BAR_FIELDS
from quant_pipeline.importers.times import style_of
from quant_pipeline.importers.values import Format, Layout, Peek


def sniff(peek: Peek) -> bool:
    """A `Date` column in the form MM/DD/YYYY and a dollar sign before the first close."""
    date, close = peek.column("date"), peek.column("close", "close/last")
    if date is None or close is None or not peek.rows or len(peek.rows[0]) <= max(date, close):
        return False
    first = peek.rows[0]
    return first[close].strip().startswith("$") and style_of(first[date].strip(), "us_date") is not None


def layout(peek: Peek) -> Layout:
    """Columns by name, grouped numbers, American dates.

    Raises:
        UnusableFile: one of the five numbers is not in the header.
    """
    positions = {name: peek.column(name) for name in ("date", *BAR_FIELDS)}
    positions["close"] = peek.column("close", "close/last")
    absent = [name for name, position in positions.items() if position is None]
    if absent:
        msg = f"the file has no column {', '.join(absent)}"
        raise UnusableFile(msg, "Download the table with all its columns.")
    found = {name: position for name, position in positions.items() if position is not None}
    return Layout(
        time=found["date"],
        open=found["open"],
        high=found["high"],
        low=found["low"],
        close=found["close"],
        volume=found["volume"],
        source="nasdaq",
        feed="consolidated",
        adjustment="split",
        times="us_date",
        grouped=True,
    )


NASDAQ = Format("nasdaq", sniff, layout)
