"""Instances of Dagster, and a desk on which sensors find something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.automation.prepared import CLOSED, FIRST, SYMBOLS, TODAY, at, import_bars, recompute
from quant_pipeline_tests.e2e.desks import OpenDesk, Place, cloned_place, new_place, opened


@pytest.fixture(scope="module")
def unused() -> Iterator[dg.DagsterInstance]:
    """An instance without any run, for tests that add none; schedules only accept one that is on disk."""
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    """An instance for tests that add runs."""
    with dg.instance_for_test() as made:
        yield made


@pytest.fixture(scope="session")
def prepared_place(tmp_path_factory: pytest.TempPathFactory, postgres: Dsn) -> Iterator[Place]:
    """A desk with a month of imported bars and everything up to its signals."""
    content = {"markets": {"us_equity": {"symbols": SYMBOLS, "history_start": FIRST, "min_history_sessions": 5}}}
    with new_place(tmp_path_factory.mktemp("prepared"), postgres, content) as place:
        with opened(place) as desk:
            at(desk, TODAY)
            import_bars(desk, tmp_path_factory.mktemp("files"), CLOSED, 1.0)
            recompute(desk, "prepare", CLOSED[0], CLOSED[-1])
        yield place


@pytest.fixture
def prepared(prepared_place: Place, tmp_path: Path, postgres: Dsn) -> Iterator[OpenDesk]:
    """A copy of that desk; its clock stands in a session."""
    with cloned_place(tmp_path, postgres, prepared_place) as place, opened(place) as desk:
        at(desk, TODAY)
        yield desk
