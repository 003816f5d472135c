"""Every benchmark starts: nothing else runs them, so a name that has moved would be noticed by nobody."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

BENCHMARKS = sorted(path.stem for path in Path(__file__).parent.glob("[!_]*.py") if not path.stem.startswith("test_"))


@pytest.mark.parametrize("name", BENCHMARKS)
def test_a_benchmark_says_how_it_is_used(name: str) -> None:
    command = [sys.executable, "-m", f"quant_pipeline_tests.benchmarks.{name}", "--help"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, cwd=root)
    assert (done.returncode, done.stdout[:6]) == (0, "usage:"), done.stderr
