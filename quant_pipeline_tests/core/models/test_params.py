from __future__ import annotations

from dataclasses import replace

import pytest

from quant_pipeline.core.models.params import EnsembleParams, LightGBMParams, MemberSpec, XGBoostParams, with_tuned


def test_tuned_values_are_put_in_with_the_type_of_the_field() -> None:
    params = with_tuned(EnsembleParams(), "lightgbm", {"num_leaves": 31.0, "learning_rate": 0.02})

    assert params.lightgbm == replace(LightGBMParams(), num_leaves=31, learning_rate=0.02)
    assert isinstance(params.lightgbm.num_leaves, int)
    assert params.xgboost == XGBoostParams()


def test_an_unknown_hyper_parameter_is_named() -> None:
    with pytest.raises(ValueError, match=r"xgboost has no hyper-parameter \['num_leaves'\]"):
        with_tuned(EnsembleParams(), "xgboost", {"num_leaves": 31})


def test_the_digest_follows_the_content() -> None:
    params = EnsembleParams()

    assert params.digest() == EnsembleParams().digest()
    assert params.digest() != with_tuned(params, "xgboost", {"max_depth": 4}).digest()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"clip": (0.9, 0.1)}, "clip quantiles"),
        ({"spread_scale": 0.0}, "spread_scale"),
        ({"early_stopping_rounds": 0}, "early_stopping_rounds"),
    ],
)
def test_meaningless_parameters_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        EnsembleParams(**change)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("name", "family", "seed", "message"),
    [
        ("a", "catboost", 1, "family 'catboost' is unknown, use one of lightgbm, xgboost"),
        ("../a", "lightgbm", 1, "must be made of ASCII letters"),
        ("", "lightgbm", 1, "must be made of ASCII letters"),
        ("a", "lightgbm", -1, "seed -1"),
    ],
)
def test_members_that_cannot_be_trained_or_stored_are_refused(name: str, family: str, seed: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        MemberSpec(name, family, seed)  # type: ignore[arg-type]
