from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_pipeline.core.models.bundle import BundleError, bundle_hash, pack
from quant_pipeline.core.models.ensemble import predict_members, train_ensemble
from quant_pipeline.core.models.loaded import LoadedEnsemble, load_members, predict
from quant_pipeline.core.models.opinion import QUANTILES
from quant_pipeline.core.models.params import SplitSpec
from quant_pipeline.core.models.samples import split_samples
from quant_pipeline.core.models.trained import TrainedEnsemble
from quant_pipeline_tests.core.models.synthetic import COLUMNS, DAILY, FEATURES, make_samples


@pytest.fixture(scope="module")
def trained() -> TrainedEnsemble:
    return train_ensemble(make_samples(), FEATURES, DAILY)


@pytest.fixture(scope="module")
def loaded(trained: TrainedEnsemble) -> LoadedEnsemble:
    data = pack(trained)
    return load_members(data, bundle_hash(data))


def test_a_loaded_ensemble_predicts_what_the_trained_one_did(trained: TrainedEnsemble, loaded: LoadedEnsemble) -> None:
    samples = make_samples()
    expected = predict_members([m.family for m in trained.members], [m.data for m in trained.members], samples.x)

    assert np.array_equal(predict(loaded, samples.x, columns=COLUMNS).members, expected)


def test_every_row_alone_equals_the_batch_byte_for_byte(loaded: LoadedEnsemble) -> None:
    x = make_samples(40, seed=99).x
    batch = predict(loaded, x, columns=COLUMNS)

    for row in range(len(x)):
        alone = predict(loaded, x[row : row + 1], columns=COLUMNS)
        for name in batch.__slots__:
            assert getattr(batch, name)[row].tobytes() == getattr(alone, name)[0].tobytes(), name


def test_opinions_have_the_documented_shape(loaded: LoadedEnsemble) -> None:
    opinions = predict(loaded, make_samples(5, seed=3).x, columns=COLUMNS)

    assert len(opinions) == 5
    assert opinions.members.shape == (5, 4)
    assert opinions.quantiles.shape == (5, len(QUANTILES))
    assert opinions.usable.tolist() == [4] * 5
    assert np.allclose(opinions.expected_return, opinions.members.mean(axis=1))


def test_predicted_quantiles_hold_on_the_holdout(loaded: LoadedEnsemble) -> None:
    samples = make_samples()
    rows = split_samples(samples, SplitSpec()).holdout
    opinions = predict(loaded, samples.x[rows], columns=COLUMNS)

    below = (samples.y[rows, None] <= opinions.quantiles).mean(axis=0)

    assert below == pytest.approx(np.array(QUANTILES), abs=0.03)
    up = samples.y[rows] > 0
    assert opinions.p_up[up].mean() > opinions.p_up[~up].mean()


def test_a_row_with_a_missing_feature_gets_no_opinion_and_leaves_its_neighbours_alone(loaded: LoadedEnsemble) -> None:
    x = make_samples(3, seed=5).x
    clean = predict(loaded, x, columns=COLUMNS)
    x[1, 4] = np.nan

    opinions = predict(loaded, x, columns=COLUMNS)

    assert opinions.too_few.tolist() == [False, True, False]
    assert opinions.confidence[1] == 0.0
    assert np.isnan(opinions.expected_return[1])
    assert np.array_equal(opinions.expected_return[[0, 2]], clean.expected_return[[0, 2]])


def test_a_member_that_answers_nonsense_is_not_counted(loaded: LoadedEnsemble) -> None:
    broken = replace(loaded, predictors=(lambda x: np.full(len(x), np.inf), *loaded.predictors[1:]))

    opinions = predict(broken, make_samples(4).x, columns=COLUMNS)

    assert opinions.usable.tolist() == [3] * 4
    assert np.all(opinions.confidence <= 0.75)


def test_one_member_left_is_too_few(loaded: LoadedEnsemble) -> None:
    silent = tuple((lambda x: np.full(len(x), np.nan)) for _ in range(3))

    opinions = predict(replace(loaded, predictors=(loaded.predictors[0], *silent)), make_samples(4).x, columns=COLUMNS)

    assert opinions.too_few.all()
    assert not opinions.confidence.any()


def test_constant_targets_leave_identical_members_that_give_no_opinion() -> None:
    samples = make_samples()
    data = pack(train_ensemble(replace(samples, y=np.zeros(len(samples))), FEATURES, DAILY))

    opinions = predict(load_members(data, bundle_hash(data)), samples.x[:2], columns=COLUMNS)

    assert opinions.too_few.all()
    assert not opinions.confidence.any()


def test_features_in_another_order_are_refused(loaded: LoadedEnsemble) -> None:
    with pytest.raises(ValueError, match="are not those of seed8 1 of this model"):
        predict(loaded, make_samples(2).x, columns=COLUMNS[::-1])
    with pytest.raises(ValueError, match=r"shape \(2, 7\), expected \(rows, 8\)"):
        predict(loaded, make_samples(2).x[:, :7], columns=COLUMNS)


def test_no_rows_give_no_opinions(loaded: LoadedEnsemble) -> None:
    assert len(predict(loaded, np.empty((0, 8)), columns=COLUMNS)) == 0


def test_bytes_under_another_hash_are_not_loaded(trained: TrainedEnsemble) -> None:
    with pytest.raises(BundleError, match="was asked for"):
        load_members(pack(trained), "f" * 64)


def test_a_member_its_library_cannot_read_is_named(trained: TrainedEnsemble) -> None:
    for position, library in ((0, "LightGBM"), (2, "XGBoost")):
        members = list(trained.members)
        members[position] = replace(members[position], data=b"tree\nnonsense")
        data = pack(replace(trained, members=tuple(members)))
        with pytest.raises(BundleError, match=f"{library} cannot read the member"):
            load_members(data, bundle_hash(data))


def test_nothing_in_the_package_can_unpickle() -> None:
    folder = Path(__file__).parents[3] / "quant_pipeline" / "core" / "models"
    sources = "\n".join(path.read_text() for path in folder.glob("*.py"))

    assert not any(word in sources for word in ("import pickle", "joblib", "cloudpickle", "eval(", "allow_pickle=True"))
