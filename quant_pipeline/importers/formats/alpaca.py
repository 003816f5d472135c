"""Frames of the Alpaca Python SDK (`StockBarsRequest(...).df` saved with its index): symbol, UTC timestamp, vwap.

The frame does not say which feed and adjustment were asked for; a file name may name the feed (`..._iex_...`).
"""

from __future__ import annotations

import re

from quant_pipeline.importers.formats.plain import has_bar_fields, named_layout
from quant_pipeline.importers.values import Format, Layout, Peek

_FEED = re.compile(r"(?:^|[_\-.])(iex|sip|otc|boats)(?:[_\-.]|$)", re.IGNORECASE)


def sniff(peek: Peek) -> bool:
    """Columns `trade_count` and `vwap` beside symbol, timestamp and the five numbers."""
    extra = ("symbol", "timestamp", "trade_count", "vwap")
    return has_bar_fields(peek) and all(peek.column(name) is not None for name in extra)


def layout(peek: Peek) -> Layout:
    """Columns by name; the feed from the file name, else unknown."""
    named = _FEED.search(peek.name)
    feed = named.group(1).lower() if named else "unknown"
    return named_layout(peek, source="alpaca", feed=feed, adjustment="unknown")


ALPACA_SDK = Format("alpaca_sdk", sniff, layout)
