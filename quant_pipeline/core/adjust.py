"""Corporate actions as factors on bars: how bars before a split or a dividend look in the units of a later session.

Only arithmetic on bars and dated actions is here. Where actions come from, and what trades on raw prices, is elsewhere.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.anchor import DayArray, symbol_blocks

type FloatArray = npt.NDArray[np.float64]

_PRICES = ("open", "high", "low", "close")
_NEVER = np.datetime64("NaT", "D")


@dataclass(frozen=True, slots=True, order=True)
class PriceAction:
    """What changes a share's price by itself from the open of `ex_date` on.

    `value` is new shares for one old share (`split`), or cash a share in the units before it (`dividend`).
    """

    symbol: str
    ex_date: date
    kind: Literal["dividend", "split"]
    value: float

    def __post_init__(self) -> None:
        """Refuse what no price can follow."""
        if not (np.isfinite(self.value) and self.value >= 0.0 and (self.value > 0.0 or self.kind == "dividend")):
            msg = (
                f"{self.kind} of {self.symbol} on {self.ex_date} has the value {self.value}; correct the stored action"
            )
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Ready:
    """Sessions of a symbol whose stored bars are not raw, ascending, and the ex-dates up to which they are adjusted.

    `splits` and `dividends` are one day for each of `days`; NaT: not adjusted for these.
    """

    days: DayArray
    splits: DayArray
    dividends: DayArray

    def at(self, days: DayArray) -> tuple[DayArray, DayArray]:
        """`splits` and `dividends` for each of `days`; NaT for a session that is raw."""
        place = np.minimum(np.searchsorted(self.days, days), len(self.days) - 1)
        known = self.days[place] == days
        return np.where(known, self.splits[place], _NEVER), np.where(known, self.dividends[place], _NEVER)


@dataclass(frozen=True, slots=True)
class Adjustment:
    """All actions of some symbols, and by symbol which of its bars are not raw."""

    actions: tuple[PriceAction, ...] = ()
    ready: Mapping[str, Ready] = field(default_factory=dict)

    def of(self, symbol: str) -> tuple[PriceAction, ...]:
        """The actions of a symbol by date."""
        return tuple(sorted(action for action in self.actions if action.symbol == symbol))


@dataclass(frozen=True, slots=True)
class View:
    """Bars in the units in which each of `sessions` saw them: no action falls between two of these sessions."""

    bars: pd.DataFrame
    sessions: tuple[date, ...]


@dataclass(frozen=True, slots=True)
class SymbolBars:
    """One symbol's bars as arrays, oldest first: session, close, and through which day each is adjusted already."""

    days: DayArray
    close: FloatArray
    splits_through: DayArray
    dividends_through: DayArray

    @classmethod
    def of(cls, symbol: str, days: DayArray, close: FloatArray, adjustment: Adjustment) -> SymbolBars:
        """The arrays of a symbol; `days` and `close` are its rows of a bar frame."""
        ready = adjustment.ready.get(symbol)
        never = np.full(days.shape, _NEVER)
        splits, dividends = (never, never) if ready is None or not len(ready.days) else ready.at(days)
        return cls(days, close, splits, dividends)


def factors(bars: SymbolBars, actions: Sequence[PriceAction], basis: date) -> tuple[FloatArray, FloatArray]:
    """What prices and volumes of each bar are multiplied with to be in the units of session `basis`.

    Only actions with an ex-date up to `basis` count, each for the bars before it. A bar's factors are multiplied from
    its newest action to its oldest, so they are the same bytes whichever other bars and later actions are there.
    """
    price, volume = np.ones(bars.days.shape), np.ones(bars.days.shape)
    for action in sorted(actions, reverse=True):
        ex_date = np.datetime64(action.ex_date)
        before = bars.days < ex_date
        if action.ex_date > basis or not before.any():
            continue
        if action.kind == "split":
            raw = before & ~(bars.splits_through >= ex_date)
            price[raw] /= action.value
            volume[raw] *= action.value
        else:
            raw = before & ~(bars.dividends_through >= ex_date)
            price[raw] *= _dividend_factor(bars, actions, action, int(np.flatnonzero(before)[-1]))
    return price, volume


