"""The slots of a session's grid by what is known of them: traded, no trade, not fetched, unknown, not over yet.

Here belongs how a slot is told apart from another one, given times as numbers. Which slots a session has is said by the
calendar, what was fetched by storage.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise

import numpy as np
import numpy.typing as npt

type Nanoseconds = npt.NDArray[np.int64]
type Kinds = npt.NDArray[np.int8]


class SlotKind(IntEnum):
    """What is known of one slot of the grid. Only `UNKNOWN` and `NOT_FETCHED` are holes that a venue can fill."""

    PRESENT = 0
    NO_TRADE = 1
    UNKNOWN = 2
    NOT_FETCHED = 3
    NOT_YET = 4

    @property
    def code(self) -> str:
        """The name in lower case, as shown to people."""
        return self.name.lower()

    @property
    def is_hole(self) -> bool:
        """Whether nobody can say why there is no bar."""
        return self in _HOLES


_HOLES = frozenset({SlotKind.UNKNOWN, SlotKind.NOT_FETCHED})


@dataclass(frozen=True, slots=True)
class Slots:
    """The grid of a span: starts of the bars and when each is over, UTC nanoseconds, both ascending."""

    starts: Nanoseconds
    ends: Nanoseconds


@dataclass(frozen=True, slots=True)
class SlotRun:
    """Neighbouring slots of one kind: start of the first, end of the last (UTC nanoseconds), and how many."""

    kind: SlotKind
    start: int
    end: int
    slots: int


def slot_kinds(grid: Slots, present: Nanoseconds, *, fetched_to: int | None, now: int, imported: bool) -> Kinds:
    """The `SlotKind` of every slot, as int8.

    Args:
        grid: the slots.
        present: starts of the stored bars, in any order; those off the grid do not count.
        fetched_to: up to when the venue was asked without a gap from the session's beginning; None: never.
        now: slots that end later are not over yet.
        imported: whether absent slots after `fetched_to` are those of a file, which cannot say why.
    """
    absent = SlotKind.UNKNOWN if imported else SlotKind.NOT_FETCHED
    kinds = np.full(grid.starts.shape, int(absent), np.int8)
    kinds[grid.ends > now] = int(SlotKind.NOT_YET)
    if fetched_to is not None:
        kinds[grid.ends <= fetched_to] = int(SlotKind.NO_TRADE)
    kinds[np.isin(grid.starts, present)] = int(SlotKind.PRESENT)
    return kinds


def slot_runs(grid: Slots, kinds: Kinds) -> tuple[SlotRun, ...]:
    """Neighbouring slots of one kind taken together, in order of time."""
    if kinds.size == 0:
        return ()
    edges = np.concatenate(([0], np.flatnonzero(np.diff(kinds)) + 1, [kinds.size])).tolist()
    return tuple(
        SlotRun(SlotKind(int(kinds[a])), int(grid.starts[a]), int(grid.ends[b - 1]), b - a) for a, b in pairwise(edges)
    )


def count_by_day(times: Nanoseconds, days: Nanoseconds) -> list[int]:
    """How many of the ascending `times` lie on each UTC day, numbered from 1970."""
    counts: list[int] = (np.searchsorted(times, (days + 1) * DAY_NS) - np.searchsorted(times, days * DAY_NS)).tolist()
    return counts


DAY_NS = 86_400_000_000_000
"""Nanoseconds of one day."""
