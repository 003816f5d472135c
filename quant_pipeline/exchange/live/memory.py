"""What one venue has told so far: listed symbols, latest rows word for word, last prices, bars. Nothing is asked here."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.exchange.feed import Tick
from quant_pipeline.exchange.live.series import Row, Series
from quant_pipeline.exchange.orders import SimOrder
from quant_pipeline.markets.market import Market

Json = dict[str, Any]

SETTLING = 5
"""Seconds after which a venue has published what was traded: a bar counts as closed that much later."""

PRESENT = 120
"""A question that reaches to within so many seconds of now is one about now: what is known is an answer to it."""

_SKEW = timedelta(minutes=5)


@dataclass(slots=True)
class Memory:
    """`configured` are the symbols to watch; `listed` those that the venue says it has (None: not told yet).

    `refused` are configured ones that the venue does not know. `keep_from` says, by symbol, from when on minutes are
    needed for open orders.
    """

    market: Market
    configured: tuple[str, ...]
    listed: frozenset[str] | None = None
    refused: set[str] = field(default_factory=set)
    ticks: dict[str, Tick] = field(default_factory=dict)
    latest: dict[tuple[str, str], Json] = field(default_factory=dict)
    series: dict[tuple[str, int, str], Series] = field(default_factory=dict)
    keep_from: dict[str, int] = field(default_factory=dict)
    _asked_at: dict[tuple[str, str], datetime] = field(default_factory=dict)

    def symbols(self) -> frozenset[str]:
        """The symbols that can be traded."""
        known = frozenset(self.configured) if self.listed is None else self.listed
        return known - self.refused

    def minutes(self, symbol: str) -> Series:
        """The minutes that orders are matched with."""
        return self.bars(symbol, MINUTE)

    def bars(self, symbol: str, seconds: int, variant: str = "") -> Series:
        """The bars of a symbol; `variant` tells apart what is adjusted or of another feed."""
        return self.series.setdefault((symbol, seconds, variant), Series())

    def learn_bars(
        self, key: tuple[str, int, str], rows: Iterable[tuple[int, Row]], start: int, end: int, now: datetime
    ) -> None:
        """Take over all bars of `key` (symbol, seconds, variant) stamped in [start, end), as told at `now`."""
        symbol, seconds, variant = key
        inside = {stamp: row for stamp, row in rows if start <= stamp < end}
        keep = self.keep_from.get(symbol, int(now.timestamp())) if seconds == MINUTE else int(now.timestamp())
        settled = int(now.timestamp()) - SETTLING
        series = self.bars(symbol, seconds, variant)
        if now < series.asked_at:  # an answer that was overtaken by that to a later question
            return
        series.asked_at = now
        series.learn(start, end, inside, complete_until=settled, keep_from=keep)

    def learn_latest(self, path: str, rows: dict[str, Json], now: datetime) -> None:
        """Take over the newest row of each symbol that `path` gave at `now`; they have been read and found good.

        An answer that was overtaken by that to a later question changes nothing.
        """
        for symbol, row in rows.items():
            if self._asked_at.get((path, symbol), now) <= now:
                self.latest[path, symbol], self._asked_at[path, symbol] = row, now

    def answer_from(self, series: Series, start: int, end: int, now: datetime) -> list[Row] | None:
        """The bars stamped in [start, end) as far as they are known, or None where that would hide a hole.

        A question about now is answered with what there is; one about the past only if all of it is known.
        """
        until = series.complete_from(start)
        about_now = end >= int(now.timestamp()) - PRESENT
        if until is None or (until < end and not (about_now and until == series.edge())):
            return None
        return series.rows(start, end)


def positive(value: object) -> float:
    """A price.

    Raises:
        TypeError: it is no number.
        ValueError: it is not positive and finite.
    """
    number = amount(value)
    if number == 0:
        msg = f"{value!r} is no price"
        raise ValueError(msg)
    return number


def amount(value: object) -> float:
    """A volume or turnover.

    Raises:
        TypeError: it is no number.
        ValueError: it is negative or not finite.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        msg = f"{value!r} is no number"
        raise TypeError(msg)
    if not 0 <= value < float("inf"):
        msg = f"{value!r} is no amount"
        raise ValueError(msg)
    return float(value)


def not_future(at: datetime, now: datetime) -> datetime:
    """A time of the venue; clocks may differ a little, but a quote of tomorrow would never be stale.

    Raises:
        ValueError: it lies in the future.
    """
    if at - now > _SKEW:
        msg = f"{at.isoformat()} is in the future"
        raise ValueError(msg)
    return at


def from_millis(value: object) -> datetime:
    """A time from milliseconds since 1970."""
    return datetime.fromtimestamp(positive(value) / 1000, UTC)


def poll_needs(open_orders: Iterable[SimOrder], held: Iterable[str]) -> dict[str, int | None]:
    """What an account needs prices for: its open orders and its holdings."""
    needs: dict[str, int | None] = dict.fromkeys(held)
    for order in open_orders:
        symbol = order.ticket.symbol
        since = needs.get(symbol)
        needs[symbol] = order.looked_until if since is None else min(since, order.looked_until)
    return needs
