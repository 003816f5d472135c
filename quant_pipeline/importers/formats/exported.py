"""Files that `quant export` wrote: every row says its market, interval, symbol, UTC time and where the bar came from."""

from __future__ import annotations

from quant_pipeline.importers.errors import UnusableFile
from quant_pipeline.importers.grid import INTERVALS
from quant_pipeline.importers.values import Format, Layout, Peek

COLUMNS = (
    "market", "interval", "symbol", "ts", "open", "high", "low", "close", "volume", "source", "feed", "adjustment",
)  # fmt: skip
_TEXTS = ("market", "interval", "source", "feed", "adjustment")


def sniff(peek: Peek) -> bool:
    """The header is exactly ours."""
    return tuple(peek.titles()) == COLUMNS


def layout(peek: Peek) -> Layout:
    """Columns by position; the interval as the first row states it.

    Raises:
        UnusableFile: the first row states an interval that does not exist.
    """
    position = {name: number for number, name in enumerate(COLUMNS)}
    interval = peek.rows[0][position["interval"]].strip() if peek.rows and len(peek.rows[0]) > 1 else "1d"
    if interval not in INTERVALS:
        msg = f"the first row states the interval {interval!r}"
        raise UnusableFile(msg, f"Write one of {', '.join(INTERVALS)}.")
    return Layout(
        time=position["ts"],
        open=position["open"],
        high=position["high"],
        low=position["low"],
        close=position["close"],
        volume=position["volume"],
        symbol=position["symbol"],
        source="file",
        feed="unknown",
        adjustment="unknown",
        stamp="start",
        interval=interval,
        texts=tuple((name, position[name]) for name in _TEXTS),
    )


EXPORTED = Format("quant_export", sniff, layout)
