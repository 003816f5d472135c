"""One limiter for all processes of a machine: the numbers of each group in a small file that is locked while changed.

The kernel drops the lock of a process that dies, and a half-finished change is at worst one slot too many that is
taken. Times are those of the machine's monotonic clock, which all its processes share.
"""

from __future__ import annotations

import mmap
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import numpy as np

from quant_pipeline.venues.budgets import CELLS, Budget, GroupBudget
from quant_pipeline.venues.errors import RateLimited
from quant_pipeline.venues.limits import BudgetLimiter

if sys.platform != "win32":
    import fcntl

_BYTES: Final = CELLS * 8
_LOCK_SECONDS: Final = 5.0
_LOCK_POLL: Final = 0.001


class SharedLimiter(BudgetLimiter):
    """The limiter of all processes that name the same files. May be used by several threads and after a fork."""

    def __init__(
        self,
        stem: Path,
        budgets: Mapping[str, Budget],
        *,
        max_wait: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """See `BudgetLimiter`; the file of a group is `<stem>.<group>`, made (mode 0600) at its first use."""
        super().__init__(budgets, max_wait=max_wait, monotonic=monotonic, sleep=sleep)
        self._stem = stem

    @contextmanager
    def _opened(self, group: str) -> Iterator[GroupBudget]:
        if sys.platform == "win32":
            msg = "budgets are shared through file locks, which this system lacks; use Linux, macOS or WSL"
            raise NotImplementedError(msg)
        budget = self._budget_of(group)
        self._stem.parent.mkdir(parents=True, exist_ok=True)
        # Opened anew each time: an inherited file would share its lock with the process that forked.
        file = os.open(f"{self._stem}.{group}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._lock(file, group)
            if os.fstat(file).st_size < _BYTES:
                os.ftruncate(file, _BYTES)
            # The mapping ends with the last array that looks into it.
            yield GroupBudget(np.frombuffer(mmap.mmap(file, _BYTES), np.float64), budget)
        finally:
            # Unlocked by name: the mapping holds the file open until the last array is gone.
            fcntl.flock(file, fcntl.LOCK_UN)
            os.close(file)

    def _lock(self, file: int, group: str) -> None:
        deadline = time.monotonic() + _LOCK_SECONDS
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    msg = f"a process that is stopped holds {self._stem}.{group}; continue or end it"
                    raise RateLimited(_LOCK_SECONDS, msg) from None
                self._sleep(_LOCK_POLL)
            else:
                return
