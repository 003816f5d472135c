"""The numba cache folder follows the sources, and the environment is set before anything is imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import quant_pipeline
from quant_pipeline.runtime import numba_cache
from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

REPORT = """
import os, sys
from pathlib import Path
from quant_pipeline.runtime.numba_cache import set_numba_cache_dir
set_numba_cache_dir(Path(sys.argv[1]))
print([name for name in ("numba", "numpy", "pandas") if name in sys.modules])
print(os.environ["NUMBA_CACHE_DIR"], os.environ["OMP_NUM_THREADS"], os.environ["OPENBLAS_NUM_THREADS"])
import numba.core.config
print(numba.core.config.CACHE_DIR)
set_numba_cache_dir(Path(sys.argv[1]))
try:
    set_numba_cache_dir(Path(sys.argv[1]) / "other")
except RuntimeError as error:
    print(error)
"""


def run_report(folder: Path, **environment: str) -> list[str]:
    """What a fresh interpreter says."""
    base = {k: v for k, v in environment_of_tests().items() if not k.endswith("NUM_THREADS") and k != "NUMBA_CACHE_DIR"}
    command = [sys.executable, "-c", REPORT, str(folder)]
    done = subprocess.run(command, env={**base, **environment}, capture_output=True, text=True, timeout=120, check=True)
    return done.stdout.splitlines()


def test_a_fresh_process_uses_the_folder_and_one_thread(tmp_path: Path) -> None:
    imported, variables, used, complaint = run_report(tmp_path / "a state folder")
    folder = tmp_path / "a state folder" / "numba" / numba_cache.cache_key()
    assert imported == "[]"
    assert variables == f"{folder} 1 1"
    assert used == str(folder)
    assert "numba was imported before" in complaint


def test_threads_that_the_user_chose_are_kept(tmp_path: Path) -> None:
    assert run_report(tmp_path, OMP_NUM_THREADS="3")[1].endswith(" 3 1")


@pytest.fixture
def core_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package folder with two core sources that the key is computed from."""
    core = tmp_path / "package" / "core"
    (core / "inner").mkdir(parents=True)
    (core / "kernel.py").write_text("x = 1\n")
    (core / "inner" / "helper.py").write_text("y = 1\n")
    monkeypatch.setattr(quant_pipeline, "__path__", [str(core.parent)])
    return core


def test_the_key_follows_every_core_source(core_copy: Path) -> None:
    seen = {numba_cache.cache_key()}
    (core_copy / "inner" / "helper.py").write_text("y = 2\n")
    seen.add(numba_cache.cache_key())
    (core_copy / "inner" / "helper.py").rename(core_copy / "helper.py")
    seen.add(numba_cache.cache_key())
    assert len(seen) == 3
    (core_copy / "notes.txt").write_text("not a source")
    assert numba_cache.cache_key() in seen


def test_only_folders_unused_for_long_are_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "numba", raising=False)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    old, recent = tmp_path / "numba" / "old", tmp_path / "numba" / "recent"
    for folder in (old, recent):
        folder.mkdir(parents=True)
    os.utime(old, (1_000_000_000, 1_000_000_000))
    current = numba_cache.set_numba_cache_dir(tmp_path)
    assert not old.exists()
    assert recent.exists()
    assert current.exists()
