"""Drawing the trials of a study batch by batch, so that they depend on its settings and values alone.

Where studies are stored, and who may run one, belongs to `studies`.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from quant_pipeline.registry.errors import StudyMismatchError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optuna.distributions import BaseDistribution
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from quant_pipeline.core.models.tuning import Dimension

type Params = dict[str, float | int]

_RECIPE = "recipe"


@dataclass(frozen=True, slots=True)
class StudySpec:
    """How long and how a study searches.

    `trials` is rounded up to whole batches; `startup_trials` are drawn at random before TPE takes over. `max_seconds`
    bounds the wall time of one run: it is looked at between batches, so a run may take one batch longer.
    """

    trials: int = 16
    batch: int = 4
    startup_trials: int = 8
    seed: int = 0
    max_seconds: float | None = None

    def __post_init__(self) -> None:
        """Refuse a study without trials."""
        if self.trials < 1 or self.batch < 1 or self.startup_trials < 1:
            msg = f"trials {self.trials}, batch {self.batch}, startup_trials {self.startup_trials} must be at least 1"
            raise ValueError(msg)

    @property
    def batches(self) -> int:
        """The number of whole batches."""
        return math.ceil(self.trials / self.batch)


@dataclass(frozen=True, slots=True)
class StudyResult:
    """What a study found. Smaller values are better.

    `first_value` is the value of the parameters the search began with, None if it was not finite. `stopped_by` says
    whether all trials were made (then the result depends on settings and data only) or the wall time ran out.
    """

    name: str
    best_params: Params
    best_value: float
    first_value: float | None
    trials: int
    failed: int
    evaluated_now: int
    stopped_by: Literal["trials", "wall_time"]


class Search:
    """One run over a study: draws batches in memory, stores trials whole."""

    def __init__(self, stored: Study, space: Sequence[Dimension], spec: StudySpec, start: Params | None) -> None:
        self._stored = stored
        self._space = _distributions(space)
        self._spec = spec
        self._start = start
        _check_recipe(stored, space, spec, start)
        finished = stored.get_trials(deepcopy=False)
        whole = len(finished) // spec.batch * spec.batch
        self._history: list[FrozenTrial] = list(finished[:whole])
        self._partial: list[FrozenTrial] = list(finished[whole:])
        self._asked: list[Params] = []
        self.batch = whole // spec.batch

    def ask(self) -> list[Params]:
        """Draw the next batch and return the parameters that still have to be evaluated."""
        import optuna

        sampler = optuna.samplers.TPESampler(
            seed=_batch_seed(self._spec.seed, self.batch),
            n_startup_trials=self._spec.startup_trials,
            multivariate=True,
            constant_liar=True,
        )
        study = optuna.create_study(sampler=sampler)
        study.add_trials(self._history)
        if self.batch == 0 and self._start is not None:
            study.enqueue_trial(self._start)
        self._asked = [dict(study.ask(self._space).params) for _ in range(self._spec.batch)]
        for trial, params in zip(self._partial, self._asked, strict=False):
            if trial.params != params:
                msg = (
                    f"study {self._stored.study_name}: its trial {trial.number} is {trial.params}, but its settings "
                    f"lead to {params}; its rows were changed: delete the study"
                )
                raise StudyMismatchError(msg)
        return self._asked[len(self._partial) :]

    def store(self, values: Sequence[float]) -> None:
        """Store the evaluated trials, each in one transaction and in the order they were drawn."""
        from optuna.trial import TrialState, create_trial

        for params, value in zip(self._asked[len(self._partial) :], values, strict=True):
            sound = math.isfinite(value)
            trial = create_trial(
                params=params,
                distributions=self._space,
                value=float(value) if sound else None,
                state=TrialState.COMPLETE if sound else TrialState.FAIL,
                user_attrs={"batch": self.batch},
            )
            self._stored.add_trial(trial)
        self._history = list(self._stored.get_trials(deepcopy=False))
        self._partial = []
        self.batch += 1

    def result(self, name: str, evaluated: int) -> StudyResult:
        """Return what all stored trials of the study add up to; the first of equal values wins."""
        trials = self._history[: self._spec.batches * self._spec.batch]
        values = [(value, trial.number) for trial in trials if (value := value_of(trial)) is not None]
        if not values:
            msg = f"study {name}: none of its {len(trials)} trials gave a finite value; look at the data of that month"
            raise StudyMismatchError(msg)
        best_value, number = min(values)
        complete = self.batch >= self._spec.batches
        return StudyResult(
            name=name,
            best_params=dict(trials[number].params),
            best_value=best_value,
            first_value=value_of(trials[0]),
            trials=len(trials),
            failed=len(trials) - len(values),
            evaluated_now=evaluated,
            stopped_by="trials" if complete else "wall_time",
        )


def _check_recipe(stored: Study, space: Sequence[Dimension], spec: StudySpec, start: Params | None) -> None:
    """Write down what decides the order of trials when a study begins, and refuse to go on with anything else."""
    import optuna

    recipe = {
        "space": [asdict(dimension) for dimension in space],
        "start": start,
        "batch": spec.batch,
        "startup_trials": spec.startup_trials,
        "seed": spec.seed,
        "optuna": optuna.__version__,
    }
    known = stored.user_attrs.get(_RECIPE)
    if known is None and not stored.get_trials(deepcopy=False):
        stored.set_user_attr(_RECIPE, recipe)
    elif known != recipe:
        differing = sorted(key for key in recipe if not known or known.get(key) != recipe[key])
        msg = f"study {stored.study_name} was begun with another {', '.join(differing)}; use another name or delete it"
        raise StudyMismatchError(msg)


def _batch_seed(seed: int, batch: int) -> int:
    """A seed for the sampler of one batch, unrelated to those of its neighbours."""
    return int.from_bytes(hashlib.sha256(f"{seed}:{batch}".encode()).digest()[:4], "big")


def _distributions(space: Sequence[Dimension]) -> dict[str, BaseDistribution]:
    from optuna.distributions import FloatDistribution, IntDistribution

    return {
        d.name: IntDistribution(int(d.low), int(d.high), log=d.log)
        if d.integer
        else FloatDistribution(d.low, d.high, log=d.log)
        for d in space
    }


def value_of(trial: FrozenTrial) -> float | None:
    """The value of a trial, None for one that failed."""
    values: Any = trial.values
    return None if not values else float(values[0])
