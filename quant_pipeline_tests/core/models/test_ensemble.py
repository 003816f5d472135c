from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from quant_pipeline.core.models.acceptance import accept
from quant_pipeline.core.models.bundle import bundle_hash, member_hashes, pack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.params import DEFAULT_MEMBERS, MemberSpec, SplitSpec
from quant_pipeline.core.models.samples import NotEnoughRowsError, split_samples
from quant_pipeline.core.models.trained import Horizon
from quant_pipeline_tests.core.models.synthetic import DAILY, FEATURES, make_samples, with_targets

_IN_ANOTHER_PROCESS = """
import json, sys
from quant_pipeline.core.models.bundle import bundle_hash, member_hashes, pack
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline_tests.core.models.synthetic import DAILY, FEATURES, make_samples

trained = train_ensemble(make_samples(), FEATURES, DAILY, threads=int(sys.argv[1]))
sys.stdout.write(json.dumps([bundle_hash(pack(trained)), member_hashes(trained)]))
"""


def test_default_members_are_two_families_with_two_seeds_each() -> None:
    assert [(m.name, m.family, m.seed) for m in DEFAULT_MEMBERS] == [
        ("lgbm_1", "lightgbm", 42),
        ("lgbm_2", "lightgbm", 84),
        ("xgb_1", "xgboost", 42),
        ("xgb_2", "xgboost", 84),
    ]


def test_a_real_signal_is_found_and_accepted() -> None:
    trained = train_ensemble(make_samples(), FEATURES, DAILY)

    assert accept(trained.metrics) == (True, ())
    assert trained.metrics["holdout_correlation"] > 0.3
    assert trained.metrics["holdout_rmse"] < trained.metrics["baseline_hold_rmse"]
    assert trained.metrics["distinct_members"] == 4


def test_noise_is_rejected_but_still_gives_an_ensemble() -> None:
    outcomes = [train_ensemble(make_samples(seed=seed, signal=0.0), FEATURES, DAILY) for seed in range(6)]

    assert not all(accept(trained.metrics)[0] for trained in outcomes)
    assert all(len(trained.members) == 4 for trained in outcomes)


def test_one_and_two_threads_give_the_same_bytes() -> None:
    samples = make_samples(900)

    assert pack(train_ensemble(samples, FEATURES, DAILY)) == pack(train_ensemble(samples, FEATURES, DAILY, threads=2))


@pytest.mark.slow
def test_separate_processes_give_the_same_bytes_whatever_their_threads_and_hash_seed() -> None:
    here = train_ensemble(make_samples(), FEATURES, DAILY)
    root = Path(__file__).parents[3]
    found = [_train_elsewhere(root, threads, hash_seed) for threads, hash_seed in ((1, "1"), (2, "2"))]

    assert found == [[bundle_hash(pack(here)), member_hashes(here)]] * 2


def test_ensembles_trained_side_by_side_in_threads_are_those_trained_alone() -> None:
    def train(seed: int) -> bytes:
        return pack(train_ensemble(make_samples(300, seed=seed), FEATURES, DAILY))

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(train, range(8)))

    assert together == [train(seed) for seed in range(8)]


def test_a_trained_ensemble_travels_between_processes() -> None:
    trained = train_ensemble(make_samples(), FEATURES, DAILY)

    assert pickle.loads(pickle.dumps(trained)) == trained


