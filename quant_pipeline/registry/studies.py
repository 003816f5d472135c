"""Optuna studies in PostgreSQL: which hyper-parameters are tried, in which order, and what came out.

What is searched and what a trial is worth belongs to `core.models.tuning`.

A study's trials are a function of its settings and its objective alone. They are drawn in batches of a fixed size by
a fresh sampler, seeded by the study's seed and the batch's number, from the batches before; how many workers evaluate
a batch plays no part. Trials are stored only when their values are known, so a process killed at any moment leaves
whole batches and perhaps the first trials of one; the next run draws that batch again, finds the same trials, and
evaluates what is missing. Stopping by wall time gives a prefix of the same trials, whose length depends on the
machine; the result says so.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

from quant_pipeline.registry.errors import StudyBusyError, StudyMismatchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from optuna.distributions import BaseDistribution
    from optuna.storages import RDBStorage
    from optuna.study import Study
    from optuna.trial import FrozenTrial

    from quant_pipeline.core.models.tuning import Dimension

type Params = dict[str, float | int]

_TABLES_LOCK = "quant_pipeline.optuna.tables"
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


def study_name(
    market: str, symbol: str, month: str, family: str, feature_set: str, *, settings_hash: str, data_hash: str
) -> str:
    """Name a study by everything its trials depend on; another setting or other data is another study."""
    parts = [market, symbol, month, family, feature_set, settings_hash, data_hash]
    digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:16]
    return f"{market}/{symbol}/{month}/{family}/{feature_set}/{digest}"


class Studies:
    """The studies of one database, connected at first use. `close()` it when done; not to be shared across a fork."""

    def __init__(self, url: str) -> None:
        """Store where the studies are: a `postgresql+psycopg2://` URL of a database of their own."""
        if not url.startswith("postgresql+psycopg2://"):
            msg = f"studies need a postgresql+psycopg2:// URL, not one that begins with {url.partition(':')[0]!r}"
            raise ValueError(msg)
        self._url = url
        self._opened: RDBStorage | None = None

    def run(
        self,
        name: str,
        space: Sequence[Dimension],
        objective: Callable[[Params], float],
        spec: StudySpec,
        *,
        start: Params | None = None,
        executor: Executor | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> StudyResult:
        """Run the study to its end, from wherever an earlier run was stopped.

        `start` are the parameters of the first trial. `executor` evaluates the trials of a batch side by side (the
        objective must then be picklable, for processes); without it they are evaluated here, one after the other.

        Raises:
            StudyBusyError: another process is running it.
            StudyMismatchError: it was begun with another space, start, batch, seed or Optuna, or found no finite value.
        """
        with self._locked(name):
            stored = self._open_study(name)
            search = _Search(stored, space, spec, start)
            began, evaluated = clock(), 0
            while search.batch < spec.batches:
                if spec.max_seconds is not None and evaluated and clock() - began >= spec.max_seconds:
                    break
                asked = search.ask()
                evaluate = executor.map if executor is not None else map
                search.store(list(evaluate(objective, asked)))
                evaluated += len(asked)
            return search.result(name, evaluated)

    def trials(self, name: str) -> list[tuple[Params, float | None]]:
        """Return parameters and value (None if it was not finite) of a study's trials in the order they were drawn."""
        return [(dict(t.params), _value(t)) for t in self._open_study(name).get_trials(deepcopy=False)]

    def close(self) -> None:
        """Close the connections; the object may be used again and then connects anew."""
        if self._opened is not None:
            self._opened.remove_session()
            self._opened.engine.dispose()
            self._opened = None

    def _open_study(self, name: str) -> Study:
        import optuna

        # Only our own sampling decides; the storage must never offer to do it.
        return optuna.create_study(
            storage=self._storage(), study_name=name, load_if_exists=True, sampler=optuna.samplers.RandomSampler(seed=0)
        )

    def _storage(self) -> RDBStorage:
        if self._opened is None:
            import optuna

            optuna.logging.set_verbosity(optuna.logging.WARNING)
            with self._locked(_TABLES_LOCK, wait=True), warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self._opened = optuna.storages.RDBStorage(self._url, engine_kwargs={"pool_size": 2, "max_overflow": 2})
        return self._opened

    @contextmanager
    def _locked(self, name: str, *, wait: bool = False) -> Iterator[None]:
        """Hold the database-wide lock of a study on a connection of its own; a killed holder blocks nobody."""
        from sqlalchemy import create_engine, text
        from sqlalchemy.pool import NullPool

        from quant_pipeline.storage.database import lock_key

        function = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
        engine = create_engine(self._url, poolclass=NullPool, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            got = connection.execute(text(f"SELECT {function}(:key)"), {"key": lock_key(name)}).scalar_one()
            if not wait and not got:
                msg = f"study {name} is being run by another process; wait for it, it will hold the same trials"
                raise StudyBusyError(msg)
            yield


class _Search:
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
        values = [(value, trial.number) for trial in trials if (value := _value(trial)) is not None]
        if not values:
            msg = f"study {name}: none of its {len(trials)} trials gave a finite value; look at the data of that month"
            raise StudyMismatchError(msg)
        best_value, number = min(values)
        complete = self.batch >= self._spec.batches
        return StudyResult(
            name=name,
            best_params=dict(trials[number].params),
            best_value=best_value,
            first_value=_value(trials[0]),
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


def _value(trial: FrozenTrial) -> float | None:
    """The value of a trial, None for one that failed."""
    values: Any = trial.values
    return None if not values else float(values[0])
