"""What Dagster loads: the definitions of the settings found here. All wiring is in `build.py`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quant_pipeline.runtime.numba_cache import set_numba_cache_dir
from quant_pipeline.settings import load_settings

if TYPE_CHECKING:
    import dagster as dg


def _load() -> dg.Definitions:
    """Fix numba's cache and the threads before anything imports numba."""
    settings = load_settings()
    set_numba_cache_dir(settings.home)
    from quant_pipeline.build import build_definitions

    return build_definitions(settings)


defs = _load()
