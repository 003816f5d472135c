"""Which origin a bar is kept of when two sources say different things about it: the same one in whatever order."""

from __future__ import annotations

from typing import Literal

from quant_pipeline.markets.market import MARKETS
from quant_pipeline.storage.bars import Origin

_ADJUSTMENTS = ("raw", "split", "all")
"""Raw prices are what was traded; adjusted ones hold only as of the day on which the vendor adjusted them."""
_WHOLE_FEEDS = ("consolidated", "sip", "upbit")
_VENUES = frozenset(market.venue for market in MARKETS)


def prefer(stored: Origin, given: Origin) -> Literal["stored", "given"] | None:
    """Which of two origins is the better one.

    Raw before split-adjusted before unknown adjustment; then the market's own venue, also in files, before others; then feeds
    of the whole market before those of one exchange before unknown ones; then by name, so that there is always one.
    """
    if stored == given:
        return None
    return "stored" if rank(stored) < rank(given) else "given"


def rank(origin: Origin) -> tuple[int, bool, int, Origin]:
    """The smaller, the better."""
    source, feed, adjustment = origin
    adjusted = _ADJUSTMENTS.index(adjustment) if adjustment in _ADJUSTMENTS else len(_ADJUSTMENTS)
    coverage = 0 if feed in _WHOLE_FEEDS else 1 + (feed == "unknown")
    return adjusted, source.removesuffix("_file") not in _VENUES, coverage, origin
