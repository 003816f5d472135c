"""Training an ensemble of boosters on samples.

The members' libraries belong to `members`, the judging to `acceptance`, the bytes to `bundle`, recent rows to `update`.

The model that is judged is the model that serves: it is not fitted again on the hold-out, so the figures, residuals
and calibration of a version describe that version. What the newest rows teach comes in through `update.fine_tune`.
Never train in a process from which others are forked (see `members`); a pool of training processes must spawn or
forkserver.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.acceptance import Metrics, evaluate, rmse
from quant_pipeline.core.models.members import Fitted, Rows, fit_member, library_versions, predictor
from quant_pipeline.core.models.opinion import combine, identical_groups, residual_table
from quant_pipeline.core.models.params import DEFAULT_MEMBERS, EnsembleParams, Family, MemberSpec, SplitSpec
from quant_pipeline.core.models.samples import Samples, Split, split_samples
from quant_pipeline.core.models.trained import FeatureSet, Horizon, TrainedEnsemble, TrainedMember, Window, iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant_pipeline.core.models.samples import FloatArray, IntArray


def train_ensemble(
    samples: Samples,
    features: FeatureSet,
    horizon: Horizon,
    *,
    split: SplitSpec | None = None,
    params: EnsembleParams | None = None,
    members: Sequence[MemberSpec] = DEFAULT_MEMBERS,
    threads: int = 1,
) -> TrainedEnsemble:
    """Train every member on the train part with early stopping on the validation part, and judge them on the hold-out.

    Clip bounds come from the train part alone. `split` defaults to `SplitSpec(embargo=horizon.bars)`. One thread is
    fastest below some ten thousand rows. Raises NotEnoughRowsError when a part is too small, ValueError for columns or
    members that do not fit.
    """
    check_request(samples, features, members)
    settings = params if params is not None else EnsembleParams()
    parts = split_samples(samples, split if split is not None else SplitSpec(embargo=horizon.bars))
    low, high = (float(v) for v in np.quantile(samples.y[parts.train], settings.clip))
    train = Rows(samples.x[parts.train], np.clip(samples.y[parts.train], low, high))
    check = Rows(samples.x[parts.validation], np.clip(samples.y[parts.validation], low, high))
    fitted = [fit_member(m, settings, train, check, threads) for m in members]
    predictions = predict_members([m.family for m in members], [f.data for f in fitted], samples.x)
    groups = identical_groups(predictions)
    metrics, residuals = _judge(samples, parts, predictions, groups, settings.spread_scale)
    return TrainedEnsemble(
        features=features,
        horizon=horizon,
        params=settings,
        members=trained_members(members, fitted, groups),
        clip=(low, high),
        residuals=residuals,
        windows={f.name: window(samples, getattr(parts, f.name)) for f in fields(parts)},
        known_until=iso(samples.target_at.max()),
        metrics=metrics | _member_figures(members, fitted, predictions[parts.validation], check.y),
        libraries=library_versions(),
    )


def check_request(samples: Samples, features: FeatureSet, members: Sequence[MemberSpec]) -> None:
    """Raise ValueError if the columns are not the feature set's or the members cannot form an ensemble."""
    if samples.columns != features.columns:
        msg = f"samples have columns {samples.columns}, feature set {features.name} has {features.columns}"
        raise ValueError(msg)
    names = [m.name for m in members]
    if len(members) < 2 or len(set(names)) != len(names):
        msg = f"members {names}: at least two with different names are needed, fewer can never give an opinion"
        raise ValueError(msg)


def predict_members(families: Sequence[Family], data: Sequence[bytes], x: FloatArray) -> FloatArray:
    """Predict float64[n, m] from native bytes, not from boosters in memory: what is judged is what will be loaded."""
    return np.column_stack([predictor(family, raw)(x) for family, raw in zip(families, data, strict=True)])


def trained_members(
    members: Sequence[MemberSpec], fitted: Sequence[Fitted], groups: Sequence[int]
) -> tuple[TrainedMember, ...]:
    """Put specifications, fitted bytes and group numbers together."""
    return tuple(
        TrainedMember(m.name, m.family, m.seed, fit.rounds, group, fit.data)
        for m, fit, group in zip(members, fitted, groups, strict=True)
    )


def window(samples: Samples, rows: IntArray) -> Window:
    """Describe the rows of one part."""
    return Window(iso(samples.known_at[rows[0]]), iso(samples.known_at[rows[-1]]), len(rows))


def _judge(
    samples: Samples, parts: Split, predictions: FloatArray, groups: Sequence[int], scale: float
) -> tuple[Metrics, tuple[float, ...]]:
    """Return the figures on the hold-out and the table of its residuals."""
    scores = combine(predictions[parts.holdout], groups, scale, None)
    residuals = residual_table(samples.y[parts.holdout] - scores.expected_return)
    rows = {"train_rows": float(len(parts.train)), "validation_rows": float(len(parts.validation))}
    figures = evaluate(samples, parts.holdout, scores) | rows | {"distinct_members": float(len(set(groups)))}
    return figures, tuple(float(v) for v in residuals)


def _member_figures(
    members: Sequence[MemberSpec], fitted: Sequence[Fitted], predictions: FloatArray, actual: FloatArray
) -> Metrics:
    """Return each member's rounds and its error on the (clipped) validation part."""
    figures: Metrics = {}
    for i, (member, fit) in enumerate(zip(members, fitted, strict=True)):
        figures[f"{member.name}_rounds"] = float(fit.rounds)
        figures[f"{member.name}_validation_rmse"] = rmse(predictions[:, i], actual)
    return figures
