from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.models.params import SplitSpec
from quant_pipeline.core.models.samples import NotEnoughRowsError, Samples, before_holdout, split_samples
from quant_pipeline_tests.core.models.synthetic import COLUMNS, DAY, make_samples

LENIENT = SplitSpec(min_train=1, min_validation=1, min_holdout=1)


@given(
    rows=st.integers(200, 400),
    horizon=st.integers(1, 8),
    embargo=st.integers(0, 8),
    validation=st.floats(0.1, 0.3),
    holdout=st.floats(0.1, 0.3),
)
def test_no_target_of_a_part_reaches_into_the_next_part(
    rows: int, horizon: int, embargo: int, validation: float, holdout: float
) -> None:
    samples = make_samples(rows, horizon=horizon)
    spec = replace(LENIENT, validation=validation, holdout=holdout, embargo=embargo)

    split = split_samples(samples, spec)

    for earlier, later in ((split.train, split.validation), (split.validation, split.holdout)):
        begins = int(np.searchsorted(samples.known_at, samples.known_at[later].min()))
        assert samples.target_at[earlier].max() <= samples.known_at[begins - embargo]
        assert begins - earlier.max() == horizon + embargo
    assert split.holdout.max() == rows - 1


def test_all_rows_of_one_decision_time_fall_on_the_same_side_when_symbols_are_pooled() -> None:
    one, two = make_samples(200, seed=1), make_samples(200, seed=2)
    order = np.argsort(np.concatenate([one.known_at, two.known_at]), kind="stable")
    pooled = Samples(
        np.concatenate([one.x, two.x])[order],
        np.concatenate([one.y, two.y])[order],
        np.concatenate([one.known_at, two.known_at])[order],
        np.concatenate([one.target_at, two.target_at])[order],
        COLUMNS,
        np.repeat([0, 1], 200)[order],
    )

    split = split_samples(pooled, SplitSpec())

    parts = [set(pooled.known_at[rows]) for rows in (split.train, split.validation, split.holdout)]
    assert not parts[0] & parts[1]
    assert not parts[1] & parts[2]
    assert len(split.holdout) == 2 * len(parts[2])


def test_tuning_rows_end_before_the_holdout_with_their_targets() -> None:
    samples = make_samples(300, horizon=3)
    spec = SplitSpec(embargo=3)

    seen = before_holdout(samples, spec)

    assert seen.target_at.max() <= samples.known_at[split_samples(samples, spec).holdout[0]]


def test_too_short_a_history_is_refused_with_the_part_and_the_numbers() -> None:
    with pytest.raises(NotEnoughRowsError, match=r"\d+ train rows of 120 are left, 100 are needed"):
        split_samples(make_samples(120), SplitSpec())
    with pytest.raises(NotEnoughRowsError, match="3 decision times cannot be cut"):
        split_samples(make_samples(3), LENIENT)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": np.zeros(3)}, "do not fit together"),
        ({"columns": COLUMNS[:-1]}, "do not fit together"),
        ({"group": np.zeros(3, dtype=np.int64)}, "do not fit together"),
        ({"y": np.full(50, np.inf)}, "50 of 50 targets are not finite"),
        ({"known_at": np.full(50, np.datetime64("NaT"), dtype="datetime64[ns]")}, "a time is missing"),
        ({"known_at": make_samples(50).known_at[::-1]}, "must not go back in time"),
        ({"target_at": make_samples(50).known_at}, "later than its known_at"),
    ],
)
def test_unsound_samples_are_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(make_samples(50), **change)


def test_a_feature_that_is_not_finite_is_named() -> None:
    samples = make_samples(50)
    x = samples.x.copy()
    x[3:5, 2] = np.nan
    x[7, 4] = np.inf

    with pytest.raises(ValueError, match=r"\{'rsi': 2, 'volume_ratio': 1\}"):
        replace(samples, x=x)


@pytest.mark.parametrize("change", [{"validation": 0.0}, {"holdout": 1.0}, {"validation": 0.6, "holdout": 0.5}])
def test_split_shares_that_leave_nothing_are_refused(change: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="must be shares"):
        SplitSpec(**change)  # type: ignore[arg-type]


def test_rows_taken_keep_their_times() -> None:
    samples = make_samples(10)

    taken = samples.take(np.array([2, 5]))

    assert len(taken) == 2
    assert taken.known_at[1] - taken.known_at[0] == 3 * DAY
