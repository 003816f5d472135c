from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quant_pipeline.core.models.acceptance import accept_update
from quant_pipeline.core.models.bundle import bundle_hash, pack, unpack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.samples import NotEnoughRowsError, Samples
from quant_pipeline.core.models.trained import TrainedEnsemble
from quant_pipeline.core.models.update import UpdateSpec, fine_tune
from quant_pipeline_tests.core.models.synthetic import DAILY, FEATURES, make_samples, with_targets

BASE_ROWS = 480


@pytest.fixture(scope="module")
def history() -> Samples:
    """Rows of which the first 480 train the base and the newest 120 came later; the signal turned round meanwhile."""
    samples = make_samples(600)
    y = samples.y.copy()
    y[BASE_ROWS:] = -y[BASE_ROWS:]
    return with_targets(samples, y)


@pytest.fixture(scope="module")
def base(history: Samples) -> TrainedEnsemble:
    return train_ensemble(history.take(np.arange(BASE_ROWS)), FEATURES, DAILY)


@pytest.fixture(scope="module")
def base_hash(base: TrainedEnsemble) -> str:
    return bundle_hash(pack(base))


def newest(history: Samples, rows: int) -> Samples:
    return history.take(np.arange(len(history) - rows, len(history)))


def test_trees_are_added_to_every_member(history: Samples, base: TrainedEnsemble, base_hash: str) -> None:
    tuned = fine_tune(base, base_hash, newest(history, 120), spec=UpdateSpec(rounds=7))

    assert [m.rounds - b.rounds for m, b in zip(tuned.members, base.members, strict=True)] == [7] * 4
    assert [m.spec for m in tuned.members] == [m.spec for m in base.members]
    assert tuned.base == base_hash
    assert tuned.clip == base.clip
    assert tuned.known_until == "2023-08-26T21:00:00Z"


def test_a_turned_market_is_learned_and_accepted(history: Samples, base: TrainedEnsemble, base_hash: str) -> None:
    tuned = fine_tune(base, base_hash, newest(history, 120), spec=UpdateSpec(rounds=20))

    assert tuned.metrics["holdout_rmse"] < tuned.metrics["base_rmse"]
    assert accept_update(tuned.metrics) == (True, ())


def test_learning_noise_is_rejected(base: TrainedEnsemble, base_hash: str) -> None:
    recent = newest(make_samples(600), 120)
    shuffled = np.random.default_rng(1).permutation(recent.y[:80])
    noisy = with_targets(recent, np.concatenate([shuffled * 5, recent.y[80:]]))

    tuned = fine_tune(base, base_hash, noisy, spec=UpdateSpec(rounds=60))

    accepted, reasons = accept_update(tuned.metrics)
    assert not accepted
    assert "is above the base model's" in reasons[0]


def test_an_update_is_the_same_for_any_thread_count_and_goes_through_a_bundle(
    history: Samples, base: TrainedEnsemble, base_hash: str
) -> None:
    one = fine_tune(base, base_hash, newest(history, 120))
    two = fine_tune(unpack(pack(base)), base_hash, newest(history, 120), threads=2)

    assert pack(one) == pack(two)
    assert unpack(pack(one)) == one


def test_rows_judged_on_have_no_influence_on_the_members(
    history: Samples, base: TrainedEnsemble, base_hash: str
) -> None:
    recent = newest(history, 120)
    y = recent.y.copy()
    y[-30:] = 4.0

    before = fine_tune(base, base_hash, recent)
    after = fine_tune(base, base_hash, with_targets(recent, y))

    assert [m.data for m in before.members] == [m.data for m in after.members]
    assert after.metrics["holdout_rmse"] > 1.0


def test_the_base_stays_as_it_was(history: Samples, base: TrainedEnsemble, base_hash: str) -> None:
    fine_tune(base, base_hash, newest(history, 120))

    assert bundle_hash(pack(base)) == base_hash


def test_rows_the_base_may_have_learned_cannot_judge_it(base: TrainedEnsemble, base_hash: str) -> None:
    with pytest.raises(NotEnoughRowsError, match="before the base's hold-out"):
        fine_tune(base, base_hash, make_samples(300))


def test_too_few_recent_rows_are_refused(history: Samples, base: TrainedEnsemble, base_hash: str) -> None:
    with pytest.raises(NotEnoughRowsError, match="14 rows to learn from and 5 to judge on"):
        fine_tune(base, base_hash, newest(history, 20))


def test_foreign_columns_and_empty_updates_are_refused(history: Samples, base: TrainedEnsemble, base_hash: str) -> None:
    renamed = replace(newest(history, 120), columns=tuple("abcdefgh"))
    with pytest.raises(ValueError, match="samples have columns"):
        fine_tune(base, base_hash, renamed)
    with pytest.raises(ValueError, match="rounds 0 must be at least 1"):
        UpdateSpec(rounds=0)
    with pytest.raises(ValueError, match="check_share"):
        UpdateSpec(check_share=1.0)
