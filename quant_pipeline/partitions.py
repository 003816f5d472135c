"""Partition definitions: sessions (daily, UTC) and months served, and the mappings between them. Nothing else slices time.

Session keys are UTC dates. NYSE sessions are daily partitions without weekends and frozen holidays, never a cron of
`1-5`, whose Friday would end on Monday. `end_offset=1` makes the session in progress a partition; because of how the
offset behaves around excluded days, schedules always name their key (`steps.timing.tick_session`).
"""

from __future__ import annotations

from datetime import UTC, datetime

import dagster as dg

from quant_pipeline.markets import nyse
from quant_pipeline.settings import MarketSettings

_WEEKENDS = "0 0 * * 0,6"

MODEL_FOR_SESSION = dg.TimeWindowPartitionMapping()
"""A session uses the model of the month that contains it; that model was trained on earlier sessions only."""

TRAINING_WINDOW = dg.TimeWindowPartitionMapping(start_offset=-24, end_offset=-1)
"""A month's model may depend on the 24 months before it, never on its own days. The exact window is in its metadata."""


def session_partitions(market: MarketSettings) -> dg.DailyPartitionsDefinition:
    """The sessions of a market from its `history_start` to the session in progress."""
    exclusions: list[str | datetime] = []
    if market.market.calendar == "nyse":
        first = market.history_start.isoformat()
        holidays = [datetime.fromisoformat(day).replace(tzinfo=UTC) for day in nyse.HOLIDAYS if day >= first]
        exclusions = [_WEEKENDS, *holidays]
    return dg.DailyPartitionsDefinition(
        start_date=market.history_start.isoformat(), end_offset=1, exclusions=exclusions or None
    )


def month_partitions(market: MarketSettings) -> dg.MonthlyPartitionsDefinition:
    """The months served by models, from the month of `history_start` to the month in progress."""
    return dg.MonthlyPartitionsDefinition(start_date=market.history_start.replace(day=1).isoformat(), end_offset=1)
