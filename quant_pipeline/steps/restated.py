"""Telling a restatement from growth: are the bars that results were made from still what they were?

A session in progress gets bars all the time, and a session's first bars are news. Only a bar that had closed when the
session was last looked at, and is other now, restates it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
import pandas as pd

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import Key, group_hashes
from quant_pipeline.steps.timing import as_dates, bar_closes, session_column, session_starts
from quant_pipeline.storage.restatements import Kind, Restated
from quant_pipeline.storage.touched import Touched
from quant_pipeline.storage.versions import Version, confirmed_times

STEP = "bars"
_NEVER = np.datetime64("1900-01-01", "us")


def find_restated(
    desk: Desk,
    market: MarketSettings,
    frame: pd.DataFrame,
    hashes: Mapping[Key, str],
    stored: Mapping[Key, Version],
    touched: Sequence[Touched],
) -> tuple[Restated, ...]:
    """What was written (`touched`) to sessions whose decision bars are other than their `stored` version knew them.

    Args:
        desk: where versions are.
        market: whose bars.
        frame: the decision bars as they are now.
        hashes: their content by (session, symbol).
        stored: the current version of each (session, symbol) that has one.
        touched: what was written since the versions were made.
    """
    written = {(row.session, row.symbol) for row in touched}
    differ = [key for key in written if key in stored and key in hashes and stored[key].content_hash != hashes[key]]
    if not differ:
        return ()
    looked = confirmed_times(desk.db, market.name, STEP, differ)
    then = group_hashes(_closed_then(market, frame, looked))
    other = {key for key in looked if then.get(key, combine_hashes()) != stored[key].content_hash}
    return tuple(
        restated
        for row in touched
        if (row.session, row.symbol) in other
        for restated in _kinds(market, row, looked[row.session, row.symbol])
    )


def _closed_then(market: MarketSettings, frame: pd.DataFrame, looked: Mapping[Key, datetime]) -> pd.DataFrame:
    """Those of the bars of these keys that had closed when their session was last looked at."""
    keys = zip(as_dates(session_column(frame["ts"])), frame["symbol"].astype(str), strict=True)
    limits = [np.datetime64(looked[key].replace(tzinfo=None), "us") if key in looked else _NEVER for key in keys]
    closes = bar_closes(market, frame["ts"], market.decision_interval)
    kept: pd.DataFrame = frame[closes <= np.array(limits, "datetime64[us]")]
    return kept


def _kinds(market: MarketSettings, row: Touched, looked: datetime) -> list[Restated]:
    """What happened to the bars of one interval. Beside a correction in a session in progress, new bars are growth."""
    counts: dict[Kind, int] = {"changed": row.changed, "deleted": row.deleted}
    if session_over(market, row, looked) or not any(counts.values()):
        counts["late"] = row.inserted
    return [
        Restated(row.session, row.symbol, row.interval, kind, bars, row.first_ts)
        for kind, bars in counts.items()
        if bars > 0
    ]


def session_over(market: MarketSettings, row: Touched, at: datetime) -> bool:
    """Whether the session of these bars had closed at `at`; a day that is no session ends with its UTC date."""
    if calendar.is_session(market.market.calendar, row.session):
        return calendar.session_hours(market.market.calendar, row.session).closes_at <= at
    return session_starts(row.session).timestamp() + 86_400 <= at.timestamp()
