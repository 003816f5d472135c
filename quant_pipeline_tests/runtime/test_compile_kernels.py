"""Kernels are compiled into a state folder once; a process that uses them then compiles nothing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from quant_pipeline_tests.runtime.processes_of_tests import environment_of_tests

COUNT = """
import sys
from pathlib import Path
from quant_pipeline.runtime.numba_cache import set_numba_cache_dir
set_numba_cache_dir(Path(sys.argv[1]))
import numba.core.event as event
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e): pass
from quant_pipeline.core.trading.warm_up import compile_trading
event.register("numba:compile", Listener())
compile_trading()
print(len(compiled))
"""


def python(*arguments: str) -> str:
    """Run Python as set-up does, where nobody has chosen a folder for numba; its output."""
    environment = {name: value for name, value in environment_of_tests().items() if name != "NUMBA_CACHE_DIR"}
    done = subprocess.run([sys.executable, *arguments], env=environment, check=True, timeout=300, capture_output=True)
    return done.stdout.decode()


def test_kernels_are_compiled_once_and_then_found_by_whoever_uses_them(tmp_path: Path) -> None:
    module = "quant_pipeline.runtime.compile_kernels"
    python("-m", module, str(tmp_path))
    kernels = list(tmp_path.rglob("*.nb[ci]"))
    assert len(kernels) > 10
    assert python("-c", COUNT, str(tmp_path)) == "0\n"
    for kernel in kernels:
        kernel.unlink()  # a compiler that ran again would make them again
    python("-m", module, str(tmp_path))
    assert not any(tmp_path.rglob("*.nb[ci]"))
