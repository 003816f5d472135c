"""One object per thread and process: HTTP sessions are not documented as thread-safe, and a fork copies sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class PerThread[T]:
    """Builds its value on first use in each thread, and again after a fork."""

    def __init__(self, build: Callable[[], T]) -> None:
        """`build` makes one value."""
        self._build = build
        self._local = threading.local()

    def get(self) -> T:
        """This thread's value."""
        held: tuple[int, T] | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():
            held = (os.getpid(), self._build())
            self._local.held = held
        return held[1]
