"""Fills numba's cache of a state folder ahead of the first use: `python -m ... STATE_DIR`. What is compiled belongs to core.

Set-up runs it, so that the first start of a desk or a demo does not wait for a compiler; where everything is compiled
already it ends at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from quant_pipeline.runtime.numba_cache import set_numba_cache_dir

_DONE = "compiled"


def compile_kernels(state_dir: Path) -> bool:
    """Compile into `<state_dir>/numba/<hash>`; False where that was done before.

    Raises:
        RuntimeError: numba is imported already and looks elsewhere.
    """
    folder = set_numba_cache_dir(state_dir)
    done = folder / _DONE
    if done.exists():
        return False
    sys.stderr.write("compiling the trading kernels, once (about 15 seconds)\n")
    from quant_pipeline.core.trading.warm_up import compile_trading

    compile_trading()
    done.touch()
    return True


def main(arguments: Sequence[str]) -> int:
    """Entry point; the one argument is the state folder."""
    (state_dir,) = arguments
    compile_kernels(Path(state_dir))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
