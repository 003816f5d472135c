"""Compiling ahead of need leaves nothing to be compiled."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

WATCH = """
import numba.core.event as event, sys
compiled = []
class Listener(event.Listener):
    def on_start(self, e): compiled.append(e.data["dispatcher"].py_func.__qualname__)
    def on_end(self, e): pass
from {module} import {function}
event.register("numba:compile", Listener())
{function}()
print(len(compiled))
"""


def test_what_was_compiled_once_is_found_by_the_next_process(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    code = WATCH.format(module="quant_pipeline.core.trading.warm_up", function="compile_kernels")

    def compiled() -> int:
        done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert compiled() > 10
    assert compiled() == 0
