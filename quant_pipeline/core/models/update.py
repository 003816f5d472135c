"""Fine-tuning: continuing a trained ensemble on recent rows.

Training from scratch belongs to `ensemble`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.acceptance import Metrics, evaluate, rmse
from quant_pipeline.core.models.ensemble import check_request, predict_members, trained_members, window
from quant_pipeline.core.models.members import Rows, continue_member, library_versions
from quant_pipeline.core.models.opinion import combine, identical_groups
from quant_pipeline.core.models.samples import NotEnoughRowsError, Samples
from quant_pipeline.core.models.trained import TrainedEnsemble, from_iso, iso

if TYPE_CHECKING:
    from quant_pipeline.core.models.samples import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class UpdateSpec:
    """How an update is made: trees added, share of the newest decision times kept to judge on, minimum rows."""

    rounds: int = 10
    check_share: float = 0.25
    min_train: int = 20
    min_check: int = 5

    def __post_init__(self) -> None:
        """Refuse an update that would learn nothing or judge on nothing."""
        if self.rounds < 1:
            msg = f"fine-tuning rounds {self.rounds} must be at least 1"
            raise ValueError(msg)
        if not 0.0 < self.check_share < 1.0:
            msg = f"check_share {self.check_share} must lie between 0 and 1, both excluded"
            raise ValueError(msg)


def fine_tune(
    base: TrainedEnsemble, base_hash: str, recent: Samples, *, spec: UpdateSpec | None = None, threads: int = 1
) -> TrainedEnsemble:
    """Continue every member for a few rounds on recent rows; judge it against the base on the newest of them.

    Start from the month's ensemble each day, not from yesterday's update: then an update depends on its rows alone
    and can be made again. The newest rows are not learned from; they must not be older than the base's hold-out, so
    that neither side has learned them. Clip bounds and residuals stay those of the base. `base_hash` is the hash of
    the base's bundle. Raises NotEnoughRowsError when there is too little to learn from or to judge on.
    """
    how = spec if spec is not None else UpdateSpec()
    specs = [member.spec for member in base.members]
    check_request(recent, base.features, specs)
    tune, check = _cut(recent, how, base.horizon.bars, base.windows["holdout"].first)
    rows = Rows(recent.x[tune], np.clip(recent.y[tune], *base.clip))
    fitted = [continue_member(m.spec, base.params, m.data, rows, how.rounds, threads) for m in base.members]
    predictions = predict_members([m.family for m in specs], [f.data for f in fitted], recent.x)
    groups = identical_groups(predictions)
    return TrainedEnsemble(
        features=base.features,
        horizon=base.horizon,
        params=base.params,
        members=trained_members(specs, fitted, groups),
        clip=base.clip,
        residuals=base.residuals,
        windows=base.windows | {"update": window(recent, tune), "check": window(recent, check)},
        known_until=max(base.known_until, iso(recent.target_at.max())),
        metrics=_judge(base, recent, check, predictions, groups) | {"train_rows": float(len(tune))},
        libraries=library_versions(),
        base=base_hash,
    )


def _judge(
    base: TrainedEnsemble, recent: Samples, check: IntArray, predictions: FloatArray, groups: tuple[int, ...]
) -> Metrics:
    """Return the figures of the update on the rows kept apart, and the base's error on the same rows."""
    scores = combine(predictions[check], groups, base.params.spread_scale, None)
    before = predict_members([m.family for m in base.members], [m.data for m in base.members], recent.x[check])
    old = combine(before, base.groups, base.params.spread_scale, None)
    return evaluate(recent, check, scores) | {
        "distinct_members": float(len(set(groups))),
        "base_rmse": rmse(old.expected_return, recent.y[check]),
    }


def _cut(recent: Samples, spec: UpdateSpec, embargo: int, fresh_from: str) -> tuple[IntArray, IntArray]:
    """Cut into rows to learn from and newer rows to judge on, purged and embargoed like `samples.split_samples`."""
    times = np.unique(recent.known_at)
    first = len(times) - max(round(len(times) * spec.check_share), 1)
    tune = np.flatnonzero((recent.known_at < times[first]) & (recent.target_at <= times[max(first - embargo, 0)]))
    check = np.flatnonzero(recent.known_at >= times[first])
    if len(tune) < spec.min_train or len(check) < spec.min_check:
        msg = (
            f"fine-tuning: {len(tune)} rows to learn from and {len(check)} to judge on, "
            f"at least {spec.min_train} and {spec.min_check} are needed: give a longer recent window"
        )
        raise NotEnoughRowsError(msg)
    if recent.known_at[check[0]] < from_iso(fresh_from):
        msg = (
            f"fine-tuning: the rows to judge on begin {iso(recent.known_at[check[0]])}, before the base's hold-out "
            f"({fresh_from}); the base may have learned them"
        )
        raise NotEnoughRowsError(msg)
    return tune, check
