"""The desk: what every step needs at hand (settings, storage, venues). Opening one belongs to `connect.py`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import pandas as pd

from quant_pipeline.core.identity import code_hash
from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.studies import Studies
from quant_pipeline.settings import MarketSettings, Settings
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.lake import Lake
from quant_pipeline.venues.protocols import Broker, CorporateActionData, MarketData


@dataclass(frozen=True, slots=True)
class Venue:
    """All sides of one market's venue; `actions` is None where assets have no splits and dividends."""

    data: MarketData
    broker: Broker
    actions: CorporateActionData | None = None


class RunBars:
    """The bars that the steps of one run share: the widest span read so far. One run at a time uses a desk."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._key: object = None
        self._span: tuple[datetime, datetime] | None = None
        self._frame = pd.DataFrame()

    def forget(self) -> None:
        """Drop what was read: bars have changed."""
        self._key, self._span = None, None

    def get(self, key: object, start: datetime, end: datetime, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The bars of [start, end): cut from what this run has read already, else read now and kept."""
        if key != self._key or self._span is None or start < self._span[0] or end > self._span[1]:
            self._key, self._span, self._frame = key, (start, end), read()
            return self._frame
        ts = self._frame["ts"].to_numpy(dtype="datetime64[ns]")
        first, last = (np.datetime64(at.replace(tzinfo=None), "ns") for at in (start, end))
        return self._frame[(ts >= first) & (ts < last)].reset_index(drop=True)


def _untold(_text: str, _part: float) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class Desk:
    """Settings, storage and venues of one process. Not shared between threads: venue clients are one per thread.

    `progress` is told what a long step is doing, and which part of it is done (0 to 1); commands show it as a bar.
    """

    settings: Settings
    db: Database
    lake: Lake
    connect: Callable[[MarketSettings], Venue]
    clock: Callable[[MarketSettings], datetime]
    registry: ModelRegistry
    studies: Studies
    platform_hash: str
    core_hash: str = field(default_factory=code_hash)
    run_bars: RunBars = field(default_factory=RunBars)
    progress: Callable[[str, float], None] = _untold
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
            if venue.actions is not None:
                venue.actions.close()
        self._venues.clear()
        self.studies.close()
        self.db.close()
