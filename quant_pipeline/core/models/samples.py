"""The rows an ensemble learns from, and cutting them in time order without leaks.

Where rows come from (features, returns) and what is fitted on them does not belong here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from quant_pipeline.core.models.params import SplitSpec

type FloatArray = NDArray[np.float64]
type IntArray = NDArray[np.int64]
type BoolArray = NDArray[np.bool_]
type TimeArray = NDArray[np.datetime64]


class NotEnoughRowsError(ValueError):
    """There are too few rows to train, stop early and judge; the message names the part and the numbers."""


@dataclass(frozen=True, slots=True)
class Samples:
    """Training rows in time order.

    `x` float64[n, k] are the features, `y` float64[n] the return over the horizon. `known_at` datetime64[ns][n] (UTC)
    is when a row's features were known (close of its bar), `target_at` when its target was known (close of the bar
    one horizon later). `columns` names the k features. `group` int64[n] tells series apart when rows of several
    symbols are pooled.

    Raises ValueError for shapes that do not fit, values that are not finite, times out of order or targets not in the
    future.
    """

    x: FloatArray
    y: FloatArray
    known_at: TimeArray
    target_at: TimeArray
    columns: tuple[str, ...]
    group: IntArray | None = None

    def __post_init__(self) -> None:
        """Refuse rows on which nothing sound can be learned."""
        n = len(self.y)
        lengths = {"x": len(self.x), "known_at": len(self.known_at), "target_at": len(self.target_at)}
        if self.group is not None:
            lengths["group"] = len(self.group)
        wrong = {name: length for name, length in lengths.items() if length != n}
        if self.x.ndim != 2 or self.y.ndim != 1 or wrong or self.x.shape[1] != len(self.columns):
            shapes = f"x {self.x.shape}, y {self.y.shape}, {len(self.columns)} columns"
            msg = f"samples do not fit together: {shapes}, lengths that differ from y's: {wrong or 'none'}"
            raise ValueError(msg)
        check_finite(self.x, self.columns)
        if not np.isfinite(self.y).all():
            bad = int((~np.isfinite(self.y)).sum())
            msg = f"samples: {bad} of {n} targets are not finite; drop rows without a target"
            raise ValueError(msg)
        if np.isnat(self.known_at).any() or np.isnat(self.target_at).any():
            msg = "samples: a time is missing (NaT) in known_at or target_at"
            raise ValueError(msg)
        if (np.diff(self.known_at) < np.timedelta64(0)).any():
            msg = "samples: known_at must not go back in time; sort the rows by it"
            raise ValueError(msg)
        if (self.target_at <= self.known_at).any():
            msg = "samples: every target_at must be later than its known_at"
            raise ValueError(msg)

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.y)

    def take(self, rows: IntArray | BoolArray) -> Samples:
        """Return the given rows (indices in ascending order, or a mask)."""
        group = None if self.group is None else self.group[rows]
        return Samples(self.x[rows], self.y[rows], self.known_at[rows], self.target_at[rows], self.columns, group)


@dataclass(frozen=True, slots=True)
class Split:
    """Row indices of the three parts; rows of no part were purged or embargoed."""

    train: IntArray
    validation: IntArray
    holdout: IntArray


def check_finite(x: FloatArray, columns: tuple[str, ...]) -> None:
    """Raise ValueError naming the columns in which a feature is NaN or infinite."""
    bad = ~np.isfinite(x)
    if bad.any():
        counts = {columns[j]: int(bad[:, j].sum()) for j in range(x.shape[1]) if bad[:, j].any()}
        msg = f"features are not finite (rows by column: {counts}); drop warm-up rows, clean infinities before training"
        raise ValueError(msg)


def split_samples(samples: Samples, spec: SplitSpec) -> Split:
    """Cut samples into train | validation | hold-out by decision time.

    A row belongs to a part only if its target was known `spec.embargo` decision times before the next part begins.
    All rows of one decision time fall on the same side, so pooled symbols cannot leak.

    Raises NotEnoughRowsError when a part would be smaller than `spec` allows.
    """
    times = np.unique(samples.known_at)
    count = len(times)
    holdout = max(round(count * spec.holdout), 1)
    validation = max(round(count * spec.validation), 1)
    first, second = count - holdout - validation, count - holdout
    if first <= spec.embargo:
        msg = f"{count} decision times cannot be cut into train, validation ({validation}) and hold-out ({holdout})"
        raise NotEnoughRowsError(msg)
    split = Split(
        train=_part(samples, times, 0, first, spec.embargo),
        validation=_part(samples, times, first, second, spec.embargo),
        holdout=np.flatnonzero(samples.known_at >= times[second]),
    )
    for name, rows, least in (
        ("train", split.train, spec.min_train),
        ("validation", split.validation, spec.min_validation),
        ("hold-out", split.holdout, spec.min_holdout),
    ):
        if len(rows) < least:
            msg = f"{len(rows)} {name} rows of {len(samples)} are left, {least} are needed: give a longer history"
            raise NotEnoughRowsError(msg)
    return split


def before_holdout(samples: Samples, spec: SplitSpec) -> Samples:
    """Return the rows that tuning may see: train and validation rows of `split_samples`, nothing of the hold-out."""
    split = split_samples(samples, spec)
    return samples.take(np.concatenate([split.train, split.validation]))


def _part(samples: Samples, times: TimeArray, start: int, stop: int, embargo: int) -> IntArray:
    """Return rows decided in times[start:stop] whose target was known `embargo` decision times before times[stop]."""
    inside = (samples.known_at >= times[start]) & (samples.known_at < times[stop])
    return np.flatnonzero(inside & (samples.target_at <= times[max(stop - embargo, start)]))
