"""How kernels are compiled, in one place; the kernels themselves are in the `kernel_*` modules.

No fastmath and no contraction, so that a compiled kernel equals plain Python bit for bit. Compiled code is cached on
disk. That cache does not notice an edit of a helper in another module: whoever starts a process sets
`NUMBA_CACHE_DIR` to a folder named by a hash of the core sources before numba is imported.
"""

from __future__ import annotations

from collections.abc import Callable

from numba import njit


def kernel[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function` without Python objects, keeping its type for callers and type checkers."""
    compiled: Callable[P, R] = njit(cache=True, nogil=True, fastmath=False, error_model="python")(function)
    return compiled
