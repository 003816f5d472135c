"""Whose bars the rows of a ticker are: leaving out those of an earlier company that had the same ticker."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.grid import zone_of
from quant_pipeline.importers.subset import subset
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.calendar import CalendarName
from quant_pipeline.markets.market import get_market
from quant_pipeline.storage.ticker_spans import TickerSpan

Spans = Mapping[str, Sequence[TickerSpan]]

_BY_TICKER = frozenset({"lean"})
"""Sources whose files hold whatever traded under a ticker; others hold the history of the company that has it now."""


@dataclass(frozen=True, slots=True)
class LeftOut:
    """Bars of a file that were not stored: whose, how many, from when to when (bar starts, UTC), and why."""

    symbol: str
    rows: int
    first: datetime
    last: datetime
    reason: str


def own_bars(parsed: ParsedFile, spans: Spans) -> tuple[ParsedFile | None, tuple[LeftOut, ...]]:
    """The file without bars of other companies (None when nothing is left), and what was left out."""
    sources = parsed.source if parsed.origins is None else parsed.origins["source"]
    kept = are_own(parsed.frame.assign(source=sources), spans, get_market(parsed.market).calendar)
    if kept.all():
        return parsed, ()
    left = parsed.frame.loc[~kept]
    out = tuple(
        LeftOut(str(symbol), len(bars), bars["ts"].min().to_pydatetime(), bars["ts"].max().to_pydatetime(), _why(known))
        for symbol, bars in left.groupby("symbol", sort=True)
        if (known := spans[str(symbol)])
    )
    return (subset(parsed, kept) if kept.any() else None), out


def are_own(bars: pd.DataFrame, spans: Spans, calendar: CalendarName) -> npt.NDArray[np.bool_]:
    """Which rows (columns symbol, ts, source) belong to the company that has the symbol; all of an unknown symbol."""
    kept = np.ones(len(bars), dtype=bool)
    if bars.empty or not spans:
        return kept
    days = pd.DatetimeIndex(bars["ts"]).tz_convert(zone_of(calendar)).tz_localize(None).to_numpy(dtype="datetime64[D]")
    symbols, by_ticker = bars["symbol"].to_numpy(dtype=object), bars["source"].isin(_BY_TICKER).to_numpy()
    for symbol in set(symbols.tolist()) & set(spans):
        of_symbol, known = symbols == symbol, spans[symbol]
        under_ticker = np.zeros(len(bars), dtype=bool)
        for span in known:
            if span.ticker == symbol:
                under_ticker |= (days >= np.datetime64(span.first_day)) & (days <= np.datetime64(span.last_day))
        existed = days >= np.datetime64(known[0].first_day)
        kept &= ~of_symbol | np.where(by_ticker, under_ticker, existed)
    return kept


def first_own_day(symbol: str, spans: Sequence[TickerSpan]) -> date:
    """Since when the ticker means this company; the company's own first day when it never had the ticker."""
    return next((span.first_day for span in spans if span.ticker == symbol), spans[0].first_day)


def _why(spans: Sequence[TickerSpan]) -> str:
    symbol = spans[0].symbol
    return f"{symbol} means this company only since {first_own_day(symbol, spans)} (map file)"
