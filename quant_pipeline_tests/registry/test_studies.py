from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import replace
from itertools import count
from multiprocessing import get_context
from pathlib import Path

import pytest

from quant_pipeline.core.models.params import EnsembleParams, SplitSpec, with_tuned
from quant_pipeline.core.models.tuning import DEFAULT_SPACES, make_objective, starting_point
from quant_pipeline.registry.errors import StudyBusyError, StudyMismatchError
from quant_pipeline.registry.studies import Params, Studies, StudySpec, study_name
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.core.models.synthetic import make_samples
from quant_pipeline_tests.registry.objectives import SPACE, START, bowl, half_broken_bowl, uneven_bowl

SPEC = StudySpec(trials=16, seed=11)

_KILLED_RUN = """
import os, sys
import optuna
from quant_pipeline.registry.studies import Studies
from quant_pipeline_tests.registry.objectives import SPACE, START, DyingBowl
from quant_pipeline_tests.registry.test_studies import SPEC

url, name, place, at = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
if place == "store":
    keep, calls = optuna.study.Study.add_trial, iter(range(1, 1000))
    def add_trial(study, trial):
        if study._storage.__class__.__name__ != "InMemoryStorage" and next(calls) == at:
            os._exit(9)
        keep(study, trial)
    optuna.study.Study.add_trial = add_trial
Studies(url).run(name, SPACE, DyingBowl(at if place == "evaluate" else -1), SPEC, start=START)
"""


@pytest.fixture
def uninterrupted(studies: Studies) -> list[tuple[Params, float | None]]:
    """The trials of a study that nothing disturbed."""
    studies.run("uninterrupted", SPACE, bowl, SPEC, start=START)
    return studies.trials("uninterrupted")


def workers(kind: str) -> Executor | nullcontext[None]:
    if kind == "here":
        return nullcontext()
    if kind == "processes":
        return ProcessPoolExecutor(2, mp_context=get_context("spawn"))
    return ThreadPoolExecutor(int(kind))


@pytest.mark.parametrize("kind", ["here", "2", "4", "processes"])
def test_any_number_of_workers_makes_the_same_trials(
    studies: Studies, uninterrupted: list[tuple[Params, float | None]], kind: str
) -> None:
    with workers(kind) as executor:
        result = studies.run(f"workers-{kind}", SPACE, uneven_bowl, SPEC, start=START, executor=executor)

    assert studies.trials(f"workers-{kind}") == uninterrupted
    assert result.trials == 16
    assert result.stopped_by == "trials"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "at", "stored"),
    [("evaluate", 1, 0), ("evaluate", 11, 8), ("store", 1, 0), ("store", 7, 6), ("store", 16, 15)],
)
def test_a_killed_study_goes_on_to_the_same_trials(
    studies: Studies,
    optuna_dsn: Dsn,
    uninterrupted: list[tuple[Params, float | None]],
    place: str,
    at: int,
    stored: int,
) -> None:
    name = f"killed-{place}-{at}"
    root = Path(__file__).parents[2]
    command = [sys.executable, "-c", _KILLED_RUN, optuna_dsn.sqlalchemy(), name, place, str(at)]
    environment = os.environ | {"PYTHONPATH": str(root)}
    killed = subprocess.run(command, cwd=root, env=environment, capture_output=True, check=False, timeout=120)
    assert killed.returncode == 9, killed.stderr.decode()
    assert studies.trials(name) == uninterrupted[:stored]

    result = studies.run(name, SPACE, bowl, SPEC, start=START)

    assert studies.trials(name) == uninterrupted
    assert result.evaluated_now == 16 - stored


def test_a_finished_study_is_not_evaluated_again(studies: Studies) -> None:
    first = studies.run("finished", SPACE, bowl, SPEC, start=START)

    def never(_params: Params) -> float:
        raise AssertionError

    again = studies.run("finished", SPACE, never, SPEC, start=START)

    assert again == replace(first, evaluated_now=0)


def test_more_trials_go_on_where_fewer_ended(
    studies: Studies, uninterrupted: list[tuple[Params, float | None]]
) -> None:
    studies.run("longer", SPACE, bowl, replace(SPEC, trials=6), start=START)
    assert studies.trials("longer") == uninterrupted[:8]

    studies.run("longer", SPACE, bowl, SPEC, start=START)

    assert studies.trials("longer") == uninterrupted


def test_the_first_trial_is_the_start_and_the_best_is_never_worse(studies: Studies) -> None:
    result = studies.run("start", SPACE, bowl, SPEC, start=START)

    assert studies.trials("start")[0] == (START, bowl(START))
    assert result.first_value == bowl(START)
    assert result.best_value <= bowl(START)
    assert result.best_value == bowl(result.best_params)


