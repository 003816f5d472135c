"""What the exchange asks of a source of bars, whatever it is. Sources know the future; `feed` hides it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

import pandas as pd

from quant_pipeline.exchange.bars.columns import BarColumns, to_frame
from quant_pipeline.exchange.bars.sessions import INTERVAL_SECONDS
from quant_pipeline.markets.market import Market


class BarSource(Protocol):
    """Complete bars of one market's symbols, over all time the source knows."""

    @property
    def market(self) -> Market:
        """The market whose symbols these are."""
        ...

    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        ...

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        """Complete bars of `seconds` (86400: sessions) stamped in [start, end), epoch seconds.

        Raises:
            KeyError: the symbol is unknown.
        """
        ...

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        """The finest bars known whose opening time lies in [start, end): what orders are matched against.

        Raises:
            KeyError: the symbol is unknown.
        """
        ...

    def begins(self, symbol: str) -> int:
        """The opening time of the first bar of a symbol (epoch seconds)."""
        ...


def bar_frame(
    source: BarSource, symbols: tuple[str, ...], interval: str, start: datetime, end: datetime
) -> pd.DataFrame:
    """A bar frame of complete bars stamped in [start, end) straight from a source, without a server.

    Raises:
        KeyError: a symbol or the interval is unknown.
    """
    seconds = INTERVAL_SECONDS[interval]
    first, last = int(start.timestamp()), int(end.timestamp())
    return to_frame({symbol: source.columns(symbol, seconds, first, last) for symbol in symbols})
