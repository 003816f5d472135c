"""One member of an ensemble: train a native booster, turn it into normalised bytes and back, predict with it.

The two libraries meet only here. What members mean together (spread, clipping, acceptance) does not belong here.

Both libraries hang in a process that was *forked* after its parent trained; use spawn or forkserver for pools of
training processes, and never train in a process that others are forked from. Importing them takes about 1.5 s
together (LightGBM pulls scikit-learn in whatever submodule is asked for), hence the imports inside functions.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from quant_pipeline.core.models.params import EnsembleParams, Family, LightGBMParams, MemberSpec, XGBoostParams
    from quant_pipeline.core.models.samples import FloatArray

    type Predictor = Callable[[FloatArray], FloatArray]


class _LightGBMBooster(Protocol):
    """What we use of `lightgbm.Booster`, which comes without types."""

    def model_to_string(self, *, num_iteration: int, importance_type: str) -> str: ...


class _XGBoostBooster(Protocol):
    """What we use of `xgboost.Booster`, which comes without types."""

    def set_attr(self, **attributes: str | None) -> None: ...

    def save_raw(self, raw_format: str) -> bytearray: ...


_LIGHTGBM_THREADS = re.compile(r"^\[num_threads: -?\d+\]$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Rows:
    """Features float64[n, k] and (clipped) targets float64[n] of one part."""

    x: FloatArray
    y: FloatArray


@dataclass(frozen=True, slots=True)
class Fitted:
    """A booster as native, normalised bytes, and the number of rounds it keeps."""

    data: bytes
    rounds: int


def fit_member(spec: MemberSpec, params: EnsembleParams, train: Rows, validation: Rows, threads: int) -> Fitted:
    """Train one booster with early stopping on `validation`; equal inputs give equal bytes for any thread count."""
    fit = _fit_lightgbm if spec.family == "lightgbm" else _fit_xgboost
    return fit(_settings(spec, params, threads), params, train, validation)


def continue_member(
    spec: MemberSpec, params: EnsembleParams, data: bytes, rows: Rows, rounds: int, threads: int
) -> Fitted:
    """Add `rounds` trees, fitted on `rows`, to a trained booster."""
    go_on = _continue_lightgbm if spec.family == "lightgbm" else _continue_xgboost
    return go_on(_settings(spec, params, threads), data, rows, rounds)


def predictor(family: Family, data: bytes) -> Predictor:
    """Load a native booster: a function float64[n, k] -> float64[n] that uses one thread.

    Raises ValueError when the library cannot read the bytes.
    """
    return _lightgbm_predictor(data) if family == "lightgbm" else _xgboost_predictor(data)


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that read and write the native files."""
    import lightgbm as lgb
    import xgboost as xgb

    return {"lightgbm": str(lgb.__version__), "xgboost": str(xgb.__version__)}


def _settings(spec: MemberSpec, params: EnsembleParams, threads: int) -> dict[str, Any]:
    if spec.family == "lightgbm":
        return _lightgbm_settings(params.lightgbm, spec.seed, threads)
    return _xgboost_settings(params.xgboost, spec.seed, threads)


def _lightgbm_settings(params: LightGBMParams, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "regression",
        "metric": "rmse",
        "learning_rate": params.learning_rate,
        "num_leaves": params.num_leaves,
        "max_depth": params.max_depth,
        "min_data_in_leaf": params.min_child_samples,
        "feature_fraction": params.feature_fraction,
        "bagging_fraction": params.bagging_fraction,
        "bagging_freq": 1,
        "lambda_l1": params.lambda_l1,
        "lambda_l2": params.lambda_l2,
        "seed": seed,
        "deterministic": True,
        "force_row_wise": True,
        "num_threads": threads,
        "verbosity": -1,
    }


def _fit_lightgbm(settings: dict[str, Any], params: EnsembleParams, train: Rows, validation: Rows) -> Fitted:
    import lightgbm as lgb

    data = lgb.Dataset(train.x, train.y, params=settings)
    check = lgb.Dataset(validation.x, validation.y, reference=data, params=settings)
    stop = lgb.early_stopping(params.early_stopping_rounds, verbose=False)
    booster = lgb.train(settings, data, params.lightgbm.rounds, valid_sets=[check], callbacks=[stop])
    best = booster.best_iteration if booster.best_iteration > 0 else booster.current_iteration()
    return Fitted(_lightgbm_bytes(booster, best), best)


