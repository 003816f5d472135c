"""From the members' predictions to an opinion: expected return, chance of rising, quantiles, confidence.

Pure arithmetic, element by element and in a fixed order, so that a row predicted alone and in a batch gives the same
bytes. Whether an opinion is good enough to trade on belongs to the decision, not here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant_pipeline.core.models.samples import BoolArray, FloatArray, IntArray

QUANTILES = (0.05, 0.50, 0.95)
RESIDUAL_LEVELS: FloatArray = (np.arange(200, dtype=np.float64) + 0.5) / 200.0
"""Probability levels at which the hold-out residuals are kept: 0.25 %, 0.75 %, ... 99.75 %."""

MIN_USABLE = 2
MAX_PENALTY = 0.9


@dataclass(frozen=True, slots=True)
class Opinions:
    """What an ensemble says about n rows. All returns are per horizon, as fractions.

    `members` float64[n, m] are the single predictions in the order of the ensemble, NaN where a member is unusable.
    `expected_return` is the mean of the distinct usable members (NaN if none), `spread` their standard deviation
    (ddof 0). `p_up` and `p_down` (sum 1) and `quantiles` float64[n, 3] at `QUANTILES` come from the residuals of the
    hold-out: how far, and on which side, returns fell from predictions there; they do not widen with the spread.
    `confidence` is `(1 - min(spread / scale, 0.9)) * usable / configured`: agreement of members, not accuracy; 0
    where `too_few` says that fewer than two distinct members are usable.
    """

    expected_return: FloatArray
    members: FloatArray
    spread: FloatArray
    usable: IntArray
    too_few: BoolArray
    confidence: FloatArray
    p_up: FloatArray
    p_down: FloatArray
    quantiles: FloatArray

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.expected_return)


def confidence(spread: FloatArray, usable: IntArray, configured: int, scale: float) -> FloatArray:
    """Return `(1 - min(spread / scale, 0.9)) * usable / configured`, and 0 where fewer than two members are usable."""
    agreement = 1.0 - np.minimum(spread / scale, MAX_PENALTY)
    return np.where(usable >= MIN_USABLE, agreement * usable / configured, 0.0)


def combine(predictions: FloatArray, groups: Sequence[int], scale: float, residuals: FloatArray | None) -> Opinions:
    """Make opinions of predictions float64[n, m].

    `groups` has one number per member; members with the same number are identical and count as one. `residuals` are the
    hold-out residuals at `RESIDUAL_LEVELS`, or None before there are any (then `p_up`, `p_down`, `quantiles` are NaN).
    """
    n, configured = predictions.shape
    members = np.where(np.isfinite(predictions), predictions, np.nan)
    votes = [_first_finite(members, [i for i, g in enumerate(groups) if g == group]) for group in dict.fromkeys(groups)]
    usable = np.zeros(n, dtype=np.int64)
    total = np.zeros(n)
    for vote in votes:
        seen = np.isfinite(vote)
        usable += seen
        total += np.where(seen, vote, 0.0)
    count = np.maximum(usable, 1)
    mean = np.where(usable > 0, total / count, np.nan)
    squares = np.zeros(n)
    for vote in votes:
        squares += np.where(np.isfinite(vote), (vote - mean) ** 2, 0.0)
    spread = np.where(usable > 0, np.sqrt(squares / count), np.nan)
    p_down, quantiles = _distribution(mean, residuals)
    return Opinions(
        expected_return=mean,
        members=members,
        spread=spread,
        usable=usable,
        too_few=usable < MIN_USABLE,
        confidence=confidence(spread, usable, configured, scale),
        p_up=1.0 - p_down,
        p_down=p_down,
        quantiles=quantiles,
    )


def residual_table(residuals: FloatArray) -> FloatArray:
    """Summarise residuals (return minus expected return) at `RESIDUAL_LEVELS`."""
    table: FloatArray = np.quantile(residuals, RESIDUAL_LEVELS).astype(np.float64)
    return table


def identical_groups(predictions: FloatArray) -> tuple[int, ...]:
    """Number the members so that those with equal predictions on every row of float64[n, m] share a number."""
    numbers: dict[bytes, int] = {}
    return tuple(numbers.setdefault(np.ascontiguousarray(column).tobytes(), len(numbers)) for column in predictions.T)


def _first_finite(members: FloatArray, columns: list[int]) -> FloatArray:
    vote = members[:, columns[0]]
    for column in columns[1:]:
        vote = np.where(np.isfinite(vote), vote, members[:, column])
    return vote


def _distribution(mean: FloatArray, residuals: FloatArray | None) -> tuple[FloatArray, FloatArray]:
    """Return P(mean + residual <= 0) and the quantiles of mean + residual; NaN without a mean or without residuals."""
    if residuals is None:
        return np.full(len(mean), np.nan), np.full((len(mean), len(QUANTILES)), np.nan)
    shifts = np.interp(np.asarray(QUANTILES), RESIDUAL_LEVELS, residuals)
    quantiles = mean[:, None] + shifts[None, :]
    p_down = np.where(np.isfinite(mean), np.interp(-mean, residuals, RESIDUAL_LEVELS), np.nan)
    return p_down, quantiles
