"""When requests are held back, how often reads are repeated, and what the venues' headers say."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.venues.alpaca import clients as alpaca
from quant_pipeline.venues.errors import RateLimited
from quant_pipeline.venues.limits import InProcessLimiter, ReadRetries
from quant_pipeline.venues.upbit import limits as upbit


class Time:
    """A clock that moves by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def _limiter(time: Time, max_wait: float = 10.0) -> InProcessLimiter:
    return InProcessLimiter(max_wait=max_wait, monotonic=time.monotonic, sleep=time.sleep)


def test_a_free_group_does_not_wait() -> None:
    time = Time()
    limiter = _limiter(time)
    limiter.pause("order", 1.0)
    limiter.before("default")
    assert time.slept == []


def test_a_paused_group_waits_for_the_rest_of_its_pause_once() -> None:
    time = Time()
    limiter = _limiter(time)
    limiter.pause("order", 1.0)
    time.now += 0.25
    limiter.before("order")
    limiter.before("order")
    assert time.slept == [0.75]


def test_a_shorter_pause_does_not_shorten_a_longer_one() -> None:
    time = Time()
    limiter = _limiter(time)
    limiter.pause("order", 5.0)
    limiter.pause("order", 1.0)
    limiter.before("order")
    assert time.slept == [5.0]


def test_too_long_a_wait_is_refused_instead() -> None:
    time = Time()
    limiter = _limiter(time, max_wait=2.0)
    limiter.pause("order", 3.0)
    with pytest.raises(RateLimited) as caught:
        limiter.before("order")
    assert caught.value.retry_after == 3.0
    assert time.slept == []


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.floats(0, 3), st.floats(0, 3)), max_size=30))
def test_no_request_ever_leaves_inside_a_pause(steps: list[tuple[str, float, float]]) -> None:
    time = Time()
    limiter = _limiter(time)
    free = {"a": 0.0, "b": 0.0}
    for group, passed, pause in steps:
        time.now += passed
        limiter.before(group)
        assert time.now >= free[group] - 1e-9
        limiter.pause(group, pause)
        free[group] = max(free[group], time.now + pause)


class Attempts:
    """Gives the scripted answers one after the other; an exception is raised."""

    def __init__(self, *answers: object) -> None:
        self.answers = list(answers)

    def __call__(self) -> object:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


def test_a_read_is_repeated_until_it_is_good() -> None:
    time = Time()
    retries = ReadRetries(waits=(0.5, 1.5), sleep=time.sleep)
    call = Attempts(TimeoutError(), 503, "good", "never asked for")
    assert retries.run(call, errors=(TimeoutError,), failed=lambda answer: answer == 503) == "good"
    assert time.slept == [0.5, 1.5]


def test_the_last_attempt_gives_what_it_gives() -> None:
    retries = ReadRetries(waits=(0.0,), sleep=Time().sleep)
    assert retries.run(Attempts(503, 503), errors=(), failed=lambda answer: answer == 503) == 503
    with pytest.raises(TimeoutError):
        retries.run(Attempts(TimeoutError(), TimeoutError()), errors=(TimeoutError,))


def test_an_error_that_no_repetition_cures_is_raised_at_once() -> None:
    call = Attempts(ValueError("bad"), "never asked for")
    with pytest.raises(ValueError, match="bad"):
        ReadRetries(sleep=Time().sleep).run(call, errors=(TimeoutError,))
    assert len(call.answers) == 1


@pytest.mark.parametrize(
    ("method", "path", "group"),
    [
        ("GET", "/v1/candles/minutes/1", "candles"),
        ("GET", "/v1/ticker", "ticker"),
        ("GET", "/v1/orderbook", "orderbook"),
        ("GET", "/v1/market/all", "market"),
        ("GET", "/v1/accounts", "default"),
        ("GET", "/v1/orders/open", "default"),
        ("POST", "/v1/orders", "order"),
        ("DELETE", "/v1/order", "default"),
    ],
)
def test_upbit_requests_count_against_the_group_that_its_header_names(method: str, path: str, group: str) -> None:
    assert upbit.group_of(method, path) == group


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {"Remaining-Req": "group=candles; min=600; sec=9"}, 0.0),
        (200, {"Remaining-Req": "group=order; min=59; sec=0"}, 1.0),
        (200, {}, 0.0),
        (200, {"Remaining-Req": "candles=0"}, 0.0),
        (429, {}, 1.0),
        (429, {"Retry-After": "7"}, 7.0),
        (418, {}, 60.0),
        (418, {"Retry-After": "300"}, 300.0),
    ],
)
def test_upbits_headers_say_how_long_to_hold_back(status: int, headers: dict[str, str], seconds: float) -> None:
    assert upbit.pause_seconds(status, headers) == seconds


@pytest.mark.parametrize(
    ("status", "headers", "seconds"),
    [
        (200, {"X-RateLimit-Remaining": "199", "X-RateLimit-Reset": "1772463630"}, 0.0),
        (200, {}, 0.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772463630"}, 30.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772463000"}, 1.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1972463000"}, 60.0),
        (200, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "soon"}, 1.0),
        (429, {"X-RateLimit-Reset": "1772463610"}, 10.0),
        (429, {"X-RateLimit-Reset": "99999999999999999999"}, 1.0),
        (429, {"Retry-After": "5"}, 5.0),
        (429, {"Retry-After": "500"}, 60.0),
    ],
)
def test_alpacas_headers_say_how_long_to_hold_back(status: int, headers: dict[str, str], seconds: float) -> None:
    dated = {"Date": "Mon, 02 Mar 2026 15:00:00 GMT", **headers}
    assert alpaca.pause_seconds(status, dated) == seconds


def test_alpacas_reset_without_a_date_is_a_whole_window_after_a_429() -> None:
    assert alpaca.pause_seconds(429, {"X-RateLimit-Reset": "1772463610"}) == 60.0
