from __future__ import annotations

import pickle
from dataclasses import replace

import numpy as np
import pytest

from quant_pipeline.core.models.params import EnsembleParams, Family, SplitSpec
from quant_pipeline.core.models.samples import NotEnoughRowsError, split_samples
from quant_pipeline.core.models.tuning import DEFAULT_SPACES, Dimension, make_objective, starting_point
from quant_pipeline_tests.core.models.synthetic import make_samples, with_targets

FAMILIES: tuple[Family, ...] = ("lightgbm", "xgboost")


@pytest.mark.parametrize("family", FAMILIES)
def test_the_starting_point_lies_in_the_space_and_can_be_tried(family: Family) -> None:
    space = DEFAULT_SPACES[family]

    start = starting_point(space, family, EnsembleParams())

    assert [d.name for d in space] == list(start)
    assert all(d.low <= start[d.name] <= d.high for d in space)
    assert 0.0 < make_objective(make_samples(), family, SplitSpec())(start) < 0.1


@pytest.mark.parametrize("family", FAMILIES)
def test_the_value_of_a_trial_knows_nothing_of_the_acceptance_holdout(family: Family) -> None:
    samples = make_samples()
    y = samples.y.copy()
    y[split_samples(samples, SplitSpec()).holdout] = 1e6
    start = starting_point(DEFAULT_SPACES[family], family, EnsembleParams())

    plain = make_objective(samples, family, SplitSpec())(start)
    changed = make_objective(with_targets(samples, y), family, SplitSpec())(start)

    assert plain == changed


def test_scored_rows_are_neither_fitted_nor_used_to_stop() -> None:
    objective = make_objective(make_samples(), "lightgbm", SplitSpec())
    scored = split_samples(objective.samples, objective.split).holdout
    y = objective.samples.y.copy()
    y[scored] += 1.0
    start = starting_point(DEFAULT_SPACES["lightgbm"], "lightgbm", EnsembleParams())

    moved = replace(objective, samples=with_targets(objective.samples, y))

    assert moved(start) == pytest.approx(1.0, abs=0.05)


def test_an_objective_travels_to_another_process() -> None:
    objective = make_objective(make_samples(), "xgboost", SplitSpec())
    start = starting_point(DEFAULT_SPACES["xgboost"], "xgboost", EnsembleParams())

    assert pickle.loads(pickle.dumps(objective))(start) == objective(start)


def test_better_parameters_have_a_smaller_value() -> None:
    objective = make_objective(make_samples(), "lightgbm", SplitSpec(), params=EnsembleParams())

    good = objective({"learning_rate": 0.05, "min_child_samples": 10})
    useless = objective({"learning_rate": 0.05, "min_child_samples": 5000})

    assert good < useless


def test_too_short_a_history_is_refused_before_the_first_trial() -> None:
    with pytest.raises(NotEnoughRowsError):
        make_objective(make_samples(100), "lightgbm", SplitSpec())


def test_values_are_moved_into_the_range() -> None:
    assert Dimension("a", 1e-8, 1.0, log=True).clip(0.0) == 1e-8
    assert Dimension("a", 4, 10, integer=True).clip(11.2) == 10
    with pytest.raises(ValueError, match="search range of a"):
        Dimension("a", 0.0, 1.0, log=True)
    with pytest.raises(ValueError, match="search range of a"):
        Dimension("a", 2.0, 1.0)


def test_spaces_are_those_of_the_requirements() -> None:
    ranges = {f: {d.name: (d.low, d.high) for d in DEFAULT_SPACES[f]} for f in FAMILIES}

    assert ranges["lightgbm"] == {
        "learning_rate": (0.01, 0.1),
        "num_leaves": (10, 50),
        "max_depth": (4, 10),
        "min_child_samples": (5, 40),
        "feature_fraction": (0.6, 1.0),
        "bagging_fraction": (0.6, 1.0),
    }
    assert ranges["xgboost"]["gamma"] == (1e-8, 5.0)
    assert ranges["xgboost"]["learning_rate"] == (0.01, 0.08)
    assert np.all([low < high for low, high in ranges["xgboost"].values()])
