"""The interface of a strategy. The strategies themselves are one module each; which of them exist says the registry."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.indicators.registry import INDICATORS

type FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Strategy:
    """A named rule from one row of indicators to a vote; a changed rule is a new version.

    `vote` takes an indicator frame (`compute_indicators`; symbol, ts, session and the columns) and returns one float
    per row: -1 (sell) to +1 (buy), NaN to abstain. It holds no state and reads nothing but the row itself, with one
    exception: a `cross_symbol` strategy may read other symbols' rows of the same `ts`, and then adding a symbol can
    change the votes of another. Memory of earlier bars belongs into an indicator column, where the anchor applies.
    """

    name: str
    version: int
    required_columns: tuple[str, ...]
    vote: Callable[[pd.DataFrame], FloatArray]
    cross_symbol: bool = False

    @property
    def warmup(self) -> int:
        """Bars before the month that the indicators behind `required_columns` take part with."""
        used = (item.warmup for item in INDICATORS if set(item.columns) & set(self.required_columns))
        return max(used, default=0)


def column(frame: pd.DataFrame, name: str) -> FloatArray:
    """A column of an indicator frame as float64."""
    return frame[name].to_numpy(dtype=np.float64)
