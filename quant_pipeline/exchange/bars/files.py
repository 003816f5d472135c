"""Real bars from files, a folder `<symbol>/<interval>.parquet` (.csv, .csv.gz) in bar-frame form. Nothing is made up.

The finest file that covers a time is what orders are matched against; coarser bars come from their own file where
there is one, else they are aggregates of finer ones.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.exchange.bars.columns import BarColumns, Ints, empty_columns
from quant_pipeline.exchange.bars.sessions import INTERVAL_SECONDS, bar_bounds, rebucket
from quant_pipeline.markets.market import Market

_ENDINGS = (".parquet", ".csv", ".csv.gz")


class FileBars:
    """A `BarSource` over files; all are read at once, so that a bad one is found before anything is served."""

    def __init__(self, market: Market, folder: Path) -> None:
        """Offer the symbols that have a folder with at least one bar file in `folder`.

        Raises:
            ValueError: there is none, or a file is not as it should be.
        """
        self._market = market
        self._native = {
            inner.name: {seconds: _read(market, path, seconds) for seconds, path in files.items()}
            for inner in sorted(folder.iterdir())
            if inner.is_dir() and (files := _bar_files(inner))
        }
        if not self._native:
            names = ", ".join(INTERVAL_SECONDS)
            msg = f"{folder} holds no bars; expected <symbol>/<interval>.parquet (or .csv) with an interval of {names}"
            raise ValueError(msg)
        self._finest = {symbol: _finest(bars) for symbol, bars in self._native.items()}
        self._aggregates: dict[tuple[str, int], BarColumns] = {}

    @property
    def market(self) -> Market:
        """The market whose symbols these are."""
        return self._market

    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        return tuple(self._native)

    def begins(self, symbol: str) -> int:
        """The opening time of the first bar (epoch seconds)."""
        return int(self._finest[symbol].opens[0])

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        """Complete bars of `seconds` (86400: sessions) stamped in [start, end), epoch seconds.

        Raises:
            KeyError: there is no file for the symbol.
        """
        bars = self._native[symbol].get(seconds)
        return (self._aggregate(symbol, seconds) if bars is None else bars).between(start, end)

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        """The finest bars that open in [start, end).

        Raises:
            KeyError: there is no file for the symbol.
        """
        finest = self._finest[symbol]
        first, last = np.searchsorted(finest.opens, (start, end))
        return finest.part(int(first), int(last))

    def _aggregate(self, symbol: str, seconds: int) -> BarColumns:
        """Bars for which there is no file, of all finer ones; made once."""
        if (symbol, seconds) not in self._aggregates:
            self._aggregates[symbol, seconds] = rebucket(self._market, self._finest[symbol], seconds)
        return self._aggregates[symbol, seconds]


def _finest(native: dict[int, BarColumns]) -> BarColumns:
    """All intervals laid over one another: a coarse bar gives way where finer ones lie inside it."""
    merged = empty_columns()
    for _, finer in sorted(native.items(), reverse=True):
        merged = _overlay(merged, finer)
    return merged


def _bar_files(folder: Path) -> dict[int, Path]:
    """The bar files of one symbol by interval, in seconds."""
    named = {(name, folder / f"{name}{ending}") for name in INTERVAL_SECONDS for ending in _ENDINGS}
    return {INTERVAL_SECONDS[name]: path for name, path in sorted(named) if path.is_file()}


def _overlay(coarse: BarColumns, fine: BarColumns) -> BarColumns:
    """`fine` plus the `coarse` bars in whose time no fine bar opens, in time order."""
    if not len(coarse):
        return fine
    inside = np.searchsorted(fine.opens, coarse.closes) - np.searchsorted(fine.opens, coarse.opens)
    kept = coarse.take(inside == 0)
    both = BarColumns(*(np.concatenate((getattr(kept, f), getattr(fine, f))) for f in BarColumns.__slots__))
    return both.take(np.argsort(both.opens, kind="stable"))


def _read(market: Market, path: Path, seconds: int) -> BarColumns:
    """One file as columns.

    Raises:
        ValueError: columns or rows are missing, a price is not a positive number, or two bars have one time.
    """
    frame = pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    needed = BAR_COLUMNS[1:]
    missing = [name for name in needed if name not in frame.columns]
    if missing:
        msg = f"{path} lacks the columns {', '.join(missing)}; a bar file has {', '.join(needed)}"
        raise ValueError(msg)
    stamps = pd.DatetimeIndex(pd.to_datetime(frame["ts"], utc=True)).tz_localize(None)
    ts: Ints = stamps.to_numpy().astype("datetime64[s]").astype(np.int64)
    order = np.argsort(ts, kind="stable")
    ts = ts[order]
    o, h, low, c, v = (frame[name].to_numpy(np.float64)[order] for name in needed[1:])
    if not (np.diff(ts) > 0).all() or not (np.isfinite(o + h + low + c) & (low > 0)).all():
        msg = f"{path} holds two bars of one time, or prices that are not positive numbers; import it again"
        raise ValueError(msg)
    opens, closes = bar_bounds(market, ts, seconds)
    value = (o + h + low + c) * 0.25 * v
    bars = BarColumns(ts, opens, closes, o, h, low, c, v, value).take(closes > opens)
    if not len(bars):
        msg = f"{path} holds no bar of a session of {market.name}; import it again"
        raise ValueError(msg)
    return bars
