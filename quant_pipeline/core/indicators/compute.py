"""Indicators of requested sessions, computed from the anchor of each month.

Here belongs how windows and formulas meet. What an indicator is belongs to the registry.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.anchor import History, month_windows, session_days
from quant_pipeline.core.indicators.registry import INDICATORS, Bars, Computed, Indicator
from quant_pipeline.core.segments import SEAM, BoolArray, FloatArray, within_segments
from quant_pipeline.core.values import BAR_COLUMNS


def max_warmup(indicators: Sequence[Indicator] = INDICATORS) -> int:
    """Bars before the month that the longest of `indicators` takes part with."""
    return max((indicator.warmup for indicator in indicators), default=0)


def indicator_columns(indicators: Sequence[Indicator] = INDICATORS) -> tuple[str, ...]:
    """The value columns that `compute_indicators` gives, in order.

    Raises:
        ValueError: two indicators give the same column.
    """
    columns = tuple(column for indicator in indicators for column in indicator.columns)
    twice = sorted({column for column in columns if columns.count(column) > 1})
    if twice:
        msg = f"indicator columns {', '.join(twice)} are given twice; choose other names"
        raise ValueError(msg)
    return columns


def compute_indicators(
    bars: pd.DataFrame,
    sessions: Sequence[date],
    session_of: Sequence[date] | npt.NDArray[Any] | pd.Series | None = None,
    *,
    indicators: Sequence[Indicator] = INDICATORS,
    history: History | None = None,
) -> pd.DataFrame:
    """Indicator values of every bar of the requested sessions.

    Each value is computed from the first bar of its month minus the indicator's own warm-up, so the bytes do not
    depend on which sessions are asked for together. `bars` must reach back to `history.since` for `max_warmup()`, or
    `max_warmup()` bars before the month of the first session where no history is given; earlier bars are ignored.

    Args:
        bars: bar frame of one interval; with a column `seam` (see `segments`) no value mixes volumes of two feeds.
        sessions: the sessions to give rows for.
        session_of: the session of each row of `bars`; None means the UTC date of its `ts`.
        indicators: which indicators; the whole registry by default.
        history: how far back the bars were read; give it wherever bars come from a read by date.

    Returns:
        Frame (symbol, ts, session, <columns>), sorted by (symbol, ts); `session` holds `datetime.date`, values are
        float64, NaN where there are not enough bars. No rows where there are no bars.
    """
    days = session_days(bars, session_of)
    columns = indicator_columns(indicators)
    values = {column: np.full(len(bars), np.nan) for column in columns}
    wanted = np.zeros(len(bars), dtype=bool)
    inputs = {name: bars[name].to_numpy(dtype=np.float64) for name in BAR_COLUMNS[2:]}
    seams = bars[SEAM].to_numpy(dtype=bool) if SEAM in bars.columns else None
    for indicator in indicators:
        for window in month_windows(bars, days, sessions, indicator.warmup, history):
            part = {name: array[window.start : window.stop] for name, array in inputs.items()}
            computed = _computed(indicator, part, None if seams is None else seams[window.start : window.stop])
            for column in indicator.columns:
                values[column][window.keep] = computed[column][window.keep - window.start]
            wanted[window.keep] = True
    rows = np.flatnonzero(wanted)
    return keyed_frame(bars, days, rows, {column: array[rows] for column, array in values.items()})


def _computed(indicator: Indicator, bars: Bars, seams: BoolArray | None) -> Computed:
    def compute(volume: FloatArray) -> Computed:
        return indicator.compute({**bars, "volume": volume})

    return within_segments(bars["volume"], seams, compute)


def keyed_frame(
    bars: pd.DataFrame, days: npt.NDArray[np.datetime64], rows: npt.NDArray[np.intp], values: dict[str, Any]
) -> pd.DataFrame:
    """Frame (symbol, ts, session, <values>) for the given rows of a bar frame; `values` are already cut to them."""
    keys = {
        "symbol": bars["symbol"].to_numpy(dtype=object)[rows],
        "ts": bars["ts"].iloc[rows].array,
        "session": days[rows].astype(object),
    }
    return pd.DataFrame(keys | values)
