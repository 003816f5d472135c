"""Windows of requests, and what happens to who goes on."""

from __future__ import annotations

from quant_pipeline.exchange.limits import Allowance, Limiter


class Time:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.at = 1000.25

    def __call__(self) -> float:
        return self.at


def test_a_window_allows_so_many_and_the_next_one_begins_anew() -> None:
    time = Time()
    limiter = Limiter({"a": Allowance(2, 1.0)}, now=time)
    assert [(limiter.admit("a").allowed) for _ in range(3)] == [True, True, False]
    refused = limiter.admit("a")
    assert (refused.limit, refused.remaining, refused.resets_at, refused.blocked_for) == (2, 0, 1001.0, 0.0)
    time.at = 1001.0
    assert limiter.admit("a").remaining == 1


def test_groups_are_counted_apart() -> None:
    limiter = Limiter({"a": Allowance(1, 1.0), "b": Allowance(1, 60.0)}, now=Time())
    assert [limiter.admit(group).allowed for group in ("a", "b", "a", "b")] == [True, True, False, False]


def test_who_persists_is_shut_out_of_all_groups_for_growing_times() -> None:
    time = Time()
    limiter = Limiter({"a": Allowance(1, 1.0), "b": Allowance(9, 1.0)}, block_after=2, now=time)
    answers = [limiter.admit("a") for _ in range(4)]
    assert [answer.blocked_for for answer in answers] == [0.0, 0.0, 0.0, 1.0]
    assert not limiter.admit("b").allowed
    time.at = 1001.3
    again = [limiter.admit("a") for _ in range(4)]
    assert [answer.allowed for answer in again] == [True, False, False, False]
    assert again[-1].blocked_for == 2.0


def test_without_a_block_refusals_go_on_for_ever() -> None:
    limiter = Limiter({"a": Allowance(1, 1.0)}, now=Time())
    assert {limiter.admit("a").blocked_for for _ in range(100)} == {0.0}