def _dividend_factor(bars: SymbolBars, actions: Sequence[PriceAction], action: PriceAction, last: int) -> float:
    """1 - amount / the close before, both in the units of that bar; 1 where no such dividend can have been paid."""
    amount, through = action.value, bars.splits_through[last]
    for other in sorted(actions):
        later = np.datetime64(other.ex_date)
        if other.kind == "split" and other.ex_date > action.ex_date and later <= through:
            amount /= other.value
    close = float(bars.close[last])
    return 1.0 - amount / close if np.isfinite(close) and close > amount else 1.0


def adjusted(bars: pd.DataFrame, days: DayArray, adjustment: Adjustment, basis: date) -> pd.DataFrame:
    """A bar frame in the units of session `basis`; the frame itself where nothing has to be changed.

    Args:
        bars: bar frame.
        days: the session of each row.
        adjustment: actions and what is adjusted already.
        basis: bars of later sessions stay as they are.
    """
    price, volume = np.ones(len(bars)), np.ones(len(bars))
    concerned = {action.symbol for action in adjustment.actions if action.ex_date <= basis}
    for symbol, begin, end in symbol_blocks(bars):
        if symbol in concerned:
            close = bars["close"].to_numpy(dtype=np.float64)[begin:end]
            block = SymbolBars.of(symbol, days[begin:end], close, adjustment)
            price[begin:end], volume[begin:end] = factors(block, adjustment.of(symbol), basis)
    if (price == 1.0).all() and (volume == 1.0).all():
        return bars
    changed = {name: bars[name].to_numpy(dtype=np.float64) * price for name in _PRICES}
    return bars.assign(**changed, volume=bars["volume"].to_numpy(dtype=np.float64) * volume)


def views(bars: pd.DataFrame, days: DayArray, sessions: Sequence[date], adjustment: Adjustment) -> tuple[View, ...]:
    """Everything that must be computed for `sessions`, each session from bars in its own units.

    A session is in exactly one view of each symbol. Without an action inside the sessions there is one view for all;
    a symbol with an action has one view up to the session before it and another one from its ex-date on.
    """
    wanted = sorted(set(sessions))
    if not wanted:
        return ()
    found: list[View] = []
    for breaks, symbols in _by_breaks(bars, wanted, adjustment).items():
        chosen = np.ones(len(bars), bool) if symbols is None else bars["symbol"].isin(symbols).to_numpy()
        for part in _parts(wanted, breaks):
            rows = chosen & (days <= np.datetime64(part[-1]))
            cut = bars if rows.all() else bars[rows].reset_index(drop=True)
            found.append(View(adjusted(cut, days[rows], adjustment, part[-1]), part))
    return tuple(found)


def _by_breaks(
    bars: pd.DataFrame, wanted: Sequence[date], adjustment: Adjustment
) -> dict[tuple[date, ...], set[str] | None]:
    """Symbols by the ex-dates at which their sessions fall apart; None: every symbol of the frame."""
    inside: dict[str, set[date]] = {}
    for action in adjustment.actions:
        if wanted[0] < action.ex_date <= wanted[-1]:
            inside.setdefault(action.symbol, set()).add(action.ex_date)
    if not inside:
        return {(): None}
    groups: dict[tuple[date, ...], set[str] | None] = {}
    for symbol in bars["symbol"].unique():
        group = groups.setdefault(tuple(sorted(inside.get(str(symbol), ()))), set())
        if group is not None:
            group.add(str(symbol))
    return groups


def _parts(wanted: Sequence[date], breaks: Iterable[date]) -> list[tuple[date, ...]]:
    """The sessions cut before each break; no part is empty."""
    edges = sorted({0, len(wanted), *(bisect_left(wanted, day) for day in breaks)})
    return [tuple(wanted[begin:end]) for begin, end in pairwise(edges)]
