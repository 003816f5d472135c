"""`quant migrate`: databases, schema, and the tables of Dagster and MLflow. What they hold belongs to others."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from quant_pipeline.cli.desk import databases_of, load, prepare_process
from quant_pipeline.cli.options import ConfigOption, JsonOption
from quant_pipeline.cli.output import notes, show

if TYPE_CHECKING:
    from quant_pipeline.settings import Settings


def migrate_command(*, config: ConfigOption = None, as_json: JsonOption = False) -> None:
    """Create what is missing in PostgreSQL and bring all schemas up to date. Safe to repeat."""
    settings = load(config)
    prepare_process(settings)
    with notes().status("preparing the databases"):
        content = migrate(settings)
    sentence = f"databases on {content['host']}:{content['port']} are at schema revision {content['revision']}"
    show(content, lambda console: console.print(sentence), as_json=as_json)


def migrate(settings: Settings) -> dict[str, object]:
    """Prepare all databases of the desk; several processes may do so at once."""
    from quant_pipeline.cluster import prepare
    from quant_pipeline.storage.migrate import current_revision

    with databases_of(settings):
        found = prepare(settings, at=datetime.now(UTC))
        _prepare_dagster(settings)
        _prepare_mlflow(settings, found.mlflow.sqlalchemy())
        return {
            "host": found.quant.host,
            "port": found.quant.port,
            "embedded": not settings.postgres.host,
            "databases": [dsn.database for dsn in (found.quant, found.dagster, found.mlflow, found.optuna)],
            "revision": current_revision(found.quant),
        }


def _prepare_dagster(settings: Settings) -> None:
    """Dagster makes its tables when the storage is opened; an older schema is brought up to date."""
    logging.getLogger("alembic").setLevel(logging.WARNING)
    from quant_pipeline.dagster_instance import open_instance

    with open_instance(settings, launcher="default") as instance:
        instance.upgrade()


def _prepare_mlflow(settings: Settings, url: str) -> None:
    from quant_pipeline.registry.mlflow_registry import ModelRegistry

    ModelRegistry(url, str(settings.mlruns)).prepare()
