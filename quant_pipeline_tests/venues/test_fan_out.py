"""Requests of a client side by side: in order, really at a time, and with an end when one fails or the process forks."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator

import pytest

from quant_pipeline.venues.fan_out import WIDTH, FanOut

pytestmark = pytest.mark.timeout(60)


@pytest.fixture
def fan_out() -> Iterator[FanOut]:
    """One that is closed afterwards."""
    made = FanOut()
    yield made
    made.close()


def test_as_many_as_allowed_run_at_a_time_and_results_keep_the_order(fan_out: FanOut) -> None:
    together = threading.Barrier(WIDTH, timeout=30)  # breaks unless so many calls wait in it at once

    def call(number: int) -> int:
        together.wait()
        return number * number

    assert fan_out.map(call, range(3 * WIDTH)) == [n * n for n in range(3 * WIDTH)]


def test_threads_are_kept_from_one_call_to_the_next(fan_out: FanOut) -> None:
    def names() -> set[str]:
        together = threading.Barrier(WIDTH, timeout=30)

        def call(_number: int) -> str:
            together.wait()
            return threading.current_thread().name

        return set(fan_out.map(call, range(WIDTH)))

    first = names()
    assert len(first) == WIDTH
    assert names() == first


def test_one_argument_is_a_plain_call(fan_out: FanOut) -> None:
    assert fan_out.map(lambda _: threading.current_thread(), [0]) == [threading.current_thread()]
    assert fan_out.map(lambda _: 0, []) == []


def test_the_first_failure_is_raised_when_nothing_runs_any_more(fan_out: FanOut) -> None:
    together = threading.Barrier(WIDTH, timeout=30)
    running: set[int] = set()
    begun: list[int] = []

    def call(number: int) -> None:
        begun.append(number)
        running.add(number)
        try:
            if number < WIDTH:
                together.wait()
            if number == 1:
                msg = "no answer for 1"
                raise ConnectionError(msg)
        finally:
            running.discard(number)

    with pytest.raises(ConnectionError, match="no answer for 1"):
        fan_out.map(call, range(200))
    assert running == set()
    seen = len(begun)
    assert fan_out.map(lambda number: number, [7, 8]) == [7, 8]
    assert len(begun) == seen, "what had not begun was not made afterwards"


def test_a_forked_child_has_threads_of_its_own(fan_out: FanOut) -> None:
    together = threading.Barrier(WIDTH, timeout=30)
    fan_out.map(lambda _: together.wait(), range(WIDTH))  # every thread exists now, and none of them in the child
    child = os.fork()
    if child == 0:
        signal.alarm(20)  # ends a child that waits for threads that it has not
        os._exit(0 if fan_out.map(lambda number: number, [3, 4]) == [3, 4] else 9)
    assert os.waitpid(child, 0)[1] == 0
    assert fan_out.map(lambda number: number, [5, 6]) == [5, 6]
