from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from quant_pipeline.core.models.acceptance import (
    accept,
    accept_update,
    calibration,
    correlation,
    direction_accuracy,
    evaluate,
    last_known,
)
from quant_pipeline.core.models.opinion import combine
from quant_pipeline.core.models.params import AcceptanceRule
from quant_pipeline_tests.core.models.synthetic import make_samples

GOOD = {"holdout_direction_accuracy": 0.56, "holdout_correlation": 0.08}


def test_both_figures_above_their_bounds_are_accepted() -> None:
    assert accept(GOOD) == (True, ())


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"holdout_direction_accuracy": 0.5}, "holdout_direction_accuracy 0.5000 is not above 0.5"),
        ({"holdout_correlation": 0.0}, "holdout_correlation 0.0000 is not above 0"),
        ({"holdout_correlation": -0.2}, "holdout_correlation -0.2000 is not above 0"),
    ],
)
def test_a_figure_on_its_bound_is_rejected_with_its_reason(change: dict[str, float], reason: str) -> None:
    assert accept(GOOD | change) == (False, (reason,))


def test_an_undefined_correlation_is_a_reason_of_its_own() -> None:
    accepted, reasons = accept({"holdout_direction_accuracy": 0.6})

    assert not accepted
    assert reasons == ("holdout_correlation is not defined (constant predictions or returns)",)


def test_every_reason_is_listed_and_the_rule_can_be_stricter() -> None:
    accepted, reasons = accept(GOOD, AcceptanceRule(direction_above=0.6, correlation_above=0.1))

    assert not accepted
    assert len(reasons) == 2


def test_an_update_must_not_be_worse_than_its_base() -> None:
    assert accept_update({"holdout_rmse": 0.01, "base_rmse": 0.01})[0]
    accepted, reasons = accept_update({"holdout_rmse": 0.02, "base_rmse": 0.01})
    assert not accepted
    assert "0.020000 is above the base model's 0.010000" in reasons[0]


def test_direction_ignores_days_that_did_not_move_and_counts_no_opinion_as_wrong() -> None:
    expected = np.array([0.1, -0.1, 0.0, 0.1])
    actual = np.array([0.2, -0.3, 0.1, 0.0])

    assert direction_accuracy(expected, actual) == pytest.approx(2 / 3)
    assert direction_accuracy(expected[3:], actual[3:]) is None


def test_correlation_equals_numpys_and_is_undefined_for_a_constant() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.normal(size=50), rng.normal(size=50)

    assert correlation(a, b) == pytest.approx(np.corrcoef(a, b)[0, 1])
    assert correlation(np.full(50, 0.1), b) is None


def test_the_last_known_return_is_the_one_whose_target_was_known() -> None:
    samples = make_samples(6, horizon=2)

    last = last_known(samples)

    assert np.isnan(last[:2]).all()
    assert np.array_equal(last[2:], samples.y[:4])


def test_the_last_known_return_never_comes_from_another_series() -> None:
    samples = replace(make_samples(6), group=np.array([0, 1, 0, 1, 0, 1]))

    last = last_known(samples)

    assert np.isnan(last[:2]).all()
    assert np.array_equal(last[2:], samples.y[:4])


def test_figures_of_a_perfect_prediction_beat_every_baseline() -> None:
    samples = make_samples(100)
    rows = np.arange(50, 100)
    opinions = combine(np.column_stack([samples.y[rows], samples.y[rows] + 1e-6]), (0, 1), 0.01, None)

    figures = evaluate(samples, rows, opinions)

    assert figures["holdout_direction_accuracy"] == 1.0
    assert figures["holdout_correlation"] == pytest.approx(1.0)
    assert figures["holdout_rmse"] < figures["baseline_hold_rmse"]
    assert figures["holdout_rmse"] < figures["baseline_last_rmse"]
    assert figures["baseline_up_direction_accuracy"] == pytest.approx((samples.y[rows] > 0).mean())
    assert figures["calibration_0.9_1.0_rows"] == 50
    assert figures["calibration_0.9_1.0_hit_rate"] == 1.0
    assert "calibration_0.5_0.7_hit_rate" not in figures
    assert all(np.isfinite(value) for value in figures.values())


def test_calibration_counts_every_row_once() -> None:
    sure = np.array([0.0, 0.29, 0.3, 0.7, 0.95, 1.0])
    up = np.ones(6)

    figures = calibration(sure, up, np.array([1, 1, -1, 1, 1, -1.0]))

    assert sum(v for k, v in figures.items() if k.endswith("_rows") and v is not None) == 6
    assert figures["calibration_0.0_0.3_hit_rate"] == 1.0
    assert figures["calibration_0.3_0.5_hit_rate"] == 0.0
    assert figures["calibration_0.9_1.0_hit_rate"] == 0.5
