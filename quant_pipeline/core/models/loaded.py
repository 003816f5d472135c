"""Applying a bundle: load its boosters and predict.

Keeping loaded ensembles (by the bundle's hash) is the caller's business, finding the right one the registry's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.bundle import BundleError, unpack
from quant_pipeline.core.models.members import predictor
from quant_pipeline.core.models.opinion import Opinions, combine

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant_pipeline.core.models.members import Predictor
    from quant_pipeline.core.models.samples import FloatArray
    from quant_pipeline.core.models.trained import TrainedEnsemble


@dataclass(frozen=True, slots=True)
class LoadedEnsemble:
    """An ensemble ready to predict, from any number of threads; `content_hash` is the hash of its bundle."""

    content_hash: str
    ensemble: TrainedEnsemble
    predictors: tuple[Predictor, ...]
    residuals: FloatArray


def load_members(data: bytes, expected: str) -> LoadedEnsemble:
    """Load the boosters of a bundle; `expected` is the hash under which it is known.

    Takes about 5 ms. Raises BundleError for bytes that are not that bundle or that a library cannot read.
    """
    ensemble = unpack(data, expected)
    try:
        predictors = tuple(predictor(member.family, member.data) for member in ensemble.members)
    except ValueError as error:
        msg = f"model bundle {expected}: {error} (written with {ensemble.libraries})"
        raise BundleError(msg) from error
    return LoadedEnsemble(expected, ensemble, predictors, np.asarray(ensemble.residuals))


def predict(loaded: LoadedEnsemble, x: FloatArray, *, columns: Sequence[str]) -> Opinions:
    """Return opinions on rows float64[n, k] whose features are named by `columns`.

    A row with a feature that is not finite makes every member unusable for it: trees would answer, but about another
    row. A row gives the same bytes alone and in a batch. Raises ValueError if the columns are not the ensemble's, in
    its order.
    """
    known = loaded.ensemble.features
    if tuple(columns) != known.columns:
        msg = f"features {tuple(columns)} are not those of {known.name} {known.version} of this model: {known.columns}"
        raise ValueError(msg)
    if x.ndim != 2 or x.shape[1] != len(known.columns):
        msg = f"features have shape {x.shape}, expected (rows, {len(known.columns)})"
        raise ValueError(msg)
    sound = np.isfinite(x).all(axis=1)
    predictions = np.full((len(x), len(loaded.predictors)), np.nan)
    if sound.any():
        clean = np.ascontiguousarray(x[sound])
        for i, member in enumerate(loaded.predictors):
            predictions[sound, i] = member(clean)
    return combine(predictions, loaded.ensemble.groups, loaded.ensemble.params.spread_scale, loaded.residuals)
