"""Several requests of one client under way at a time, where a venue has no request for many symbols.

What is asked belongs to the client, and how fast to its limiter: this only keeps a distant venue's answers from being
waited for in turn.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import Final

WIDTH: Final = 4
"""Upbit allows 10 requests a second: four at a time use that up as long as an answer takes less than 0.4 s."""


class FanOut:
    """Threads that are kept, because each has an HTTP session of its own; made at first use and anew after a fork."""

    def __init__(self, width: int = WIDTH) -> None:
        """At most `width` calls run at a time."""
        self._width = width
        self._lock = threading.Lock()
        self._held: tuple[int, ThreadPoolExecutor] | None = None

    def map[A, R](self, call: Callable[[A], R], arguments: Sequence[A]) -> list[R]:
        """The results in the order of `arguments`; with one argument, from the caller's own thread.

        Raises:
            Whatever the first argument that fails raised, when no call is running any more; calls that had not begun
            are not made.
        """
        if len(arguments) <= 1:
            return [call(argument) for argument in arguments]
        futures = [self._threads().submit(call, argument) for argument in arguments]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            begun = [future for future in futures if not future.cancel()]
            wait(begun)
        return [future.result() for future in begun]

    def close(self) -> None:
        """End the threads; nobody may be using them any more."""
        with self._lock:
            held, self._held = self._held, None
        if held is not None and held[0] == os.getpid():
            held[1].shutdown()

    def _threads(self) -> ThreadPoolExecutor:
        with self._lock:
            if self._held is None or self._held[0] != os.getpid():
                self._held = os.getpid(), ThreadPoolExecutor(self._width, thread_name_prefix="venue")
            return self._held[1]
