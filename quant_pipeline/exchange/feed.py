"""What can be seen of a source of bars at a given time: closed bars, the forming bar, quotes. No orders.

Of a bar that is still forming only its open is known, whatever its length: nothing between open and close is invented.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal

import numpy as np

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.bars.columns import BarColumns, empty_columns, join
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE, rebucket, session_table
from quant_pipeline.exchange.bars.source import BarSource
from quant_pipeline.markets.market import Market
from quant_pipeline.markets.rules import round_price, tick_size

_BASIS_POINT = Decimal("0.0001")
_FIRST_TRADE = {"us_equity": 100.0, "krw_crypto": 0.0001}
"""Volume shown of a forming bar of the finest kind: one trade, the one that made its open."""


@dataclass(frozen=True, slots=True)
class Tick:
    """The last trade of a symbol, and the best bid and ask round it."""

    symbol: str
    price: Decimal
    traded_at: datetime
    quoted_at: datetime
    bid: Decimal
    ask: Decimal


def exact(price: float) -> Decimal:
    """The decimal that a price on a tick grid stands for."""
    return Decimal(repr(float(price)))


def instant(seconds: int) -> datetime:
    """Epoch seconds as UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


class Feed:
    """The bars of one market as they are known at a time; every method takes that time as `now`."""

    def __init__(self, source: BarSource, half_spread_bp: Decimal) -> None:
        """Show `source` with bid and ask `half_spread_bp` basis points from the last price."""
        self.source = source
        self.market: Market = source.market
        self._half_spread = half_spread_bp * _BASIS_POINT
        self._table = session_table(self.market.name)
        self._listed = frozenset(source.symbols())
        self._withdrawn: dict[tuple[str, int], set[int]] = {}

    @property
    def listed(self) -> frozenset[str]:
        """The symbols that are traded here."""
        return self._listed

    def lists(self, symbol: str) -> bool:
        """Whether the symbol is traded here."""
        return symbol in self._listed

    def withdraw(self, symbol: str, seconds: int, stamp: int) -> None:
        """Never show the bar of `seconds` with that stamp again; orders are matched against it as before."""
        self._withdrawn.setdefault((symbol, seconds), set()).add(stamp)

    def bars(self, symbol: str, seconds: int, start: int, end: int, now: datetime) -> BarColumns:
        """Bars of `seconds` stamped in [start, end) as seen at `now`: closed ones, and what the forming one has."""
        known = self._known_bars(symbol, seconds, start, end, now)
        gone = self._withdrawn.get((symbol, seconds))
        return known if gone is None else known.take(~np.isin(known.ts, np.array(sorted(gone), np.int64)))

    def _known_bars(self, symbol: str, seconds: int, start: int, end: int, now: datetime) -> BarColumns:
        at = int(now.timestamp())
        closed = self._table.closed_by(at)
        if closed >= len(self._table.days):
            return self.source.columns(symbol, seconds, start, end)
        current = int(self._table.stamps[closed])
        before = self.source.columns(symbol, seconds, start, min(end, current))
        if end <= current or at < int(self._table.opens[closed]):
            return before
        seen = self.seen_path(symbol, int(self._table.opens[closed]), at)
        if not len(seen):
            return before
        return join([before, rebucket(self.market, seen, seconds).between(start, end)])

    def last_bars(self, symbol: str, seconds: int, count: int, before: int, now: datetime) -> BarColumns:
        """The newest `count` bars stamped before `before` as seen at `now`, oldest first; fewer near the epoch."""
        end = min(before, int(now.timestamp()) + 1)
        begin = self.source.begins(symbol)
        span = max(2 * DAY, int(count * seconds * 1.2))
        if self.market.calendar != "always":
            span = max(span * 8 if seconds < DAY else span * 2, 7 * DAY)
        while True:
            found = self.bars(symbol, seconds, end - span, end, now)
            if len(found) >= count or end - span <= begin - DAY:
                return found.part(max(0, len(found) - count), len(found))
            span *= 2

    def seen_path(self, symbol: str, start: int, at: int) -> BarColumns:
        """The finest bars that opened in [start, at]; the last one with its open only while it forms."""
        path = self.source.path(symbol, start, at + 1)
        if not len(path) or path.closes[-1] <= at:
            return path
        whole, last = path.part(0, len(path) - 1), path.part(len(path) - 1, len(path))
        volume = np.minimum(last.volume, _FIRST_TRADE[self.market.name])
        begun = replace(last, high=last.open, low=last.open, close=last.open, volume=volume, value=volume * last.open)
        return join([whole, begun])

    def tick(self, symbol: str, now: datetime) -> Tick | None:
        """Last trade and best prices at `now`; None before the first bar of history.

        While the market is open a quote is as fresh as `now`; a closed market quotes as of its close.
        """
        at = int(now.timestamp())
        last = self._last_path_bar(symbol, at)
        if last is None:
            return None
        forming = int(last.closes[0]) > at
        price = exact(last.open[0] if forming else last.close[0])
        traded = int(last.opens[0]) if forming else int(last.closes[0])
        closed = self._table.closed_by(at)
        is_open = closed < len(self._table.days) and int(self._table.opens[closed]) <= at
        quoted = now if is_open else instant(max(traded, int(self._table.closes[max(closed - 1, 0)])))
        bid, ask = self.spread(price)
        return Tick(symbol, price, instant(traded), quoted, bid, ask)

    def spread(self, price: Decimal) -> tuple[Decimal, Decimal]:
        """Best bid and ask round a price: half the spread away, on ticks, and a bid of at least one tick."""
        ask = round_price(self.market, price * (1 + self._half_spread), side=Side.BUY)
        bid = round_price(self.market, price * (1 - self._half_spread), side=Side.SELL)
        return max(bid, tick_size(self.market, price)), ask

    def _last_path_bar(self, symbol: str, at: int) -> BarColumns | None:
        begin = self.source.begins(symbol)
        for span in (2 * HOUR, 5 * DAY, 40 * DAY, at - begin + MINUTE):
            found = self.source.path(symbol, at - span, at + 1)
            if len(found):
                return found.part(len(found) - 1, len(found))
            if at - span < begin:
                return None
        return None

    def matchable(self, symbol: str, start: int, at: int) -> BarColumns:
        """The finest bars that open in [start, at], whole: for matching, which takes care of what is closed at `at`."""
        return self.source.path(symbol, start, at + 1) if start <= at else empty_columns()

    def horizon(self, symbol: str, look_from: int, at: int) -> int:
        """Up to when an order not matched since `look_from` can be judged at `at`: a source of our own knows it all."""
        del symbol, look_from
        return at
