"""Yahoo Finance daily files: `Date,Open,High,Low,Close,Adj Close,Volume`.

Open to Close are adjusted for splits, not for dividends, and used as they are; `Adj Close` (both) is left alone.
"""

from __future__ import annotations

from quant_pipeline.importers.formats.plain import has_bar_fields, named_layout
from quant_pipeline.importers.values import Format, Layout, Peek


def sniff(peek: Peek) -> bool:
    """The header names a date and an adjusted close beside the five numbers."""
    return has_bar_fields(peek) and peek.column("date") is not None and peek.column("adj close") is not None


def layout(peek: Peek) -> Layout:
    """Columns by name; the adjusted close is not read."""
    return named_layout(peek, source="yahoo", feed="consolidated", adjustment="split")


YAHOO = Format("yahoo", sniff, layout)
