"""Bars that are stored and that a venue's answer does not contain: which of them it has withdrawn for certain.

An answer may end early, begin late or be empty for reasons that have nothing to do with a bar. What it says for certain
lies between its first and its last bar of a symbol. Where bars come from and what is done about it belongs to the steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.anchor import symbol_blocks

type Times = npt.NDArray[np.datetime64]
type BoolArray = npt.NDArray[np.bool_]

MOST = 3
"""Bars of a symbol that one answer can withdraw: venues take single bars back, while a page that is lost lacks many."""


class Why(StrEnum):
    """Why bars that an answer does not contain are not taken for withdrawn; the value says it in words."""

    EMPTY = "the answer holds no bar of the symbol"
    EDGE = "the answer begins after them or ends before them"
    MANY = "the answer lacks too many bars between others to be believed"
    UNCONFIRMED = "a second answer, right after the first, does not say the same"


@dataclass(frozen=True, slots=True)
class Doubt:
    """Stored bars of one symbol that an answer does not contain and that stay, by the reason for it."""

    symbol: str
    why: Why
    bars: int
    first: pd.Timestamp
    last: pd.Timestamp


@dataclass(frozen=True, slots=True)
class Absent:
    """Which rows of the stored bars were withdrawn, and what is absent and stays."""

    withdrawn: BoolArray
    doubts: tuple[Doubt, ...]


def absent_bars(held: pd.DataFrame, answer: pd.DataFrame) -> Absent:
    """Compare stored bars with a whole answer about their span.

    Args:
        held: bars with `symbol` and `ts`, sorted by both, that the venue gave before.
        answer: the same columns of what it gives now, sorted too; more symbols and bars that form do no harm.
    """
    times = {symbol: _times(answer, begin, end) for symbol, begin, end in symbol_blocks(answer)}
    withdrawn = np.zeros(len(held), np.bool_)
    doubts: list[Doubt] = []
    for symbol, begin, end in symbol_blocks(held):
        known = _times(held, begin, end)
        given = times.get(symbol, known[:0])
        missing = ~np.isin(known, given)
        inside = missing & _between(known, given)
        believed = int(inside.sum()) <= min(MOST, len(given))
        if believed:
            withdrawn[begin:end] = inside
        outside = Why.EDGE if len(given) else Why.EMPTY
        for why, doubtful in ((outside, missing & ~inside), (Why.MANY, inside & (not believed))):
            doubts += _doubt(symbol, why, known[doubtful])
    return Absent(withdrawn, tuple(doubts))


def confirmed(held: pd.DataFrame, first: Absent, answer: pd.DataFrame) -> Absent:
    """What two answers about the same bars withdraw both; what only the first one lacks is in doubt.

    Args:
        held: as for `absent_bars`.
        first: what that found in the first answer.
        answer: the second one, of the symbols of which the first withdraws bars.
    """
    again = absent_bars(held, answer)
    unsure = held[first.withdrawn & ~again.withdrawn]
    doubts = [
        doubt
        for symbol, begin, end in symbol_blocks(unsure)
        for doubt in _doubt(symbol, Why.UNCONFIRMED, _times(unsure, begin, end))
    ]
    return Absent(first.withdrawn & again.withdrawn, (*first.doubts, *doubts))


def _times(frame: pd.DataFrame, begin: int, end: int) -> Times:
    found: Times = frame["ts"].iloc[begin:end].to_numpy(dtype="datetime64[ns]")
    return found


def _between(known: Times, given: Times) -> BoolArray:
    if not len(given):
        return np.zeros(len(known), np.bool_)
    inside: BoolArray = (known > given[0]) & (known < given[-1])
    return inside


def _doubt(symbol: str, why: Why, times: Times) -> list[Doubt]:
    if not len(times):
        return []
    first, last = (pd.Timestamp(at, tz="UTC") for at in (times[0], times[-1]))
    return [Doubt(symbol, why, len(times), first, last)]
