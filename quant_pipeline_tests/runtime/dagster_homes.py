"""Dagster homes of the runtime tests: a `dagster.yaml` with our storage and launcher. No assertions here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml

VARIABLE: Final = "QUANT_TEST_DAGSTER_URL"
"""The environment variable that holds the storage's URL, as a password should be."""

POOLED: Final = {"module": "quant_pipeline.runtime.dagster_storage", "class": "PooledPostgresStorage"}
CODE: Final = "quant_pipeline_tests.runtime.dagster_code"


def write_home(home: Path, *, storage: Mapping[str, Any] | None = None, **settings: object) -> Path:
    """A home with the pooled storage, or another one, and further entries of `dagster.yaml`."""
    pooled = {"custom": {**POOLED, "config": {"postgres_url": {"env": VARIABLE}}}}
    config = {"storage": storage or pooled, "telemetry": {"enabled": False}, "nux": {"enabled": False}, **settings}
    home.mkdir(exist_ok=True)
    (home / "dagster.yaml").write_text(yaml.safe_dump(config))
    return home


def warm_launcher(**config: object) -> dict[str, object]:
    """The `run_launcher` entry; preloads the code location of the tests unless told otherwise."""
    values = {"preload_modules": [CODE], "watch": [], **config}
    return {"module": "quant_pipeline.runtime.launcher", "class": "WarmRunLauncher", "config": values}
