"""Databases for Optuna and MLflow on the session's embedded server."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

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
