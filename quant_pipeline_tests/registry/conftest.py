"""Databases for Optuna and MLflow on the session's embedded server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.studies import Studies
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.postgres import new_database


@pytest.fixture(scope="package")
def optuna_dsn(postgres: Dsn) -> Iterator[Dsn]:
    """A database for studies; tests name their studies apart."""
    with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture
def studies(optuna_dsn: Dsn) -> Iterator[Studies]:
    """Open studies, closed after the test."""
    opened = Studies(optuna_dsn.sqlalchemy())
    yield opened
    opened.close()


@pytest.fixture(scope="package")
def mlflow_dsn(postgres: Dsn) -> Iterator[Dsn]:
    """A database with MLflow's tables; tests name their models apart."""
    with new_database(postgres) as dsn:
        yield dsn


@pytest.fixture(scope="package")
def mlruns(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of MLflow's artifacts."""
    return tmp_path_factory.mktemp("mlruns")


@pytest.fixture(scope="package")
def registry(mlflow_dsn: Dsn, mlruns: Path) -> ModelRegistry:
    """A registry whose tables exist."""
    opened = ModelRegistry(mlflow_dsn.sqlalchemy(), str(mlruns))
    opened.prepare()
    return opened
