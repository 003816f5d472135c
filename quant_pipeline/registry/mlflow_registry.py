"""Model versions in MLflow: log a bundle, name its champion, find it again. MLflow is where people look and compare.

Which version serves is decided in PostgreSQL (`service`), not here; a prediction never comes through this module.
MLflow is imported inside functions (1.5 to 5 s), and only its client is used: no active run, no global tracking
address.
"""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quant_pipeline.core.models.bundle import unpack
from quant_pipeline.registry.errors import RegistryError, UnknownVersionError
from quant_pipeline.registry.mlflow_files import write_model_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from mlflow import MlflowClient
    from mlflow.exceptions import MlflowException

CHAMPION = "champion"
_MODEL_FOLDER = "model"


@dataclass(frozen=True, slots=True)
class LoggedVersion:
    """A version of a registered model as MLflow knows it; `version` counts from "1" within `name`."""

    name: str
    version: str
    run_id: str
    tags: Mapping[str, str]


class ModelRegistry:
    """The registry at `tracking_uri` (a database or an MLflow server), artifacts below `artifact_root`.

    `artifact_root` is an absolute folder or a URI such as `s3://bucket/mlruns`; MLflow stores it absolutely. Connects
    at first use and then keeps its connections for the life of the process; not to be shared across a fork.
    """

    def __init__(self, tracking_uri: str, artifact_root: str) -> None:
        """Store where the registry is. Raises RegistryError for a relative artifact folder."""
        if "://" not in artifact_root and not Path(artifact_root).is_absolute():
            msg = f"artifact root {artifact_root!r} must be an absolute folder or a URI: MLflow would store it as given"
            raise RegistryError(msg)
        self.tracking_uri = tracking_uri
        self.artifact_root = artifact_root if "://" in artifact_root else Path(artifact_root).as_uri()
        self._opened: MlflowClient | None = None
        self._experiments: dict[str, str] = {}

    def __repr__(self) -> str:
        """Name the artifacts, not the database: its address holds a password."""
        return f"ModelRegistry(artifact_root={self.artifact_root!r})"

    def prepare(self) -> None:
        """Connect, creating MLflow's tables in an empty database (2 s). Let one process do it before many come."""
        self._client()

    def log_ensemble(
        self,
        name: str,
        bundle: bytes,
        *,
        experiment: str,
        run_name: str,
        metrics: Mapping[str, float],
        params: Mapping[str, object],
        tags: Mapping[str, str],
    ) -> LoggedVersion:
        """Log a bundle as one run with one artifact, and register it as the next version of `name`.

        `tags` go to the run and to the version. About 0.05 s. Raises BundleError for bytes that are no bundle.
        """
        from mlflow.entities import Metric, Param

        ensemble, client = unpack(bundle), self._client()
        run = client.create_run(self._experiment(experiment), tags=dict(tags), run_name=run_name)
        run_id, started = run.info.run_id, run.info.start_time
        client.log_batch(
            run_id,
            metrics=[Metric(key, value, started, 0) for key, value in metrics.items()],
            params=[Param(key, str(value)) for key, value in params.items()],
        )
        with tempfile.TemporaryDirectory(prefix="quant-model-") as folder:
            write_model_folder(Path(folder), bundle, ensemble, run_id)
            client.log_artifacts(run_id, folder, _MODEL_FOLDER)
        client.set_terminated(run_id)
        self._create("registered model", name, client.create_registered_model)
        source = f"{run.info.artifact_uri}/{_MODEL_FOLDER}"
        version = client.create_model_version(name, source, run_id, tags=dict(tags), await_creation_for=0)
        return LoggedVersion(name, str(version.version), run_id, dict(tags))

    def find(self, name: str, tag: str, value: str) -> LoggedVersion | None:
        """Return the first version of `name` that has that tag, or None."""
        found = self._client().search_model_versions(f"name='{name}' and tags.{tag}='{value}'")
        return _logged(min(found, key=lambda version: int(version.version))) if found else None

    def version(self, name: str, version: str) -> LoggedVersion:
        """Return a version by its number. Raises UnknownVersionError."""
        from mlflow.exceptions import MlflowException

        try:
            return _logged(self._client().get_model_version(name, version))
        except MlflowException as error:
            raise self._unknown(name, version, error) from error

    def promote(self, name: str, version: str) -> None:
        """Make a version the champion: what `models:/NAME@champion` means. Raises UnknownVersionError."""
        from mlflow.exceptions import MlflowException

        try:
            self._client().set_registered_model_alias(name, CHAMPION, version)
        except MlflowException as error:
            raise self._unknown(name, version, error) from error

    def demote(self, name: str) -> None:
        """Leave the model without a champion."""
        self._client().delete_registered_model_alias(name, CHAMPION)

    def aliases(self, name: str) -> dict[str, str]:
        """Return the version numbers behind the aliases of `name`; empty for a model that does not exist."""
        from mlflow.exceptions import MlflowException

        try:
            return {alias: str(v) for alias, v in self._client().get_registered_model(name).aliases.items()}
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise

    def _experiment(self, name: str) -> str:
        """Return the id of an experiment whose artifacts lie below our root, creating it if need be.

        An experiment made under another root (the project's folder was moved, say) keeps its place in MLflow under a
        name that says so; new runs go to a new one.
        """
        if name not in self._experiments:
            client, location = self._client(), f"{self.artifact_root}/artifacts/{name}"
            found = client.get_experiment_by_name(name)
            if found is not None and found.artifact_location.rstrip("/") != location:
                client.rename_experiment(found.experiment_id, f"{name} (until {found.experiment_id})")
                found = None
            if found is None:
                self._create("experiment", name, lambda n: client.create_experiment(n, artifact_location=location))
                found = client.get_experiment_by_name(name)
            if found is None:
                msg = f"MLflow has no experiment {name!r} although it was just created; was it deleted?"
                raise RegistryError(msg)
            self._experiments[name] = found.experiment_id
        return self._experiments[name]

    def _create(self, what: str, name: str, create: Callable[[str], object]) -> None:
        """Create something unless it is there already (perhaps since a moment ago, by another process)."""
        from mlflow.exceptions import MlflowException

        try:
            create(name)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                msg = f"MLflow could not create the {what} {name!r}: {error}"
                raise RegistryError(msg) from error

    def _client(self) -> MlflowClient:
        if self._opened is None:
            mlflow = load_mlflow()
            with _tables_lock(self.tracking_uri):
                self._opened = mlflow.MlflowClient(self.tracking_uri, self.tracking_uri)
        return self._opened

    def _unknown(self, name: str, version: str, error: MlflowException) -> UnknownVersionError:
        msg = f"MLflow has no version {version} of {name}: {error.message}"
        return UnknownVersionError(msg)


def load_mlflow() -> Any:  # noqa: ANN401
    """Import mlflow without telemetry, and without the warning and the log lines that its database layer gives."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # Its mappers use a loader strategy that SQLAlchemy deprecates; as an error that would break them for good.
    warnings.filterwarnings("ignore", message=".*noload.*")
    import mlflow

    for name in ("mlflow.store.db.utils", "alembic.runtime.migration"):
        logging.getLogger(name).setLevel(logging.WARNING)
    return mlflow


def _logged(version: Any) -> LoggedVersion:  # noqa: ANN401
    return LoggedVersion(version.name, str(version.version), version.run_id, dict(version.tags))


@contextmanager
def _tables_lock(uri: str) -> Iterator[None]:
    """One process at a time creates MLflow's tables in a PostgreSQL database; two at once would both fail."""
    if not uri.startswith("postgresql"):
        yield
        return
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    from quant_pipeline.storage.database import lock_key

    engine = create_engine(uri, poolclass=NullPool, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        connection.execute(text("SELECT pg_advisory_lock(:key)"), {"key": lock_key("quant_pipeline.mlflow_tables")})
        yield