def test_learning_from_earlier_trials_beats_the_random_start(studies: Studies) -> None:
    studies.run("learns", SPACE, bowl, replace(SPEC, trials=40))
    values = [value for _, value in studies.trials("learns") if value is not None]

    assert min(values[8:]) < min(values[:8])


def test_another_seed_makes_other_trials(studies: Studies, uninterrupted: list[tuple[Params, float | None]]) -> None:
    studies.run("other-seed", SPACE, bowl, replace(SPEC, seed=12), start=START)

    assert studies.trials("other-seed")[1:] != uninterrupted[1:]


def test_trials_without_a_finite_value_fail_and_do_not_disturb(studies: Studies) -> None:
    result = studies.run("half", SPACE, half_broken_bowl, SPEC, start=START)
    trials = studies.trials("half")

    assert result.failed == sum(value is None for _, value in trials) > 0
    assert result.first_value is None
    assert result.best_params["leaves"] % 2 == 1
    assert studies.run("half", SPACE, half_broken_bowl, SPEC, start=START).evaluated_now == 0


def test_a_study_without_any_value_says_so(studies: Studies) -> None:
    with pytest.raises(StudyMismatchError, match="none of its 16 trials gave a finite value"):
        studies.run("hopeless", SPACE, lambda _: float("inf"), SPEC)


def test_an_error_of_the_objective_is_raised_and_leaves_whole_batches(studies: Studies) -> None:
    calls = count(1)

    def failing(params: Params) -> float:
        if next(calls) == 6:
            msg = "out of memory"
            raise MemoryError(msg)
        return bowl(params)

    with pytest.raises(MemoryError):
        studies.run("error", SPACE, failing, SPEC)

    assert len(studies.trials("error")) == 4


def test_wall_time_ends_between_batches_and_is_said(
    studies: Studies, uninterrupted: list[tuple[Params, float | None]]
) -> None:
    ticks = count(0)

    result = studies.run(
        "short", SPACE, bowl, replace(SPEC, max_seconds=1.5), start=START, clock=lambda: float(next(ticks))
    )

    assert result.stopped_by == "wall_time"
    assert studies.trials("short") == uninterrupted[: result.trials]
    assert 0 < result.trials < 16


def test_a_study_begun_with_other_settings_is_refused(studies: Studies) -> None:
    studies.run("recipe", SPACE, bowl, SPEC, start=START)

    with pytest.raises(StudyMismatchError, match="another seed; use another name"):
        studies.run("recipe", SPACE, bowl, replace(SPEC, seed=1), start=START)
    with pytest.raises(StudyMismatchError, match="another batch, space"):
        studies.run("recipe", SPACE[:2], bowl, replace(SPEC, batch=2), start=START)


def test_two_runs_at_once_do_not_mix(studies: Studies, optuna_dsn: Dsn) -> None:
    other = Studies(optuna_dsn.sqlalchemy())

    def meddling(params: Params) -> float:
        with pytest.raises(StudyBusyError, match="busy is being run by another process"):
            other.run("busy", SPACE, bowl, SPEC)
        return bowl(params)

    result = studies.run("busy", SPACE, meddling, replace(SPEC, trials=4))
    other.close()

    assert result.trials == 4


def test_a_real_objective_is_tuned_to_parameters_that_training_takes(studies: Studies) -> None:
    params, space = EnsembleParams(), DEFAULT_SPACES["xgboost"]
    objective = make_objective(make_samples(), "xgboost", SplitSpec())
    start = starting_point(space, "xgboost", params)

    result = studies.run("real", space, objective, replace(SPEC, trials=8), start=start)

    tuned = with_tuned(params, "xgboost", result.best_params)
    assert objective({}) > 0
    assert make_objective(make_samples(), "xgboost", SplitSpec(), params=tuned)({}) == result.best_value


def test_names_tell_apart_everything_that_trials_depend_on() -> None:
    base = study_name("us_equity", "AAPL", "2024-03-01", "xgboost", "seed8-1", settings_hash="a", data_hash="b")

    assert base.startswith("us_equity/AAPL/2024-03-01/xgboost/seed8-1/")
    assert base != study_name("us_equity", "AAPL", "2024-03-01", "xgboost", "seed8-1", settings_hash="c", data_hash="b")
    assert base != study_name("us_equity", "AAPL", "2024-03-01", "xgboost", "seed8-1", settings_hash="a", data_hash="c")


def test_a_study_without_trials_or_a_wrong_address_is_refused() -> None:
    with pytest.raises(ValueError, match="must be at least 1"):
        StudySpec(trials=0)
    with pytest.raises(ValueError, match=r"need a postgresql\+psycopg2:// URL"):
        Studies("postgresql://u:secret@h/db")
