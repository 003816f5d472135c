"""Waiting for something with a deadline. What is waited for belongs to the caller."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

POLL_SECONDS: Final = 0.02


def wait_until(condition: Callable[[], bool], *, timeout: float) -> bool:
    """Poll `condition` until it holds or `timeout` seconds have passed; whether it held."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() >= deadline:
            return False
        time.sleep(POLL_SECONDS)
    return True
