"""Reading bars at the decision interval: minutes made into hours where there are minutes, imported hours elsewhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal

import numpy as np
import pandas as pd

from quant_pipeline.core.bars import resample, validate_bars
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import bar_closes, session_column, session_span
from quant_pipeline.storage.bars import last_bars, read_bars

_LOOK_BACK = 5
"""Bars among which a sound one is looked for when the last one is bad."""


@dataclass(frozen=True, slots=True)
class LastClose:
    """The close of a bar that starts at `starts` (UTC), in quote currency."""

    starts: datetime
    price: Decimal


def decision_bars(
    desk: Desk,
    market: MarketSettings,
    first: date,
    last: date,
    *,
    closed_by: datetime,
    symbols: Sequence[str] | None = None,
    as_of: datetime | None = None,
    run_id: str = "",
) -> pd.DataFrame:
    """Closed bars of the market's decision interval for the sessions from `first` to `last`.

    For each (symbol, session) the stored base bars win when there are any; otherwise bars imported or collected at
    the decision interval are used. A bar counts as closed when its closing time is at or before `closed_by`.
    With `run_id` the steps of one run share one read, and so all see the bars as they were then. With `as_of` they are
    what would have been read at that time: later bars, corrections and withdrawals are undone before hours are built.

    Returns:
        A bar frame.
    """
    wanted = tuple(market.symbols if symbols is None else symbols)
    start, end = session_span(first, last)
    if run_id and as_of is None:
        bars = desk.run_bars.get(
            (run_id, market.name, wanted), start, end, lambda: _read(desk, market, wanted, start, end, None)
        )
    else:
        bars = _read(desk, market, wanted, start, end, as_of)
    closes = bar_closes(market, bars["ts"], market.decision_interval)
    limit = np.datetime64(closed_by.replace(tzinfo=None), "ns")
    return bars[closes <= limit].reset_index(drop=True)


def _read(
    desk: Desk,
    market: MarketSettings,
    wanted: Sequence[str],
    start: datetime,
    end: datetime,
    as_of: datetime | None,
) -> pd.DataFrame:
    interval = market.decision_interval
    direct = read_bars(desk.db, market.name, interval, wanted, start, end, as_of=as_of)
    bars = direct
    if market.base_interval != interval:
        base = read_bars(desk.db, market.name, market.base_interval, wanted, start, end, as_of=as_of)
        bars = _prefer_base(base, direct, market)
    return bars


def _prefer_base(base: pd.DataFrame, direct: pd.DataFrame, market: MarketSettings) -> pd.DataFrame:
    if base.empty:
        return direct
    built = resample(base, market.base_interval, market.decision_interval)
    if direct.empty:
        return built
    covered = pd.MultiIndex.from_arrays([base["symbol"], session_column(base["ts"])]).unique()
    keys = pd.MultiIndex.from_arrays([direct["symbol"], session_column(direct["ts"])])
    rest = direct[~keys.isin(covered)]
    if rest.empty:
        return built
    merged = pd.concat([built, rest], ignore_index=True)
    return merged.sort_values(["symbol", "ts"], kind="stable", ignore_index=True)


def last_closes(
    desk: Desk, market: MarketSettings, symbols: Sequence[str], before: datetime, *, as_of: datetime | None = None
) -> dict[str, LastClose]:
    """The close of each symbol's last sound bar that starts before `before`; a symbol without one is left out.

    Prices are raw: of the units in which the bar traded. With `as_of` bars count as they were known then.
    """
    last: dict[str, LastClose] = {}
    for interval in dict.fromkeys((market.decision_interval, market.base_interval)):
        bars = last_bars(desk.db, market.name, interval, symbols, _LOOK_BACK, before, as_of=as_of)
        broken = {(violation.symbol, violation.ts) for violation in validate_bars(bars)}
        for symbol, ts, close in zip(bars["symbol"].astype(str), bars["ts"], bars["close"].astype(float), strict=True):
            if (symbol, ts) not in broken and (symbol not in last or ts > last[symbol].starts):
                last[symbol] = LastClose(ts.to_pydatetime(), Decimal(repr(close)))
    return last
