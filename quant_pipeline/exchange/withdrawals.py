"""Bars that the exchange is told to withdraw: what names one. Hiding it from answers belongs to `feed`, orders ignore it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from quant_pipeline.exchange.bars.sessions import INTERVAL_SECONDS

_NAMES = ("market", "symbol", "interval", "starts")


@dataclass(frozen=True, slots=True)
class WithdrawnBar:
    """The bar of `interval` that a venue stamps `starts`. Bars of other intervals go on holding its trades."""

    market: str
    symbol: str
    interval: str
    starts: datetime

    def __post_init__(self) -> None:
        """Refuse what names no bar.

        Raises:
            ValueError: the interval is unknown, or the time does not say its zone.
        """
        if self.interval not in INTERVAL_SECONDS:
            msg = f"there are no bars of {self.interval!r}; name one of {', '.join(INTERVAL_SECONDS)}"
            raise ValueError(msg)
        if self.starts.tzinfo is None:
            msg = f"bar of {self.symbol} at {self.starts}: the time must say its zone (UTC)"
            raise ValueError(msg)

    @property
    def seconds(self) -> int:
        """The length of the bar."""
        return INTERVAL_SECONDS[self.interval]

    @property
    def stamp(self) -> int:
        """When it starts (epoch seconds)."""
        return int(self.starts.timestamp())


def read_withdrawn(values: Mapping[str, Any]) -> WithdrawnBar:
    """A bar from plain values: `market`, `symbol`, `interval` and `starts` (ISO time).

    Raises:
        ValueError: a name is unknown or missing, or a value cannot be.
    """
    if set(values) != set(_NAMES):
        msg = f"a withdrawn bar has {', '.join(_NAMES)}; found {', '.join(values) or 'nothing'}"
        raise ValueError(msg)
    market, symbol, interval, starts = (str(values[name]) for name in _NAMES)
    return WithdrawnBar(market, symbol, interval, datetime.fromisoformat(starts))


def plain_withdrawn(bar: WithdrawnBar) -> dict[str, str]:
    """The values that `read_withdrawn` reads back."""
    return {"market": bar.market, "symbol": bar.symbol, "interval": bar.interval, "starts": bar.starts.isoformat()}
