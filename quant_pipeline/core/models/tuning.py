"""What is searched when hyper-parameters are tuned, and what a trial is worth.

Which values are tried next, and keeping studies, belongs to the registry.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.acceptance import rmse
from quant_pipeline.core.models.members import Rows, fit_member, predictor
from quant_pipeline.core.models.params import EnsembleParams, Family, MemberSpec, SplitSpec, with_tuned
from quant_pipeline.core.models.samples import Samples, before_holdout, split_samples

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Dimension:
    """One searched hyper-parameter and its range, both ends included; `log` searches its logarithm."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False

    def __post_init__(self) -> None:
        """Refuse an empty range, or a logarithm of nothing."""
        if not self.low < self.high or (self.log and self.low <= 0):
            msg = f"search range of {self.name}: {self.low} to {self.high} (log={self.log}) is not a range"
            raise ValueError(msg)

    def clip(self, value: float) -> float | int:
        """Move a value into the range."""
        inside = min(max(value, self.low), self.high)
        return round(inside) if self.integer else float(inside)


LIGHTGBM_SPACE = (
    Dimension("learning_rate", 0.01, 0.1, log=True),
    Dimension("num_leaves", 10, 50, integer=True),
    Dimension("max_depth", 4, 10, integer=True),
    Dimension("min_child_samples", 5, 40, integer=True),
    Dimension("feature_fraction", 0.6, 1.0),
    Dimension("bagging_fraction", 0.6, 1.0),
)
XGBOOST_SPACE = (
    Dimension("learning_rate", 0.01, 0.08, log=True),
    Dimension("max_depth", 3, 7, integer=True),
    Dimension("subsample", 0.5, 0.9),
    Dimension("colsample_bytree", 0.5, 0.9),
    Dimension("gamma", 1e-8, 5.0, log=True),
    Dimension("min_child_weight", 1.0, 20.0),
    Dimension("reg_alpha", 1e-8, 1.0, log=True),
    Dimension("reg_lambda", 1e-8, 1.0, log=True),
)
DEFAULT_SPACES: Mapping[Family, tuple[Dimension, ...]] = {"lightgbm": LIGHTGBM_SPACE, "xgboost": XGBOOST_SPACE}


@dataclass(frozen=True, slots=True)
class Objective:
    """The value of a trial: RMSE on rows that neither fitting nor early stopping saw. Smaller is better.

    `samples` must be without the acceptance hold-out; `split` cuts them into train | early stopping | scored rows, so
    that three different parts of time serve fitting and stopping, tuning, and acceptance. Picklable; one thread per
    trial.
    """

    samples: Samples
    family: Family
    params: EnsembleParams
    split: SplitSpec
    seed: int = 42

    def __call__(self, tuned: Mapping[str, float | int]) -> float:
        """Fit one member with the tuned values put into `params` and return its RMSE on the scored rows."""
        params = with_tuned(self.params, self.family, tuned)
        parts, samples = split_samples(self.samples, self.split), self.samples
        low, high = np.quantile(samples.y[parts.train], params.clip)
        train = Rows(samples.x[parts.train], np.clip(samples.y[parts.train], low, high))
        check = Rows(samples.x[parts.validation], np.clip(samples.y[parts.validation], low, high))
        fitted = fit_member(MemberSpec("trial", self.family, self.seed), params, train, check, 1)
        return rmse(predictor(self.family, fitted.data)(samples.x[parts.holdout]), samples.y[parts.holdout])


def make_objective(
    samples: Samples, family: Family, acceptance: SplitSpec, *, params: EnsembleParams | None = None, seed: int = 42
) -> Objective:
    """Make the objective for samples that will later be split by `acceptance`: its hold-out is cut off first.

    Raises NotEnoughRowsError when too few rows remain.
    """
    inner = SplitSpec(validation=0.2, holdout=0.2, embargo=acceptance.embargo, min_train=60)
    seen = before_holdout(samples, acceptance)
    split_samples(seen, inner)
    return Objective(seen, family, params if params is not None else EnsembleParams(), inner, seed)


def starting_point(space: Sequence[Dimension], family: Family, params: EnsembleParams) -> dict[str, float | int]:
    """Return the present values of the searched parameters, moved into their ranges: a study's first trial."""
    current = params.lightgbm if family == "lightgbm" else params.xgboost
    values = {f.name: getattr(current, f.name) for f in fields(current)}
    return {dimension.name: dimension.clip(values[dimension.name]) for dimension in space}
