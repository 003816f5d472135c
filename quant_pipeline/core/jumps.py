"""Moves between two sessions that look like a split nobody told of. Gaps, outliers and other doubts are not here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from math import isfinite, log

import numpy as np
import pandas as pd

from quant_pipeline.core.adjust import Adjustment, SymbolBars, factors
from quant_pipeline.core.anchor import DayArray, symbol_blocks

SPLIT_RATIOS = (1.5, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 12.0, 15.0, 20.0, 25.0, 30.0, 40.0, 50.0, 100.0)
"""New shares for one old share, as companies choose them; a reverse split is the inverse of one."""
TOLERANCE = 0.05
"""How far (in log price) the night may carry a price from its split ratio."""
ALWAYS_FROM = 4.0
"""A night that moves a price by this factor or more is taken for a split whatever the ratio."""
LONGEST_NIGHT = np.timedelta64(14, "D")
"""Bars further apart say nothing about a split: what lies in between is another check's business."""
_LEAST = log(SPLIT_RATIOS[0]) - TOLERANCE


@dataclass(frozen=True, slots=True)
class Jump:
    """A price that fell or rose overnight like in a split of `ratio` new shares for one old share."""

    symbol: str
    session: date
    before: float
    after: float
    ratio: float

    def sentence(self) -> str:
        """What happened, and what mends it."""
        return (
            f"{self.symbol} went from {self.before:g} to {self.after:g} overnight to {self.session}, like a split of "
            f"{self.ratio:g} for 1, and no corporate action says so; import the action or the corrected bars"
        )


def unexplained_jump(before: float, after: float, explained: float = 1.0) -> float | None:
    """The split ratio (new shares for one old) that a move looks like, or None where it looks like none.

    Args:
        before: the last price of the session before, in its own units.
        after: the first price of the session.
        explained: what known actions make of a price overnight (0.25 for a split of 4 for 1).
    """
    if not (isfinite(before) and isfinite(after) and before > 0.0 and after > 0.0 and explained > 0.0):
        return None
    size = log(before * explained / after)
    if abs(size) < _LEAST:
        return None
    nearest = min(SPLIT_RATIOS, key=lambda ratio: abs(log(ratio) - abs(size)))
    if abs(log(nearest) - abs(size)) > TOLERANCE and abs(size) < log(ALWAYS_FROM):
        return None
    return nearest if size > 0 else 1.0 / nearest


def unexplained_jumps(bars: pd.DataFrame, days: DayArray, adjustment: Adjustment) -> tuple[Jump, ...]:
    """Every such move between neighbouring sessions of a bar frame; `days` is the session of each row."""
    return tuple(jump for part in symbol_blocks(bars) for jump in _of_symbol(bars, days, adjustment, part))


def _of_symbol(
    bars: pd.DataFrame, days: DayArray, adjustment: Adjustment, part: tuple[str, int, int]
) -> Iterator[Jump]:
    symbol, begin, end = part
    own, actions = days[begin:end], adjustment.of(symbol)
    opened, close = (bars[name].to_numpy(dtype=np.float64)[begin:end] for name in ("open", "close"))
    first = np.flatnonzero(own[1:] > own[:-1]) + 1
    first = first[own[first] - own[first - 1] <= LONGEST_NIGHT]
    with np.errstate(divide="ignore", invalid="ignore"):
        moved = np.abs(np.log(opened[first] / close[first - 1])) >= _LEAST
    moved |= np.isin(own[first], np.array([a.ex_date for a in actions], "datetime64[D]"))
    if not moved.any():
        return
    block = SymbolBars.of(symbol, own, close, adjustment)
    for at in first[moved].tolist():
        session = own[at].astype(object)
        night = SymbolBars(*(getattr(block, name)[at - 1 : at + 1] for name in SymbolBars.__slots__))
        explained = float(factors(night, actions, session)[0][0])
        ratio = unexplained_jump(float(close[at - 1]), float(opened[at]), explained)
        if ratio is not None:
            yield Jump(symbol, session, float(close[at - 1]), float(opened[at]), ratio)
