"""Weekly and monthly candles from daily ones. Shorter intervals are the feed's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np

from quant_pipeline.exchange.bars.columns import BarColumns, aggregate
from quant_pipeline.exchange.bars.sessions import DAY, week_or_month


def calendar_periods(days: BarColumns, unit: str) -> BarColumns:
    """Daily bars as periods of `unit` ("week", from Monday, or "month"), stamped 00:00 UTC of the first day."""
    if not len(days):
        return days
    starts = [week_or_month(datetime.fromtimestamp(ts, UTC).date(), unit) for ts in days.ts.tolist()]
    firsts = [datetime(day.year, day.month, day.day, tzinfo=UTC) for day in starts]
    nexts = [
        first + timedelta(days=7) if unit == "week" else (first + timedelta(days=32)).replace(day=1) for first in firsts
    ]
    ts = np.array([int(first.timestamp()) for first in firsts], np.int64)
    closes = np.array([int(end.timestamp()) for end in nexts], np.int64)
    return aggregate(days, ts, ts, np.maximum(closes, ts + DAY))
