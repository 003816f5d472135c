"""Every test of storage that needs a database runs on two servers: the embedded one, and one of the system's own."""

from __future__ import annotations

import pytest

from quant_pipeline.storage.dsn import Dsn


@pytest.fixture(params=["embedded", "separate"])
def postgres(request: pytest.FixtureRequest) -> Dsn:
    """The DSN of the server under test, with a superuser that may create databases."""
    found: Dsn = request.getfixturevalue(f"{request.param}_postgres")
    return found


@pytest.fixture
def migrated_template(request: pytest.FixtureRequest, postgres: Dsn) -> Dsn:
    """A database with the current schema on the server under test."""
    found: Dsn = request.getfixturevalue(f"{request.node.callspec.params['postgres']}_template")
    return found
