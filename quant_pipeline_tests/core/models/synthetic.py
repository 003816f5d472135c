"""Seeded samples with a signal in two of their features, as the other tests of models need them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant_pipeline.core.models.samples import FloatArray, Samples
from quant_pipeline.core.models.trained import FeatureSet, Horizon

COLUMNS = ("returns_5d", "returns_20d", "rsi", "bb_width", "volume_ratio", "volatility_20d", "momentum", "trend")
FEATURES = FeatureSet("seed8", "1", COLUMNS)
DAILY = Horizon(1, "1d")
DAY = np.timedelta64(1, "D")


def make_samples(rows: int = 480, *, seed: int = 7, signal: float = 0.02, horizon: int = 1) -> Samples:
    """Daily rows whose return leans on the first two features; `signal` 0 makes it pure noise."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(rows, len(COLUMNS)))
    y = signal * (0.6 * np.tanh(x[:, 0]) + 0.4 * (x[:, 1] > 0.3) - 0.15) + rng.normal(scale=0.01, size=rows)
    known_at = np.datetime64("2022-01-03T21:00", "ns") + DAY * np.arange(rows)
    return Samples(x, y, known_at, known_at + DAY * horizon, COLUMNS)


def with_targets(samples: Samples, y: FloatArray) -> Samples:
    """The same rows with other targets."""
    return replace(samples, y=y)