def _continue_lightgbm(settings: dict[str, Any], data: bytes, rows: Rows, rounds: int) -> Fitted:
    import lightgbm as lgb

    base = lgb.Booster(model_str=data.decode())
    booster = lgb.train(settings, lgb.Dataset(rows.x, rows.y, params=settings), rounds, init_model=base)
    total = booster.current_iteration()
    return Fitted(_lightgbm_bytes(booster, total), total)


def _lightgbm_bytes(booster: _LightGBMBooster, rounds: int) -> bytes:
    """Return the model text with a fixed thread count, the one line in which runs differ; prediction ignores it."""
    text = booster.model_to_string(num_iteration=rounds, importance_type="split")
    return _LIGHTGBM_THREADS.sub("[num_threads: 1]", text).encode()


def _lightgbm_predictor(data: bytes) -> Predictor:
    import lightgbm as lgb

    try:
        booster = lgb.Booster(model_str=data.decode())
    except (lgb.basic.LightGBMError, UnicodeDecodeError) as error:
        msg = f"LightGBM cannot read the member: {error}"
        raise ValueError(msg) from error
    return lambda x: np.asarray(booster.predict(x, num_threads=1), dtype=np.float64)


def _xgboost_settings(params: XGBoostParams, seed: int, threads: int) -> dict[str, Any]:
    return {
        "objective": "reg:squarederror",
        "eval_metric": "rmse",
        "tree_method": "hist",
        "device": "cpu",
        "learning_rate": params.learning_rate,
        "max_depth": params.max_depth,
        "subsample": params.subsample,
        "colsample_bytree": params.colsample_bytree,
        "gamma": params.gamma,
        "min_child_weight": params.min_child_weight,
        "reg_alpha": params.reg_alpha,
        "reg_lambda": params.reg_lambda,
        "seed": seed,
        "nthread": threads,
        "verbosity": 0,
    }


def _fit_xgboost(settings: dict[str, Any], params: EnsembleParams, train: Rows, validation: Rows) -> Fitted:
    import xgboost as xgb

    threads = settings["nthread"]
    data = xgb.QuantileDMatrix(train.x, train.y, nthread=threads)
    check = xgb.QuantileDMatrix(validation.x, validation.y, ref=data, nthread=threads)
    booster = xgb.train(
        settings,
        data,
        params.xgboost.rounds,
        evals=[(check, "validation")],
        early_stopping_rounds=params.early_stopping_rounds,
        verbose_eval=False,
    )
    best = booster.best_iteration + 1
    return Fitted(_xgboost_bytes(booster[:best]), best)


def _continue_xgboost(settings: dict[str, Any], data: bytes, rows: Rows, rounds: int) -> Fitted:
    import xgboost as xgb

    base = xgb.Booster(model_file=bytearray(data))
    matrix = xgb.QuantileDMatrix(rows.x, rows.y, nthread=settings["nthread"])
    booster = xgb.train(settings, matrix, rounds, xgb_model=base, verbose_eval=False)
    return Fitted(_xgboost_bytes(booster), booster.num_boosted_rounds())


def _xgboost_bytes(booster: _XGBoostBooster) -> bytes:
    """Return the model as UBJSON without the attributes of early stopping: they describe rounds cut away."""
    booster.set_attr(best_iteration=None, best_score=None)
    return bytes(booster.save_raw(raw_format="ubj"))


def _xgboost_predictor(data: bytes) -> Predictor:
    import xgboost as xgb

    try:
        booster = xgb.Booster(params={"nthread": 1}, model_file=bytearray(data))
    except (xgb.core.XGBoostError, ValueError) as error:
        msg = f"XGBoost cannot read the member: {error}"
        raise ValueError(msg) from error
    return lambda x: np.asarray(booster.inplace_predict(x), dtype=np.float64)
