"""How kernels are compiled, in one place; the kernels themselves are in the `kernel_*` modules.

No fastmath and no contraction, so that a compiled kernel equals plain Python bit for bit. Compiled code is kept on
disk only where `NUMBA_CACHE_DIR` names a folder: numba does not notice an edit of a helper in another module, so the
folder must be named by a hash of the core sources, which whoever starts a process does before numba is imported.
Without such a folder the kernels are compiled anew in each process: slow, but never stale.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import config, njit

_KEEP = bool(config.CACHE_DIR)


def kernel[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` without Python objects, keeping its type for callers and type checkers."""
    compiled: Callable[P, R] = njit(cache=_KEEP, nogil=True, fastmath=False, error_model="python")(function)
    return compiled
