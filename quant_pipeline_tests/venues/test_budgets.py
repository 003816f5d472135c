"""The arithmetic of budgets against a venue that counts in windows: never a request too many, and hardly one too few."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.venues.budgets import CELLS, LEASE, Announcement, Budget, GroupBudget, Permit

TEN = Budget(10, 1.0)
SAID_NOTHING = Announcement()


def _group(budget: Budget = TEN) -> GroupBudget:
    return GroupBudget(np.zeros(CELLS), budget)


def _taken(group: GroupBudget, now: float) -> Permit:
    found = group.take("g", now)
    assert isinstance(found, Permit), f"must wait {found} s"
    return found


def _wait(group: GroupBudget, now: float) -> float:
    found = group.take("g", now)
    assert not isinstance(found, Permit)
    return found


@dataclass
class Window:
    """A venue that allows `limit` requests in each window, which begin at `phase`."""

    limit: int
    seconds: float
    phase: float
    number: int = -1
    used: int = 0
    passed: int = 0
    refused: int = 0

    def handle(self, at: float) -> int | None:
        """What is left after a request at `at`, None when it was refused."""
        number = int((at + self.phase) // self.seconds)
        if number != self.number:
            self.number, self.used = number, 0
        if self.used >= self.limit:
            self.refused += 1
            return None
        self.used += 1
        self.passed += 1
        return self.limit - self.used


@dataclass
class Play:
    """Clients that send one request after the other, under one budget, to one venue."""

    group: GroupBudget
    venue: Window
    clients: int
    ways: Iterator[tuple[float, float]]
    says_limit: bool = False
    _events: list[tuple[float, int, Callable[[float], None]]] = field(default_factory=list)
    _count: Iterator[int] = field(default_factory=itertools.count)

    def run(self, seconds: float, begin: float = 1000.0) -> None:
        for i in range(self.clients):
            self._at(begin + 0.013 * i, self._ask)
        while self._events and self._events[0][0] < begin + seconds:
            at, _, happens = heapq.heappop(self._events)
            happens(at)

    def _at(self, when: float, what: Callable[[float], None]) -> None:
        heapq.heappush(self._events, (when, next(self._count), what))

    def _ask(self, now: float) -> None:
        found = self.group.take("g", now)
        if not isinstance(found, Permit):
            assert found > 0
            self._at(now + found, self._ask)
            return
        there, back = next(self.ways)
        self._at(now + there, lambda at: self._handled(found, at, back))

    def _handled(self, permit: Permit, now: float, back: float) -> None:
        left = self.venue.handle(now)
        limit = self.venue.limit if self.says_limit else None
        said = Announcement(limit, left or 0, resets_in=self.venue.seconds, pause=0.0 if left is not None else 1.0)
        self._at(now + back, lambda at: self._answered(permit, at, said))

    def _answered(self, permit: Permit, now: float, said: Announcement) -> None:
        self.group.give_back(permit, now, said)
        self._at(now, self._ask)


@given(
    ways=st.lists(st.tuples(st.floats(0, 0.4), st.floats(0, 0.4)), min_size=1, max_size=40),
    phase=st.floats(0, 1),
    clients=st.integers(1, 4),
    limit=st.integers(10, 14),
)
def test_no_window_ever_sees_a_request_too_many_however_long_ways_take(
    ways: list[tuple[float, float]], phase: float, clients: int, limit: int
) -> None:
    venue = Window(limit, 1.0, phase)
    Play(_group(), venue, clients, itertools.cycle(ways)).run(15.0)
    assert venue.refused == 0
    assert venue.passed > 0


@pytest.mark.parametrize(("limit", "window", "at_once"), [(10, 1.0, 1.0), (8, 1.0, 1.0), (200, 60.0, 0.1)])
@pytest.mark.parametrize("clients", [1, 2, 3])
@pytest.mark.parametrize("way", [0.002, 0.01, 0.03])
def test_nearly_everything_that_is_allowed_is_used(
    limit: int, window: float, at_once: float, clients: int, way: float
) -> None:
    venue = Window(limit, window, 0.37)
    budget = Budget(limit, window, at_once)
    Play(_group(budget), venue, clients, itertools.repeat((way, way)), says_limit=window > 1).run(30 * window)
    assert venue.refused == 0
    assert venue.passed / (30 * limit) > 0.98


def test_a_long_way_to_the_venue_costs_less_than_it_takes() -> None:
    venue = Window(10, 1.0, 0.5)
    Play(_group(), venue, 6, itertools.repeat((0.1, 0.1))).run(60.0)
    assert venue.refused == 0
    assert venue.passed > 0.9 * 600  # waiting a window after each answer would leave 10 requests every 1.2 seconds


def test_the_budget_is_what_the_venue_announces() -> None:
    stated = _group(Budget(200, 60.0))
    stated.give_back(_taken(stated, 1.0), 1.1, Announcement(limit=1000, remaining=999))
    assert stated.limit == 1000
    raised, lowered = _group(), _group()
    raised.give_back(_taken(raised, 1.0), 1.1, Announcement(remaining=29))
    lowered.give_back(_taken(lowered, 1.0), 1.1, Announcement(remaining=4))
    assert (raised.limit, lowered.limit) == (30, 5)
    lowered.give_back(_taken(lowered, 9.0), 9.1, Announcement(remaining=9))
    assert lowered.limit == 10


def test_a_used_up_budget_waits_for_its_oldest_answer() -> None:
    group = _group()
    permits = [_taken(group, 50.0 + 0.01 * i) for i in range(10)]
    for i, permit in enumerate(permits):
        group.give_back(permit, 50.5 + 0.01 * i, Announcement(remaining=9 - i))
    assert _wait(group, 51.0) == pytest.approx(0.501)
    assert _taken(group, 51.502).number == 11


def test_what_others_spend_is_noticed_by_what_is_left() -> None:
    group = _group()
    group.give_back(_taken(group, 50.0), 50.1, Announcement(remaining=0, resets_in=1.0))
    assert _wait(group, 50.2) == pytest.approx(0.9)


def test_a_refusal_pauses_everyone_and_a_shorter_pause_shortens_no_longer_one() -> None:
    group = _group()
    first, second = _taken(group, 50.0), _taken(group, 50.0)
    group.give_back(first, 50.1, Announcement(pause=60.0))
    group.give_back(second, 50.2, Announcement(pause=1.0))
    assert _wait(group, 51.1) == pytest.approx(59.0)
    assert _taken(group, 110.2)


def test_a_request_whose_process_was_killed_gives_its_slot_back_after_a_while() -> None:
    group = _group()
    for _ in range(10):
        _taken(group, 50.0)
    assert _wait(group, 50.0 + LEASE) > 0
    assert _taken(group, 50.0 + LEASE + 1.1)


def test_an_answer_that_comes_after_its_lease_takes_no_slot_from_its_successor() -> None:
    group = _group(Budget(1, 1.0))
    lost = _taken(group, 50.0)
    _taken(group, 90.0)
    group.give_back(lost, 90.1, SAID_NOTHING)
    assert _wait(group, 92.0) > 0


def test_a_clock_that_began_anew_holds_nobody_back() -> None:
    group = _group()
    permits = [_taken(group, 9_000_000.0) for _ in range(10)]
    for permit in permits[:-1]:
        group.give_back(permit, 9_000_000.1, Announcement(pause=5.0))
    assert _taken(group, 12.0)


def test_bulk_requests_are_spread_so_that_an_urgent_one_finds_a_slot_soon() -> None:
    group = _group(Budget(200, 60.0, at_once=0.1))
    now, waits = 500.0, []
    while now < 700.0:
        found = group.take("g", now)
        if isinstance(found, Permit):
            group.give_back(found, now + 0.01, Announcement(limit=200))
            now += 0.01
        else:
            waits.append(found)
            now += found
    assert max(waits) < 6.5
