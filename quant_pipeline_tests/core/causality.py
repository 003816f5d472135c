"""The look-ahead checker: what stood at a bar must not change with bars that come later."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

type Compute = Callable[[pd.DataFrame], pd.DataFrame]


class LookAheadError(AssertionError):
    """A value changed although only later bars did."""


def check_no_look_ahead(compute: Compute, bars: pd.DataFrame, *, cuts: int = 12, seed: int = 7) -> None:
    """Cut the future off and change it, at several times, and compare everything up to there byte by byte.

    `compute` maps bars to a frame with `symbol`, `ts` and values.

    Raises:
        LookAheadError: naming the column, the bar and what was done to the future.
    """
    rng = np.random.default_rng(seed)
    whole = compute(bars)
    times = np.sort(bars["ts"].unique())
    for cut in times[rng.choice(times.size - 1, size=min(cuts, times.size - 1), replace=False)]:
        past = bars["ts"] <= cut
        _compare(whole, compute(bars[past].reset_index(drop=True)), cut, "cut off")
        _compare(whole, compute(_perturbed(bars, ~past, rng)), cut, "changed")
        _compare(whole, compute(_flattened(bars, ~past)), cut, "flattened")


def _perturbed(bars: pd.DataFrame, later: pd.Series, rng: np.random.Generator) -> pd.DataFrame:
    factor = np.where(later, rng.uniform(0.5, 1.5, len(bars)), 1.0)
    prices = {name: bars[name] * factor for name in ("open", "high", "low", "close")}
    volume = bars["volume"] * np.where(later, rng.uniform(0.0, 3.0, len(bars)), 1.0)
    return bars.assign(**prices, volume=volume)


def _flattened(bars: pd.DataFrame, later: pd.Series) -> pd.DataFrame:
    """Bars without a range and without volume: libraries branch on such a bar anywhere in a series."""
    prices = {name: bars[name].where(~later, 100.0) for name in ("open", "high", "low", "close")}
    return bars.assign(**prices, volume=bars["volume"].where(~later, 0.0))


def _compare(whole: pd.DataFrame, other: pd.DataFrame, cut: np.datetime64, what: str) -> None:
    expected = whole[whole["ts"] <= cut].reset_index(drop=True)
    found = other[other["ts"] <= cut].reset_index(drop=True)
    if len(expected) != len(found):
        msg = f"{len(expected)} rows up to {cut}, but {len(found)} with the later bars {what}"
        raise LookAheadError(msg)
    for name in expected.columns.difference(["symbol", "ts", "session", "status"]):
        a, b = (frame[name].to_numpy(dtype=np.float64) for frame in (expected, found))
        differs = np.flatnonzero(a.view(np.int64) != b.view(np.int64))
        if differs.size:
            row = int(differs[-1])
            bar = f"{expected['symbol'][row]} {expected['ts'][row]}"
            msg = f"{name} at {bar} was {a[row]!r} and is {b[row]!r} with the bars after {cut} {what}"
            raise LookAheadError(msg)
