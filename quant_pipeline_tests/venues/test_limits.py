"""When requests are held back, how often reads are repeated, and what the venues' headers say."""

from __future__ import annotations

import pytest

from quant_pipeline.venues.alpaca import clients as alpaca
from quant_pipeline.venues.budgets import Announcement, Budget
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


BUDGETS = {"order": Budget(2, 1.0), "default": Budget(2, 1.0)}


def _limiter(time: Time, max_wait: float = 10.0) -> InProcessLimiter:
    return InProcessLimiter(BUDGETS, max_wait=max_wait, monotonic=time.monotonic, sleep=time.sleep)


def test_a_free_group_does_not_wait_for_another_one() -> None:
    time = Time()
    limiter = _limiter(time)
    limiter.after(limiter.before("order"), Announcement(pause=5.0))
    limiter.before("default")
    assert time.slept == []


def test_a_paused_group_waits_for_the_rest_of_its_pause_once() -> None:
    time = Time()
    limiter = _limiter(time)
    limiter.after(limiter.before("order"), Announcement(pause=3.0))
    time.now += 0.25
    for _ in range(2):
        limiter.after(limiter.before("order"), Announcement())
    assert time.slept == [2.75]


def test_too_long_a_wait_is_refused_instead() -> None:
    time = Time()
    limiter = _limiter(time, max_wait=2.0)
    limiter.after(limiter.before("order"), Announcement(pause=3.0))
    with pytest.raises(RateLimited) as caught:
        limiter.before("order")
    assert caught.value.retry_after == 3.0
    assert time.slept == []


def test_a_group_that_the_venue_does_not_have_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="no budget is known for 'candels'; known are default, order"):
        _limiter(Time()).before("candels")


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
    ("status", "headers", "remaining", "pause"),
    [
        (200, {"Remaining-Req": "group=candles; min=600; sec=9"}, 9, 0.0),
        (200, {"Remaining-Req": "group=order; min=59; sec=0"}, 0, 0.0),
        (200, {}, None, 0.0),
        (200, {"Remaining-Req": "candles=0"}, None, 0.0),
        (200, {"Retry-After": "9"}, None, 0.0),
        (429, {}, None, 1.0),
        (429, {"Retry-After": "7"}, None, 7.0),
        (418, {}, None, 60.0),
        (418, {"Retry-After": "300"}, None, 300.0),
    ],
)
def test_upbits_headers_say_what_is_left_and_how_long_to_hold_back(
    status: int, headers: dict[str, str], remaining: int | None, pause: float
) -> None:
    assert upbit.announced(status, headers) == Announcement(None, remaining, resets_in=1.0, pause=pause)


@pytest.mark.parametrize(
    ("headers", "limit", "remaining", "resets_in"),
    [
        (
            {"X-RateLimit-Limit": "200", "X-RateLimit-Remaining": "199", "X-RateLimit-Reset": "1772463630"},
            200,
            199,
            30.0,
        ),
        ({}, None, None, 1.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1772463000"}, None, 0, 1.0),
        ({"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1972463000"}, None, 0, 60.0),
        ({"X-RateLimit-Limit": "many", "X-RateLimit-Reset": "soon"}, None, None, 1.0),
    ],
)
def test_alpacas_headers_say_what_is_left_of_what_and_until_when(
    headers: dict[str, str], limit: int | None, remaining: int | None, resets_in: float
) -> None:
    dated = {"Date": "Mon, 02 Mar 2026 15:00:00 GMT", **headers}
    assert alpaca.announced(200, dated) == Announcement(limit, remaining, resets_in, pause=0.0)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"X-RateLimit-Reset": "1772463610"}, 10.0),
        ({"X-RateLimit-Reset": "99999999999999999999"}, 1.0),
        ({"Retry-After": "5"}, 5.0),
        ({"Retry-After": "500"}, 60.0),
    ],
)
def test_after_a_429_alpaca_is_left_alone_until_the_reset(headers: dict[str, str], seconds: float) -> None:
    dated = {"Date": "Mon, 02 Mar 2026 15:00:00 GMT", **headers}
    assert alpaca.announced(429, dated).pause == seconds


def test_alpacas_reset_without_a_date_is_a_whole_window_after_a_429() -> None:
    assert alpaca.announced(429, {"X-RateLimit-Reset": "1772463610"}).pause == 60.0
