"""Fixtures that every test may use. Those of PostgreSQL are in `postgres.py`, those of one area in its own conftest."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from quant_pipeline.runtime import ports
from quant_pipeline.runtime.numba_cache import set_numba_cache_dir

pytest_plugins = ["quant_pipeline_tests.postgres"]

# The kernels that set-up has compiled, and BLAS with one thread. At import, not in `pytest_configure`: the conftest of a
# folder that is run alone is imported before that, and numba with it.
set_numba_cache_dir(Path(os.environ.get("QUANT_TEST_CACHE", Path(__file__).parents[1] / ".quant")))

# A script that starts the tests in the background has SIGINT ignored; Dagster then ignores SIGTERM as well, and the
# processes that tests start would inherit both and never be stopped.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Workers of pytest-xdist choose ports from ranges of their own: a free port is taken only some time after it was chosen.
if _WORKER := os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw"):
    _EACH = len(ports._CHOICE) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
    ports._CHOICE = ports._CHOICE[int(_WORKER) * _EACH : (int(_WORKER) + 1) * _EACH]  # type: ignore[misc]


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real market data; skips when none is named, fails when the named one is not there."""
    named = os.environ.get("QUANT_TEST_DATA")
    if not named:
        pytest.skip("QUANT_TEST_DATA does not name a folder of real market data")
    folder = Path(named)
    if not folder.is_dir():
        pytest.fail(f"QUANT_TEST_DATA names {folder}, which is not a folder")
    return folder


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test sees settings or keys of the person who runs it."""
    for name in list(os.environ):
        if name.startswith(("QUANT__", "RISK_", "AI_", "ALPACA_", "UPBIT_", "POSTGRES_", "DAGSTER_", "MLFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.delenv("QUANT_CONFIG", raising=False)
