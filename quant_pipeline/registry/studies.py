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
import time
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING

from quant_pipeline.registry.errors import StudyBusyError
from quant_pipeline.registry.study_search import Params, Search, StudyResult, StudySpec, value_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from concurrent.futures import Executor

    from optuna.storages import RDBStorage
    from optuna.study import Study

    from quant_pipeline.core.models.tuning import Dimension

__all__ = ["Params", "Studies", "StudyResult", "StudySpec", "study_name"]

_TABLES_LOCK = "quant_pipeline.optuna.tables"


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
            search = Search(stored, space, spec, start)
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
        return [(dict(t.params), value_of(t)) for t in self._open_study(name).get_trials(deepcopy=False)]

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
