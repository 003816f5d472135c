"""Judging an ensemble on rows it never learned from: figures, baselines, calibration, and the gate.

Fitting does not belong here; every sum runs in a fixed order without BLAS, so equal inputs give equal figures.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.params import AcceptanceRule

if TYPE_CHECKING:
    from collections.abc import Mapping

    from quant_pipeline.core.models.opinion import Opinions
    from quant_pipeline.core.models.samples import FloatArray, IntArray, Samples

CONFIDENCE_BUCKETS = (0.0, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0)
"""Edges of the calibration buckets; the last one includes 1."""

type Metrics = dict[str, float]


def evaluate(samples: Samples, rows: IntArray, opinions: Opinions) -> Metrics:
    """Return the figures of `opinions` on `rows` of `samples`, with the baselines and the calibration beside them.

    A figure that is not defined (correlation of a constant, an empty bucket) is absent, never NaN.
    Baselines: `hold` predicts 0, `up` always says up, `last` repeats the last return known at the time.
    """
    actual, expected = samples.y[rows], opinions.expected_return
    last = last_known(samples)[rows]
    seen = np.isfinite(last)
    figures: dict[str, float | None] = {
        "holdout_rows": float(len(rows)),
        "holdout_rmse": rmse(expected, actual),
        "holdout_mae": _mean(np.abs(expected - actual)),
        "holdout_direction_accuracy": direction_accuracy(expected, actual),
        "holdout_correlation": correlation(expected, actual),
        "holdout_mean_confidence": _mean(opinions.confidence),
        "baseline_hold_rmse": rmse(np.zeros_like(actual), actual),
        "baseline_up_direction_accuracy": direction_accuracy(np.ones_like(actual), actual),
        "baseline_last_rmse": rmse(last[seen], actual[seen]),
        "baseline_last_direction_accuracy": direction_accuracy(last[seen], actual[seen]),
        **calibration(opinions.confidence, expected, actual),
    }
    return {name: float(value) for name, value in figures.items() if value is not None and np.isfinite(value)}


def accept(metrics: Mapping[str, float], rule: AcceptanceRule | None = None) -> tuple[bool, tuple[str, ...]]:
    """Say whether an ensemble may serve, and every reason why not.

    The gate is direction accuracy and correlation on the hold-out, both strictly above the rule's bounds (0.5 and 0).
    """
    bounds = rule if rule is not None else AcceptanceRule()
    reasons: list[str] = []
    for key, bound in (
        ("holdout_direction_accuracy", bounds.direction_above),
        ("holdout_correlation", bounds.correlation_above),
    ):
        value = metrics.get(key)
        if value is None:
            reasons.append(f"{key} is not defined (constant predictions or returns)")
        elif not value > bound:
            reasons.append(f"{key} {value:.4f} is not above {bound:g}")
    return not reasons, tuple(reasons)


def accept_update(metrics: Mapping[str, float]) -> tuple[bool, tuple[str, ...]]:
    """Say whether a fine-tuned ensemble may replace its base: it must not be worse on the rows kept apart for that."""
    tuned, base = metrics["holdout_rmse"], metrics["base_rmse"]
    if tuned <= base:
        return True, ()
    return False, (f"holdout_rmse {tuned:.6f} is above the base model's {base:.6f} on the same rows",)


def rmse(expected: FloatArray, actual: FloatArray) -> float:
    """Root of the mean squared error; NaN without rows."""
    return float(np.sqrt(((expected - actual) ** 2).mean())) if len(actual) else float("nan")


def direction_accuracy(expected: FloatArray, actual: FloatArray) -> float | None:
    """Share of rows with the same sign among rows whose return is not 0; a prediction of 0 counts as wrong."""
    moved = actual != 0.0
    return _mean((np.sign(expected[moved]) == np.sign(actual[moved])).astype(np.float64))


def correlation(expected: FloatArray, actual: FloatArray) -> float | None:
    """Pearson correlation; None if either side does not vary."""
    if len(actual) < 2 or np.ptp(expected) == 0.0 or np.ptp(actual) == 0.0:
        return None
    a, b = expected - expected.mean(), actual - actual.mean()
    scale = float(np.sqrt((a * a).sum() * (b * b).sum()))
    return float((a * b).sum() / scale) if scale > 0.0 else None


def calibration(confidence: FloatArray, expected: FloatArray, actual: FloatArray) -> dict[str, float | None]:
    """Rows and hit rate by confidence bucket, e.g. `calibration_0.7_0.8_hit_rate`; empty buckets have no hit rate."""
    figures: dict[str, float | None] = {}
    for low, high in pairwise(CONFIDENCE_BUCKETS):
        top = high if high < CONFIDENCE_BUCKETS[-1] else np.inf
        inside = (confidence >= low) & (confidence < top)
        figures[f"calibration_{low:.1f}_{high:.1f}_rows"] = float(inside.sum())
        figures[f"calibration_{low:.1f}_{high:.1f}_hit_rate"] = direction_accuracy(expected[inside], actual[inside])
    return figures


def last_known(samples: Samples) -> FloatArray:
    """Return for each row the newest target of the same series that was known when the row was decided, else NaN."""
    last = np.full(len(samples), np.nan)
    group = samples.group if samples.group is not None else np.zeros(len(samples), dtype=np.int64)
    for number in np.unique(group):
        rows = np.flatnonzero(group == number)
        order = rows[np.argsort(samples.target_at[rows], kind="stable")]
        position = np.searchsorted(samples.target_at[order], samples.known_at[rows], side="right") - 1
        known = position >= 0
        last[rows[known]] = samples.y[order[position[known]]]
    return last


def _mean(values: FloatArray) -> float | None:
    return float(values.mean()) if len(values) else None
