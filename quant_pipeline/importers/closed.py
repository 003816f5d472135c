"""Leaving out bars that had not closed when the file was imported: a downloaded last row is often still forming."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.grid import INTERVALS, nanoseconds_of
from quant_pipeline.importers.subset import subset
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.calendar import last_closed_session
from quant_pipeline.markets.market import get_market


def only_closed(parsed: ParsedFile, at: datetime) -> ParsedFile:
    """The file without bars that end after `at` (aware).

    Raises:
        ImportRefused: no bar had closed.
    """
    closed = _closed(parsed, at)
    if not closed.any():
        raise ImportRefused(
            parsed.path,
            f"no bar of the file had closed at {at.isoformat()}, the first begins at {parsed.first.isoformat()}",
            remedy="Check the time zone of the file and this machine's clock.",
        )
    return subset(parsed, closed)


def _closed(parsed: ParsedFile, at: datetime) -> npt.NDArray[np.bool_]:
    calendar = get_market(parsed.market).calendar
    ts = pd.DatetimeIndex(parsed.frame["ts"])
    if parsed.interval == "1d" and calendar == "nyse":
        # A stock's daily bar closes with its session, not 24 hours after midnight.
        return np.asarray(ts < pd.Timestamp(last_closed_session(calendar, at), tz="UTC") + pd.Timedelta(days=1))
    ends = nanoseconds_of(ts) + INTERVALS[parsed.interval]
    return np.asarray(ends <= pd.Timestamp(at).value)
