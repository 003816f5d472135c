"""Exact sliding windows over arrays: the same value for the same window, wherever the array starts or ends.

Running sums (pandas `rolling`) carry rounding from bars that left the window. Here each window is added up on its
own, oldest first, so a value depends on nothing but the bars inside it. What the numbers mean belongs to the callers.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

type FloatArray = npt.NDArray[np.float64]


def lag(values: FloatArray, steps: int) -> FloatArray:
    """`values` moved `steps` positions later; the first `steps` entries are NaN."""
    out = np.full(values.shape, np.nan)
    if steps < values.size:
        out[steps:] = values[: values.size - steps]
    return out


def window_sum(values: FloatArray, count: int, step: int = 1) -> FloatArray:
    """Sum of `count` values that lie `step` positions apart, the last one at the position itself; NaN at the start."""
    total = lag(values, (count - 1) * step)
    for k in range(count - 2, -1, -1):
        total = total + lag(values, k * step)
    return total


def window_mean(values: FloatArray, count: int, step: int = 1) -> FloatArray:
    """Mean of `count` values that lie `step` positions apart."""
    return window_sum(values, count, step) / count


def window_std(values: FloatArray, count: int, step: int = 1, *, ddof: int) -> FloatArray:
    """Standard deviation (two passes) of `count` values that lie `step` positions apart, divisor `count - ddof`."""
    mean = window_mean(values, count, step)
    total = np.zeros(values.shape)
    for k in range(count - 1, -1, -1):
        deviation = lag(values, k * step) - mean
        total = total + deviation * deviation
    return np.sqrt(total / (count - ddof))


def window_max(values: FloatArray, count: int) -> FloatArray:
    """Largest of the last `count` values; NaN at the start and where a value of the window is NaN."""
    out = lag(values, count - 1)
    for k in range(count - 1):
        out = np.maximum(out, lag(values, k))
    return out


def window_min(values: FloatArray, count: int) -> FloatArray:
    """Smallest of the last `count` values; NaN at the start and where a value of the window is NaN."""
    out = lag(values, count - 1)
    for k in range(count - 1):
        out = np.minimum(out, lag(values, k))
    return out


def divide(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    """Quotient with NaN wherever it is not a finite number (division by zero included)."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        quotient = numerator / denominator
    return np.where(np.isfinite(quotient), quotient, np.nan)
