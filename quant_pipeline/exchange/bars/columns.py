"""Bars as plain NumPy columns and how they are cut, joined and aggregated. No prices are made here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.values import BAR_COLUMNS

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class BarColumns:
    """Bars of one symbol in time order; all arrays have one length.

    `ts` is the stamp a venue gives the bar, `opens` and `closes` bound the time in which it traded (all UTC epoch
    seconds; `ts` and `opens` differ for daily stock bars, stamped midnight New York). `value` is turnover in quote
    currency.
    """

    ts: Ints
    opens: Ints
    closes: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    value: Floats

    def __len__(self) -> int:
        """The number of bars."""
        return len(self.ts)

    def part(self, start: int, stop: int) -> BarColumns:
        """The bars at positions [start, stop)."""
        return self.take(slice(start, stop))

    def take(self, chosen: slice | Ints | npt.NDArray[np.bool_]) -> BarColumns:
        """The bars that a slice, positions or a mask choose."""
        return BarColumns(
            self.ts[chosen],
            self.opens[chosen],
            self.closes[chosen],
            self.open[chosen],
            self.high[chosen],
            self.low[chosen],
            self.close[chosen],
            self.volume[chosen],
            self.value[chosen],
        )

    def between(self, start: int, end: int) -> BarColumns:
        """The bars stamped in [start, end)."""
        first, last = np.searchsorted(self.ts, (start, end))
        return self.part(int(first), int(last))


def empty_columns() -> BarColumns:
    """No bars."""
    ints, floats = np.empty(0, np.int64), np.empty(0, np.float64)
    return BarColumns(ints, ints, ints, floats, floats, floats, floats, floats, floats)


def join(parts: Sequence[BarColumns]) -> BarColumns:
    """The parts one after the other; they must be in time order and not overlap."""
    kept = [part for part in parts if len(part)]
    if not kept:
        return empty_columns()
    if len(kept) == 1:
        return kept[0]
    return BarColumns(
        np.concatenate([p.ts for p in kept]),
        np.concatenate([p.opens for p in kept]),
        np.concatenate([p.closes for p in kept]),
        np.concatenate([p.open for p in kept]),
        np.concatenate([p.high for p in kept]),
        np.concatenate([p.low for p in kept]),
        np.concatenate([p.close for p in kept]),
        np.concatenate([p.volume for p in kept]),
        np.concatenate([p.value for p in kept]),
    )


def aggregate(bars: BarColumns, ts: Ints, opens: Ints, closes: Ints) -> BarColumns:
    """Bars of the buckets to which `ts` assigns each row (the bucket's stamp; `opens`, `closes` its bounds, per row).

    Rows of one bucket must be neighbours. First open, highest high, lowest low, last close, sums of volume and value.
    """
    if not len(bars):
        return bars
    first = np.concatenate(([0], np.flatnonzero(np.diff(ts)) + 1))
    last = np.concatenate((first[1:], [len(ts)])) - 1
    return BarColumns(
        ts[first],
        opens[first],
        closes[first],
        bars.open[first],
        np.maximum.reduceat(bars.high, first),
        np.minimum.reduceat(bars.low, first),
        bars.close[last],
        np.add.reduceat(bars.volume, first),
        np.add.reduceat(bars.value, first),
    )


def to_frame(bars: dict[str, BarColumns]) -> pd.DataFrame:
    """A bar frame (`core.values.BAR_COLUMNS`, sorted by symbol and `ts`) of the bars of several symbols."""
    symbols = sorted(bars)
    parts = [bars[symbol] for symbol in symbols]
    joined_ts = np.concatenate([p.ts for p in parts]) if parts else np.empty(0, np.int64)
    return pd.DataFrame(
        {
            "symbol": np.repeat(np.array(symbols, dtype=object), [len(p) for p in parts]),
            "ts": pd.DatetimeIndex(joined_ts.astype("datetime64[s]").astype("datetime64[ns]"), tz="UTC"),
            **{
                name: np.concatenate([getattr(p, name) for p in parts]) if parts else np.empty(0)
                for name in BAR_COLUMNS[2:]
            },
        }
    )
