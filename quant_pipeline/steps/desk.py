"""The desk: what every step needs at hand (settings, storage, venues). Opening one belongs to `connect.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from quant_pipeline.core.identity import code_hash
from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.studies import Studies
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.lake import Lake
from quant_pipeline.venues.protocols import Broker, MarketData


@dataclass(frozen=True, slots=True)
class Venue:
    """Both sides of one market's venue."""

    data: MarketData
    broker: Broker


@dataclass(slots=True)
class Desk:
    """Settings, storage and venues of one process. Not shared between threads: venue clients are one per thread."""

    settings: Settings
    db: Database
    lake: Lake
    connect: Callable[[MarketSettings], Venue]
    clock: Callable[[MarketSettings], datetime]
    registry: ModelRegistry
    studies: Studies
    platform_hash: str
    core_hash: str = field(default_factory=code_hash)
    _venues: dict[str, Venue] = field(default_factory=dict)

    def venue(self, market: MarketSettings) -> Venue:
        """The venue of a market, connected at first use."""
        if market.name not in self._venues:
            self._venues[market.name] = self.connect(market)
        return self._venues[market.name]

    def close(self) -> None:
        """Give back connections."""
        for venue in self._venues.values():
            venue.data.close()
            venue.broker.close()
        self._venues.clear()
        self.studies.close()
        self.db.close()
