"""The feed over what a venue has told: only that, with its true times. Asking the venue is done elsewhere."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.exchange.feed import Feed, Tick
from quant_pipeline.exchange.live.memory import Memory
from quant_pipeline.markets.market import Market


class MemoryBars:
    """A `BarSource` that knows no future, and of the past what was asked for."""

    def __init__(self, memory: Memory) -> None:
        """Show what is in `memory`."""
        self._memory = memory

    @property
    def market(self) -> Market:
        """The market whose symbols these are."""
        return self._memory.market

    def symbols(self) -> tuple[str, ...]:
        """All symbols that can be traded, sorted."""
        return tuple(sorted(self._memory.symbols()))

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        """The bars of `seconds` stamped in [start, end) that the venue has told."""
        return self._memory.bars(symbol, seconds).columns(self.market, seconds, start, end)

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        """The minutes that open in [start, end)."""
        return self.columns(symbol, MINUTE, start, end)

    def begins(self, symbol: str) -> int:
        """The beginning of time: where a venue's history begins is not known before it was asked for."""
        del symbol
        return 0


class LiveFeed(Feed):
    """A `Feed` whose quotes are the venue's own, and that says how far the venue's bars are known."""

    def __init__(self, memory: Memory, half_spread_bp: Decimal) -> None:
        """Show `memory`; `half_spread_bp` is what an order that takes a bar's open pays, by the exchange's own rules."""
        super().__init__(MemoryBars(memory), half_spread_bp)
        self._memory = memory

    @property
    def listed(self) -> frozenset[str]:
        """The symbols that the venue knows."""
        return self._memory.symbols()

    def lists(self, symbol: str) -> bool:
        """Whether the symbol is traded here."""
        return symbol in self.listed

    def bars(self, symbol: str, seconds: int, start: int, end: int, now: datetime) -> BarColumns:
        """What is known of the bars stamped in [start, end)."""
        del now
        return self.source.columns(symbol, seconds, start, end)

    def last_bars(self, symbol: str, seconds: int, count: int, before: int, now: datetime) -> BarColumns:
        """The newest `count` known bars stamped before `before`, oldest first."""
        found = self.bars(symbol, seconds, 0, before, now)
        return found.part(max(0, len(found) - count), len(found))

    def tick(self, symbol: str, now: datetime) -> Tick | None:
        """The last trade and quote that the venue told, however old they are; None before the first."""
        del now
        return self._memory.ticks.get(symbol)

    def horizon(self, symbol: str, look_from: int, at: int) -> int:
        """Until when minutes are complete from `look_from` on, at most `at`: orders cannot be judged beyond it."""
        until = self._memory.minutes(symbol).complete_from(look_from)
        return min(at, look_from - 1 if until is None else until)
