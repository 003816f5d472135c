"""Fixtures of the runtime tests: state folders without a server at the end, processes that end with the test."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from quant_pipeline.runtime.file_lock import is_locked
from quant_pipeline.runtime.postgres_files import PostgresFiles
from quant_pipeline.runtime.waiting import wait_until
from quant_pipeline_tests.runtime.processes_of_tests import Holder, start_holder


@pytest.fixture
def state_dir() -> Iterator[Path]:
    """A state folder that every account may enter; the test fails if its server outlives it."""
    folder = Path(tempfile.mkdtemp(prefix="quant-runtime-"))
    folder.chmod(0o711)
    yield folder
    gone = wait_until(lambda: not is_locked(PostgresFiles(folder).supervisor_lock), timeout=20)
    shutil.rmtree(folder, ignore_errors=True)
    assert gone, f"the server of {folder} was still running after the test"


@pytest.fixture
def holders() -> Iterator[HolderFactory]:
    """Starts processes that use the server of a state folder; the ones left are killed at the end."""
    with ExitStack() as stack:
        yield HolderFactory(stack)


class HolderFactory:
    """Starts `Holder`s and sees to their end."""

    def __init__(self, stack: ExitStack) -> None:
        """Remember where to register the holders."""
        self._stack = stack

    def __call__(self, state_dir: Path, port: int = 0) -> Holder:
        """Start one and wait until it uses the server."""
        return self._stack.enter_context(start_holder(state_dir, port))
