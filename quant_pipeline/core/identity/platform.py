"""The fingerprint of the platform: equal bytes are promised between equal fingerprints, equal outcomes elsewhere."""

from __future__ import annotations

import importlib
import platform
from collections.abc import Mapping
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from types import MappingProxyType

from quant_pipeline.core.identity.content import combine_hashes

_LIBRARIES = ("numpy", "pandas", "numba", "llvmlite", "pandas-ta", "lightgbm", "xgboost")


@cache
def platform_fingerprint() -> Mapping[str, str]:
    """What numbers may depend on here: machine, Python, library versions, and the CPU features in use.

    `cpu_numpy` are the features that numpy dispatches on, `cpu_llvm` the processor that numba compiles for. A library
    that is not installed is "absent". Values are short texts; the mapping cannot be changed.
    """
    found = {
        "system": platform.system(),
        "machine": platform.machine(),
        "python": platform.python_version(),
        "cpu_numpy": _numpy_features(),
        "cpu_llvm": _llvm_cpu(),
    }
    found.update({name: _version(name) for name in _LIBRARIES})
    return MappingProxyType(dict(sorted(found.items())))


def fingerprint_hash(fingerprint: Mapping[str, str]) -> str:
    """SHA-256 (hex) of a fingerprint."""
    return combine_hashes(*(item for key in sorted(fingerprint) for item in (key, fingerprint[key])))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "absent"


def _numpy_features() -> str:
    """Enabled SIMD features by numpy's own account; numpy offers them only from this module."""
    features = importlib.import_module("numpy._core._multiarray_umath").__cpu_features__
    return " ".join(sorted(name for name, enabled in features.items() if enabled))


def _llvm_cpu() -> str:
    name: str = importlib.import_module("llvmlite.binding").get_host_cpu_name()
    return name
