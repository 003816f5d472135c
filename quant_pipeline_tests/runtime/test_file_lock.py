"""Locks that end with their process."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from quant_pipeline.runtime.file_lock import FileLock, is_locked
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests, read_line

LOCKING = """
import sys, time
from pathlib import Path
from quant_pipeline.runtime.file_lock import FileLock
lock = FileLock(Path(sys.argv[1]))
assert lock.try_acquire(shared=sys.argv[2] == "shared")
print("held", flush=True)
time.sleep(60)
"""


def test_shared_locks_share_and_exclusive_ones_do_not(tmp_path: Path) -> None:
    first, second, third = (FileLock(tmp_path / "lock") for _ in range(3))
    assert first.try_acquire(shared=True)
    assert second.try_acquire(shared=True)
    assert not third.try_acquire(shared=False)
    assert not is_locked(tmp_path / "lock")
    first.release()
    second.release()
    assert third.try_acquire(shared=False)
    assert is_locked(tmp_path / "lock")
    assert not first.try_acquire(shared=True)
    third.release()
    third.release()
    assert not third.held
    assert not is_locked(tmp_path / "lock")


def test_a_file_that_is_not_there_is_not_locked_and_not_made(tmp_path: Path) -> None:
    assert not is_locked(tmp_path / "lock")
    assert not (tmp_path / "lock").exists()


def test_waiting_for_a_lock_ends_at_the_deadline(tmp_path: Path) -> None:
    holder, other = FileLock(tmp_path / "lock"), FileLock(tmp_path / "lock")
    assert holder.acquire(shared=False, timeout=1)
    began = time.monotonic()
    assert not other.acquire(shared=True, timeout=0.3)
    assert 0.3 <= time.monotonic() - began < 5
    holder.release()
    assert other.acquire(shared=True, timeout=5)
    other.release()


def test_a_lock_is_not_taken_twice_by_one_object(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "lock")
    assert lock.try_acquire(shared=True)
    with pytest.raises(RuntimeError, match="already held"):
        lock.try_acquire(shared=True)
    lock.release()


@pytest.mark.parametrize("kind", ["shared", "exclusive"])
def test_a_killed_process_gives_its_lock_back(tmp_path: Path, kind: str) -> None:
    command = [sys.executable, "-c", LOCKING, str(tmp_path / "lock"), kind]
    lock = FileLock(tmp_path / "lock")
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment_of_tests()) as process:
        try:
            assert read_line(process, timeout=30) == "held"
            assert not lock.try_acquire(shared=False)
        finally:
            process.kill()
    assert lock.acquire(shared=False, timeout=5)
    lock.release()
