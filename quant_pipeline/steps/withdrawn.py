"""Bars that a venue gave once and gives no more: deleting those that it has withdrawn, reporting those in doubt.

Which absence is certain is decided by `core.absent`; asking the venue belongs to `collect.py`. A repair only adds bars.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import pandas as pd

from quant_pipeline.core.absent import Doubt, absent_bars, confirmed
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.storage.bars import delete_bars, read_bars

ADJUSTMENT = "raw"
"""How bars are asked for."""


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """How many bars were deleted, and a sentence about each group of bars that is absent and was kept."""

    deleted: int
    doubts: tuple[str, ...]


def given_before(
    desk: Desk, market: MarketSettings, interval: str, symbols: Sequence[str], start: datetime, stop: datetime
) -> pd.DataFrame:
    """The stored bars of [start, stop) that the venue itself gave, of the feed that is asked now.

    It is to be read before the venue is asked: what somebody else stores meanwhile may be newer than the answer. Bars
    of a file or of another feed are not this answer's to withdraw.
    """
    stored = read_bars(desk.db, market.name, interval, symbols, start, stop, with_origin=True)
    own = (
        (stored["source"] == market.market.venue)
        & (stored["feed"] == market.feed)
        & (stored["adjustment"] == ADJUSTMENT)
    )
    return stored.loc[own, ["symbol", "ts"]].reset_index(drop=True)


def withdraw(
    desk: Desk,
    market: MarketSettings,
    interval: str,
    held: pd.DataFrame,
    answer: pd.DataFrame,
    now: datetime,
    *,
    ask: Callable[[Sequence[str]], pd.DataFrame],
) -> Withdrawn:
    """Delete the bars of `held` that two complete answers about their span withdraw; they stay as revisions.

    Args:
        desk: where the bars are.
        market: whose bars.
        interval: the same.
        held: what `given_before` read.
        answer: everything that the venue gave, bars that form included.
        now: when it was asked.
        ask: asks the venue for the same span of some symbols once more; called only where bars seem withdrawn.
    """
    found = absent_bars(held, answer)
    if found.withdrawn.any():
        found = confirmed(held, found, ask(tuple(held.loc[found.withdrawn, "symbol"].unique())))
    origin = (market.market.venue, market.feed, ADJUSTMENT)
    change = delete_bars(desk.db, market.name, interval, held[found.withdrawn], at=now, origin=origin)
    return Withdrawn(change.deleted, tuple(_sentence(interval, doubt) for doubt in found.doubts))


def _sentence(interval: str, doubt: Doubt) -> str:
    span = f"{doubt.first:%Y-%m-%d %H:%M}"
    if doubt.bars > 1:
        span += f" to {doubt.last:%Y-%m-%d %H:%M}"
    bars = f"{doubt.bars} stored {interval} bar{'s' if doubt.bars > 1 else ''} of {doubt.symbol} ({span} UTC)"
    return f"{bars} are not in the venue's answer and were kept: {doubt.why.value}"
