"""Objectives for studies, importable by worker processes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping

from quant_pipeline.core.models.tuning import Dimension

SPACE = (
    Dimension("rate", 0.001, 0.3, log=True),
    Dimension("leaves", 8, 128, integer=True),
    Dimension("share", 0.5, 1.0),
)
START = {"rate": 0.1, "leaves": 20, "share": 0.8}


def bowl(params: Mapping[str, float | int]) -> float:
    """Smallest at rate 0.05, 40 leaves, share 0.8."""
    return (params["rate"] - 0.05) ** 2 * 100 + ((params["leaves"] - 40) / 100) ** 2 + (params["share"] - 0.8) ** 2


def uneven_bowl(params: Mapping[str, float | int]) -> float:
    """`bowl`, taking longer for some parameters than for others, so that trials of a batch end in another order."""
    time.sleep(0.02 * (params["leaves"] % 3))
    return bowl(params)


def half_broken_bowl(params: Mapping[str, float | int]) -> float:
    """`bowl` that has no value for an even number of leaves."""
    return bowl(params) if params["leaves"] % 2 else float("nan")


class DyingBowl:
    """`bowl` that ends its process at the given call, as a kill would."""

    def __init__(self, at_call: int) -> None:
        self.at_call = at_call
        self.calls = 0
        self._lock = threading.Lock()

    def __call__(self, params: Mapping[str, float | int]) -> float:
        with self._lock:
            self.calls += 1
            if self.calls == self.at_call:
                os._exit(9)
        return bowl(params)
