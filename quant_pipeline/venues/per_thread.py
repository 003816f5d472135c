"""One object per thread and process: HTTP sessions are not documented as thread-safe, and a fork copies sockets."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable


class PerThread[T]:
    """Builds its value on first use in each thread, and again after a fork or after `close`."""

    def __init__(self, build: Callable[[], T], close: Callable[[T], None]) -> None:
        """`build` makes one value, `close` gives back what it holds."""
        self._build = build
        self._close = close
        self._lock = threading.Lock()
        self._local = threading.local()
        self._made: list[tuple[int, T]] = []

    def get(self) -> T:
        """This thread's value."""
        held: tuple[int, T] | None = getattr(self._local, "held", None)
        if held is None or held[0] != os.getpid():
            held = (os.getpid(), self._build())
            self._local.held = held
            with self._lock:
                self._made.append(held)
        return held[1]

    def close(self) -> None:
        """Close what this process made, in all threads; nobody may be using it any more."""
        with self._lock:
            made, self._made = self._made, []
        self._local = threading.local()
        for pid, value in made:
            if pid == os.getpid():
                self._close(value)
