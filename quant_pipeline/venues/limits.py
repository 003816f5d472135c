"""When a request may go out, and how often a read is repeated. What a venue's headers mean belongs to the venue."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from quant_pipeline.venues.errors import RateLimited


class RateLimiter(Protocol):
    """Holds requests back by group, a venue's word for a budget. May be shared by clients, threads or processes."""

    def before(self, group: str) -> None:
        """Wait until a request of `group` may go out.

        Raises:
            RateLimited: the wait would be longer than the limiter allows; nothing was sent.
        """
        ...

    def pause(self, group: str, seconds: float) -> None:
        """The venue said that nothing more of `group` is welcome for `seconds`."""
        ...


class InProcessLimiter:
    """The limiter of one process: remembers per group until when to hold back."""

    def __init__(
        self,
        *,
        max_wait: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """`max_wait` is the longest a caller is held, in seconds."""
        self._max_wait = max_wait
        self._monotonic = monotonic
        self._sleep = sleep
        self._free_at: dict[str, float] = {}
        self._lock = threading.Lock()

    def before(self, group: str) -> None:
        """Wait until a request of `group` may go out, or raise RateLimited."""
        with self._lock:
            wait = self._free_at.get(group, 0.0) - self._monotonic()
        if wait <= 0:
            return
        if wait > self._max_wait:
            raise RateLimited(wait, f"the budget {group!r} is used up")
        self._sleep(wait)

    def pause(self, group: str, seconds: float) -> None:
        """Hold requests of `group` back for `seconds` from now; a shorter pause never shortens a longer one."""
        if seconds <= 0:
            return
        with self._lock:
            until = self._monotonic() + seconds
            self._free_at[group] = max(until, self._free_at.get(group, until))


@dataclass(frozen=True, slots=True)
class ReadRetries:
    """How often a request that changes nothing is repeated. Orders are never repeated here."""

    waits: tuple[float, ...] = (0.5, 1.5)
    sleep: Callable[[float], None] = time.sleep

    def run[T](
        self,
        call: Callable[[], T],
        *,
        errors: tuple[type[Exception], ...],
        failed: Callable[[T], bool] = lambda _: False,
    ) -> T:
        """The first good answer of `call`, or whatever its last attempt gives (answer or exception)."""
        for wait in self.waits:
            try:
                answer = call()
            except errors:
                pass
            else:
                if not failed(answer):
                    return answer
            self.sleep(wait)
        return call()
