"""When a request may go out, and how often a read is repeated. What a venue's headers mean belongs to the venue."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from quant_pipeline.venues.budgets import CELLS, Announcement, Budget, GroupBudget, Permit
from quant_pipeline.venues.errors import RateLimited

ORDER_WAIT = 10.0
"""The longest that a request of an account is held, in seconds: an order that comes later is better decided anew."""


class RateLimiter(Protocol):
    """Holds requests back by group, a venue's word for a budget. May be shared by clients, threads or processes."""

    def before(self, group: str) -> Permit:
        """Wait until a request of `group` may go out. Every permit must be given to `after`.

        Raises:
            RateLimited: the wait would be longer than the limiter allows; nothing was sent.
            ValueError: the venue has no such group.
        """
        ...

    def after(self, permit: Permit, said: Announcement) -> None:
        """The request was answered (`said` is what the answer announced) or failed (an empty announcement)."""
        ...


class BudgetLimiter(ABC):
    """A limiter over `GroupBudget`s; where their numbers are kept is said by its two kinds."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        *,
        max_wait: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Hold back what `budgets` do not allow.

        Args:
            budgets: what each group may send until the venue says otherwise.
            max_wait: the longest a caller is held, in seconds.
            monotonic: seconds of a clock that never goes back; the same for all who share the budgets.
            sleep: waits for seconds.
        """
        self._budgets = dict(budgets)
        self._max_wait = max_wait
        self._monotonic = monotonic
        self._sleep = sleep

    def before(self, group: str) -> Permit:
        """Wait for a permit, or raise RateLimited."""
        deadline = self._monotonic() + self._max_wait
        while True:
            with self._opened(group) as budget:
                now = self._monotonic()
                found = budget.take(group, now)
            if isinstance(found, Permit):
                return found
            if now + found > deadline:
                raise RateLimited(found, f"the budget {group!r} is used up")
            self._sleep(found)

    def after(self, permit: Permit, said: Announcement) -> None:
        """Note what became of a request."""
        with self._opened(permit.group) as budget:
            budget.give_back(permit, self._monotonic(), said)

    def _budget_of(self, group: str) -> Budget:
        found = self._budgets.get(group)
        if found is None:
            msg = f"no budget is known for {group!r}; known are {', '.join(sorted(self._budgets))}"
            raise ValueError(msg)
        return found

    @abstractmethod
    def _opened(self, group: str) -> AbstractContextManager[GroupBudget]:
        """The group's numbers, for this caller alone inside the block."""


class InProcessLimiter(BudgetLimiter):
    """The limiter of one process, shared by its threads."""

    def __init__(
        self,
        budgets: Mapping[str, Budget],
        *,
        max_wait: float,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """See `BudgetLimiter`."""
        super().__init__(budgets, max_wait=max_wait, monotonic=monotonic, sleep=sleep)
        self._lock = threading.Lock()
        self._groups: dict[str, GroupBudget] = {}

    @contextmanager
    def _opened(self, group: str) -> Iterator[GroupBudget]:
        budget = self._budget_of(group)
        with self._lock:
            if group not in self._groups:
                self._groups[group] = GroupBudget(np.zeros(CELLS), budget)
            yield self._groups[group]


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
