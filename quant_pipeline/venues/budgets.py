"""How many requests a venue welcomes, as arithmetic on one array of numbers. Who keeps the array belongs to `limits.py`.

A request takes a slot when it is sent, and the slot is free again one window after its *answer* came. The venue counted
the request somewhere in between, so whatever the phase of its windows and however long answers take, no window ever
sees more requests than there are slots. What the venue says it has left may be spent besides: without that, a long way
to the venue would cost a part of every window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

CAPACITY: Final = 12_000
"""Slots of one group: no larger budget is used up."""

_LIMIT, _PAUSED, _PACE, _CREDIT, _SENT, _SLOTS = range(6)
CELLS: Final = _SLOTS + CAPACITY
LEASE: Final = 30.0
"""Seconds after which a request without an answer counts as answered: its process was killed."""

_LONGEST_PAUSE: Final = 3600.0
_SKEW: Final = 1.001
"""The venue's clock may run slower than ours by less than this."""


@dataclass(frozen=True, slots=True)
class Budget:
    """What a group may send until its venue says otherwise: `requests` in any `seconds`.

    `at_once` is the part of it that may go out without a pause. Where bulk and urgent requests share a budget it is
    small: then a slot becomes free every few moments, and nothing urgent waits for the next window.
    """

    requests: int
    seconds: float
    at_once: float = 1.0


@dataclass(frozen=True, slots=True)
class Announcement:
    """What an answer says about its group: requests allowed in a window, left in this one, None where it is silent.

    `resets_in` (seconds) is when the window ends at the latest; `pause` how long nothing more is welcome, as after 429.
    """

    limit: int | None = None
    remaining: int | None = None
    resets_in: float = 0.0
    pause: float = 0.0


@dataclass(frozen=True, slots=True)
class Permit:
    """One request that may go out. `number` counts the group's requests, `abroad` those unanswered when it left."""

    group: str
    slot: int
    lease: float
    number: int
    abroad: int


class GroupBudget:
    """One group's numbers, changed in place. Times are seconds of one clock that all who share the numbers read.

    A time that the clock cannot have led to (it began anew since) counts as past.
    """

    def __init__(self, cells: NDArray[np.float64], budget: Budget) -> None:
        """`cells` has `CELLS` numbers, all zero at first."""
        self._cells = cells
        self._slots = cells[_SLOTS:]
        self._budget = budget

    @property
    def limit(self) -> int:
        """Requests in a window, as last announced."""
        return int(self._cells[_LIMIT]) or self._budget.requests

    def take(self, group: str, now: float) -> Permit | float:
        """A permit, or the seconds to wait before it is worth asking again."""
        cells, ends = self._cells, np.abs(self._slots)
        paused, pace = cells[_PAUSED] - now, self._pace_wait(now)
        wait = max(paused if paused <= _LONGEST_PAUSE else 0.0, pace)
        if wait > 0:
            return float(wait)
        busy = self._busy(ends, now)
        abroad = int((busy & (self._slots < 0)).sum())
        free = self.limit - int(busy.sum())
        slot, lease = int(np.argmin(busy)), now + LEASE + self._window
        if busy[slot] or (free <= 0 and cells[_CREDIT] < 1):
            wait = self._slot_wait(ends[busy & (self._slots > 0)] - now, 1 - free)
            return min(wait, self._gap) if abroad else wait
        self._slots[slot] = -lease
        cells[_CREDIT] = max(cells[_CREDIT] - 1, 0)
        cells[_PACE] = max(cells[_PACE] if pace > -np.inf else 0.0, now) + self._gap
        cells[_SENT] += 1
        return Permit(group, slot, lease, int(cells[_SENT]), abroad)

    def give_back(self, permit: Permit, now: float, said: Announcement) -> None:
        """The request was answered, or failed, at `now`."""
        cells = self._cells
        if self._slots[permit.slot] == -permit.lease:
            self._slots[permit.slot] = now + self._window
        ours = int(self._busy(np.abs(self._slots), now).sum())
        pause = said.pause
        if said.remaining == 0 and ours < self.limit:
            pause = max(pause, said.resets_in)  # others spend from the same budget
        if said.remaining is not None:
            later = int(cells[_SENT]) - permit.number
            cells[_CREDIT] = max(said.remaining - later - permit.abroad, 0)
        cells[_LIMIT] = min(self._learned(said, ours), CAPACITY)
        if pause > 0:
            until = now + min(pause, _LONGEST_PAUSE)
            old = cells[_PAUSED] if cells[_PAUSED] <= now + _LONGEST_PAUSE else 0.0
            cells[_PAUSED], cells[_CREDIT] = max(until, old), 0

    @property
    def _window(self) -> float:
        return self._budget.seconds * _SKEW

    @property
    def _gap(self) -> float:
        return self._budget.seconds / self.limit

    def _busy(self, ends: NDArray[np.float64], now: float) -> NDArray[np.bool_]:
        """The slots that count as used: their requests may still weigh in the venue's window."""
        return (ends > now) & (ends <= now + LEASE + self._window)

    def _pace_wait(self, now: float) -> float:
        """Seconds until the pace allows another request; far below zero after a rest, or when the clock began anew."""
        early = self._cells[_PACE] - now
        return -np.inf if early > 2 * self._window else float(early - self._budget.at_once * self._budget.seconds)

    def _slot_wait(self, cooling: NDArray[np.float64], needed: int) -> float:
        """When the last of the `needed` next slots is free; answers under way may free some before."""
        if len(cooling) < needed:
            return self._gap
        return float(np.partition(cooling, needed - 1)[needed - 1])

    def _learned(self, said: Announcement, ours: int) -> int:
        """The limit after an answer. Upbit announces only what is left: at least this request was spent, at most ours."""
        if said.limit is not None:
            return max(said.limit, 1)
        if said.remaining is None:
            return self.limit
        return min(max(self.limit, said.remaining + 1), said.remaining + ours)