def _train_elsewhere(root: Path, threads: int, hash_seed: str) -> list[object]:
    environment = os.environ | {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": str(root), "OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", _IN_ANOTHER_PROCESS, str(threads)]
    done = subprocess.run(command, env=environment, cwd=root, capture_output=True, check=True, timeout=120)
    answer: list[object] = json.loads(done.stdout)
    return answer


def test_members_differ_by_seed_and_not_by_name() -> None:
    members = (MemberSpec("a", "lightgbm", 1), MemberSpec("b", "lightgbm", 2), MemberSpec("c", "lightgbm", 1))

    trained = train_ensemble(make_samples(), FEATURES, DAILY, members=members)

    assert trained.groups == (0, 1, 0)
    assert trained.members[0].data == trained.members[2].data
    assert trained.metrics["distinct_members"] == 2


def test_nothing_of_the_holdout_reaches_the_members() -> None:
    samples = make_samples()
    holdout = split_samples(samples, SplitSpec()).holdout
    y, x = samples.y.copy(), samples.x.copy()
    y[holdout] = 50.0 * np.arange(len(holdout))
    x[holdout] = -7.0

    before = train_ensemble(samples, FEATURES, DAILY)
    after = train_ensemble(replace(samples, x=x, y=y), FEATURES, DAILY)

    assert [m.data for m in after.members] == [m.data for m in before.members]
    assert after.clip == before.clip
    assert after.metrics["holdout_rmse"] > 1.0
    assert after.residuals != before.residuals


def test_clip_bounds_come_from_the_train_part_alone() -> None:
    samples = make_samples()
    split = split_samples(samples, SplitSpec())
    y = samples.y.copy()
    y[split.validation] = 9.0
    y[split.holdout] = -9.0

    trained = train_ensemble(with_targets(samples, y), FEATURES, DAILY)

    assert trained.clip == tuple(np.quantile(samples.y[split.train], (0.02, 0.98)))


def test_an_outlier_in_training_is_clipped_before_fitting() -> None:
    samples = make_samples()
    tame, wild = samples.y.copy(), samples.y.copy()
    top = int(
        split_samples(samples, SplitSpec()).train[np.argmax(samples.y[split_samples(samples, SplitSpec()).train])]
    )
    tame[top], wild[top] = 1.0, 1000.0

    first = train_ensemble(with_targets(samples, tame), FEATURES, DAILY)
    second = train_ensemble(with_targets(samples, wild), FEATURES, DAILY)

    assert [m.data for m in first.members] == [m.data for m in second.members]


@pytest.mark.parametrize("horizon", [1, 5])
def test_purged_rows_have_no_influence(horizon: int) -> None:
    samples = make_samples(horizon=horizon)
    spec = SplitSpec(embargo=horizon)
    split = split_samples(samples, spec)
    used = np.concatenate([split.train, split.validation, split.holdout])
    purged = np.setdiff1d(np.arange(len(samples)), used)
    y = samples.y.copy()
    y[purged] = 3.0
    ahead = Horizon(horizon, "1d")

    before = train_ensemble(samples, FEATURES, ahead)
    after = train_ensemble(with_targets(samples, y), FEATURES, ahead)

    assert len(purged) >= 2 * horizon
    assert [m.data for m in after.members] == [m.data for m in before.members]


def test_rows_of_train_and_validation_do_have_influence() -> None:
    samples = make_samples()
    split = split_samples(samples, SplitSpec())
    before = [m.data for m in train_ensemble(samples, FEATURES, DAILY).members]

    for part in (split.train, split.validation):
        y = samples.y.copy()
        y[part] = -y[part]
        assert [m.data for m in train_ensemble(with_targets(samples, y), FEATURES, DAILY).members] != before


def test_a_feature_that_leaks_the_future_of_the_holdout_only_is_of_no_use() -> None:
    samples = make_samples(signal=0.0, seed=3)
    holdout = split_samples(samples, SplitSpec()).holdout
    x = samples.x.copy()
    x[holdout, 5] = samples.y[holdout] * 100

    trained = train_ensemble(replace(samples, x=x), FEATURES, DAILY)

    assert trained.metrics["holdout_correlation"] < 0.5


def test_windows_say_what_was_used() -> None:
    samples = make_samples()

    trained = train_ensemble(samples, FEATURES, DAILY)

    assert trained.windows["train"].first == "2022-01-03T21:00:00Z"
    assert trained.windows["train"].last < trained.windows["validation"].first
    assert trained.windows["validation"].last < trained.windows["holdout"].first
    assert trained.known_until == "2023-04-28T21:00:00Z"
    assert trained.windows["holdout"].rows == trained.metrics["holdout_rows"] == 96


def test_lightgbm_files_do_not_name_the_thread_count_they_were_made_with() -> None:
    trained = train_ensemble(make_samples(), FEATURES, DAILY, threads=2)

    assert b"[num_threads: 1]" in trained.members[0].data
    assert b"[num_threads: 2]" not in trained.members[0].data


def test_requests_that_do_not_fit_are_refused() -> None:
    samples = make_samples()
    with pytest.raises(ValueError, match="samples have columns"):
        train_ensemble(samples, replace(FEATURES, columns=("a",)), DAILY)
    with pytest.raises(ValueError, match="at least two with different names"):
        train_ensemble(samples, FEATURES, DAILY, members=DEFAULT_MEMBERS[:1])
    with pytest.raises(ValueError, match="at least two with different names"):
        train_ensemble(samples, FEATURES, DAILY, members=(DEFAULT_MEMBERS[0], DEFAULT_MEMBERS[0]))
    with pytest.raises(NotEnoughRowsError):
        train_ensemble(make_samples(80), FEATURES, DAILY)


def test_hashes_are_those_of_the_native_files() -> None:
    trained = train_ensemble(make_samples(), FEATURES, DAILY)

    assert member_hashes(trained)["xgb_1"] == hashlib.sha256(trained.members[2].data).hexdigest()
