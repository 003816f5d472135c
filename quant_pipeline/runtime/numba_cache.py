"""Process environment that numeric libraries read at import: where numba keeps compiled code, one thread for BLAS.

To be called before numba, numpy or a learning library is imported; imports none of them.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import os
import platform
import shutil
import sys
import time
from pathlib import Path
from typing import Final

import quant_pipeline

_CACHE_VARIABLE: Final = "NUMBA_CACHE_DIR"
_THREAD_VARIABLES: Final = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)
_KEEP_SECONDS: Final = 14 * 24 * 3600.0
_COMPILED_WITH: Final = ("numba", "llvmlite", "numpy", "pandas-ta")


def set_numba_cache_dir(state_dir: Path) -> Path:
    """Point numba's cache to `<state_dir>/numba/<hash>` and fix BLAS to one thread where nothing is set.

    numba notices an edit of the function that it cached, but not of a helper in another module that the function calls.
    So the folder is named by everything that compiled code depends on: all core sources, the versions, the machine.
    Folders unused for two weeks are removed. Children inherit the setting through the environment.

    Returns:
        The folder, which exists.

    Raises:
        RuntimeError: numba is imported already and looks elsewhere; call this first.
    """
    folder = (state_dir.resolve() / "numba" / cache_key()).absolute()
    wanted = str(folder)
    if "numba" in sys.modules and os.environ.get(_CACHE_VARIABLE) != wanted:
        msg = f"numba was imported before its cache folder was set to {folder}; set it first"
        raise RuntimeError(msg)
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    _remove_old(folder)
    os.environ[_CACHE_VARIABLE] = wanted
    set_thread_defaults()
    return folder


def set_thread_defaults() -> None:
    """One thread for BLAS and OpenMP unless the user chose otherwise: with two, dot products differ in the last bit."""
    for name in _THREAD_VARIABLES:
        os.environ.setdefault(name, "1")


def cache_key() -> str:
    """Hash of all sources in `quant_pipeline/core`, the versions of Python and the compiler, and the machine type."""
    digest = hashlib.sha256()
    digest.update(f"{sys.implementation.cache_tag} {platform.machine()} {sys.platform}\n".encode())
    for name in _COMPILED_WITH:
        digest.update(f"{name} {importlib.metadata.version(name)}\n".encode())
    core = Path(next(iter(quant_pipeline.__path__))) / "core"
    for path in sorted(core.rglob("*.py")):
        source = path.read_bytes()
        digest.update(f"{path.relative_to(core).as_posix()} {len(source)}\n".encode())
        digest.update(source)
    return digest.hexdigest()[:16]


def _remove_old(current: Path) -> None:
    """Remove the folders of older sources that nobody has used for long."""
    oldest = time.time() - _KEEP_SECONDS
    for folder in current.parent.iterdir():
        if folder != current and folder.is_dir() and folder.stat().st_mtime < oldest:
            shutil.rmtree(folder, ignore_errors=True)  # another process may be removing it as well
