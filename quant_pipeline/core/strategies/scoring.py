"""From votes and weights to a score, and from the score to BUY, SELL or HOLD."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from quant_pipeline.core.strategies.base import FloatArray
from quant_pipeline.core.values import Vote

BUY_AT = 0.2
SELL_AT = -0.2
"""A score at or beyond these is a BUY or a SELL; between them it is HOLD."""


def check_weights(weights: Mapping[str, float], known: Sequence[str]) -> None:
    """Refuse weights that cannot be meant.

    Raises:
        ValueError: a name is unknown, a weight is negative or not finite, or no weight is above zero.
    """
    for name, weight in weights.items():
        if name not in known:
            msg = f"weight for unknown strategy {name!r}; registered are {', '.join(known)}"
            raise ValueError(msg)
        if not math.isfinite(weight) or weight < 0:
            msg = f"weight of strategy {name} is {weight}; use a number of 0 (off) or more"
            raise ValueError(msg)
    if not any(weight > 0 for weight in weights.values()):
        msg = "no strategy has a weight above 0; give one a weight, or let the market's vote abstain"
        raise ValueError(msg)


def check_thresholds(buy_at: float, sell_at: float) -> None:
    """Refuse thresholds that leave no room for HOLD or can never be reached.

    Raises:
        ValueError: unless -1 <= sell_at < 0 < buy_at <= 1.
    """
    if not -1.0 <= sell_at < 0.0 < buy_at <= 1.0:
        msg = f"vote thresholds buy_at={buy_at}, sell_at={sell_at} must satisfy -1 <= sell_at < 0 < buy_at <= 1"
        raise ValueError(msg)


def score(votes: Mapping[str, FloatArray], weights: Mapping[str, float]) -> FloatArray:
    """Weighted mean of the votes that were given, in [-1, 1]; NaN where every strategy abstained.

    A NaN vote abstains and its weight does not count. A strategy without a weight counts as weight 0. Votes are added
    in the order of `votes`, so equal input gives equal bytes.

    Raises:
        ValueError: see `check_weights`; or votes are missing for a weighted strategy.
    """
    check_weights(weights, tuple(votes))
    size = next(iter(votes.values())).shape
    total, counted = np.zeros(size), np.zeros(size)
    for name, vote in votes.items():
        weight = weights.get(name, 0.0)
        if weight > 0:
            given = ~np.isnan(vote)
            total += np.where(given, weight * vote, 0.0)
            counted += np.where(given, weight, 0.0)
    with np.errstate(invalid="ignore"):
        mean = total / counted
    return np.where(counted > 0, np.clip(mean, -1.0, 1.0), np.nan)


def outcome(scores: FloatArray, *, buy_at: float = BUY_AT, sell_at: float = SELL_AT) -> npt.NDArray[np.int8]:
    """BUY (1) where the score reaches `buy_at`, SELL (-1) where it reaches `sell_at`, else HOLD (0); NaN is HOLD.

    Raises:
        ValueError: see `check_thresholds`.
    """
    check_thresholds(buy_at, sell_at)
    chosen = np.where(scores >= buy_at, Vote.BUY, np.where(scores <= sell_at, Vote.SELL, Vote.HOLD))
    return chosen.astype(np.int8)
