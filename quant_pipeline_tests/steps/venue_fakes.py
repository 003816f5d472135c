"""Venues that misbehave in one way and are real in every other: they wrap the client of the simulated exchange."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from decimal import Decimal

import pandas as pd

from quant_pipeline.core.values import Account, OrderRequest, Position, Quote, VenueClock, VenueOrder
from quant_pipeline.venues.errors import VenueUnavailable
from quant_pipeline.venues.protocols import Broker, MarketData


@dataclass
class AgeingData:
    """Market data whose quotes of the symbols in `stale` are older than they should be, and `prices` other ones.

    The request for bars of number `fails_at` (from 1) gets no answer.
    """

    inner: MarketData
    stale: dict[str, timedelta] = field(default_factory=dict)
    prices: dict[str, Decimal] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], str, datetime, datetime]] = field(default_factory=list)
    fails_at: int = 0

    def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        self.asked.append((tuple(symbols), interval, start, end))
        if len(self.asked) == self.fails_at:
            msg = "no answer"
            raise VenueUnavailable(msg)
        return self.inner.bars(symbols, interval, start, end)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        found = self.inner.quotes(symbols)
        return {
            s: replace(q, at=q.at - self.stale.get(s, timedelta(0)), price=self.prices.get(s, q.price))
            for s, q in found.items()
        }

    def close(self) -> None:
        self.inner.close()


def _nothing() -> None:
    """Do nothing."""


@dataclass
class MeddledBroker:
    """A broker with something happening before an order is sent, or before holdings are told."""

    inner: Broker
    before_submit: Callable[[OrderRequest], None] = lambda _: None
    before_positions: Callable[[], None] = _nothing

    def submit(self, request: OrderRequest) -> VenueOrder:
        self.before_submit(request)
        return self.inner.submit(request)

    def positions(self) -> tuple[Position, ...]:
        self.before_positions()
        return self.inner.positions()

    def account(self) -> Account:
        return self.inner.account()

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        return self.inner.find(client_id, symbol)

    def open_orders(self) -> tuple[VenueOrder, ...]:
        return self.inner.open_orders()

    def cancel(self, client_id: str, symbol: str) -> None:
        self.inner.cancel(client_id, symbol)

    def clock(self) -> VenueClock:
        return self.inner.clock()

    def close(self) -> None:
        self.inner.close()
