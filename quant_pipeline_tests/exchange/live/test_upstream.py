"""Asking a venue: only for market data, at its pace, and less often the longer it fails."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from quant_pipeline.exchange.http import Request
from quant_pipeline.exchange.live.address import VenueAddress
from quant_pipeline.exchange.live.upstream import Upstream, UpstreamError

AT = datetime(2025, 3, 3, 15, 0, tzinfo=UTC)
TICKER = Request("GET", "/v1/ticker", "markets=KRW-BTC")
BARS = Request("GET", "/v2/stocks/bars", "symbols=KO")


@dataclass
class Clock:
    """Real time as a test wants it: waiting moves it."""

    now: float = 1000.0
    waits: list[float] = field(default_factory=list)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(round(seconds, 6))
        self.now += seconds


@dataclass
class Venue:
    """Answers with what a test puts here; no socket."""

    answer: httpx.Response | None = None
    asked: list[str] = field(default_factory=list)

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(str(request.url))
        return self.answer or httpx.Response(200, json=[])


def run(
    work: Callable[[Upstream, Venue, Clock], Coroutine[Any, Any, None]],
    *,
    venue: str = "upbit",
    per_second: float = 4.0,
) -> None:
    clock, answers = Clock(), Venue()

    @asynccontextmanager
    async def opened() -> Any:
        address = VenueAddress(venue, "https://venue.test", per_second, 5.0, {"APCA-API-KEY-ID": "k"})
        line = httpx.MockTransport(answers)
        found = Upstream(address, lambda: AT, transport=line, timer=lambda: clock.now, sleep=clock.sleep)
        yield found
        await found.close()

    async def main() -> None:
        async with opened() as upstream:
            await work(upstream, answers, clock)

    asyncio.run(main())


@pytest.mark.parametrize(
    ("venue", "method", "path"),
    [
        ("upbit", "POST", "/v1/ticker"),
        ("upbit", "GET", "/v1/accounts"),
        ("upbit", "GET", "/v1/orders/chance"),
        ("upbit", "POST", "/v1/orders"),
        ("upbit", "DELETE", "/v1/order"),
        ("upbit", "GET", "/v1/ticker/../accounts"),
        ("upbit", "GET", "/v1/candles/minutes/1/../../accounts"),
        ("alpaca", "GET", "/v2/account"),
        ("alpaca", "POST", "/v2/orders"),
        ("alpaca", "GET", "/v2/positions"),
        ("alpaca", "GET", "/v2/assets"),
        ("alpaca", "GET", "/v2/stocks/../orders/bars"),
        ("alpaca", "GET", "/v2/stocks/bars/../../account"),
    ],
)
def test_what_is_not_market_data_is_never_sent(venue: str, method: str, path: str) -> None:
    async def work(upstream: Upstream, answers: Venue, _clock: Clock) -> None:
        with pytest.raises(ValueError, match="is not market data"):
            await upstream.ask(Request(method, path))
        assert not answers.asked

    run(work, venue=venue)


def test_questions_of_a_group_are_evenly_apart_however_many_come_at_once() -> None:
    async def work(upstream: Upstream, _answers: Venue, clock: Clock) -> None:
        starts = []
        for _ in range(5):
            await upstream.ask(TICKER)
            starts.append(clock.now)
        assert starts == [1000.0, 1000.25, 1000.5, 1000.75, 1001.0]
        await upstream.ask(Request("GET", "/v1/orderbook", "markets=KRW-BTC"))  # a group of its own
        assert clock.now == 1001.0

    run(work)


@pytest.mark.parametrize(
    ("venue", "question", "headers"),
    [
        ("upbit", TICKER, {"Remaining-Req": "group=ticker; min=600; sec=0"}),
        ("alpaca", BARS, {"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "later"}),
    ],
)
def test_a_group_with_nothing_left_is_held_back(venue: str, question: Request, headers: dict[str, str]) -> None:
    async def work(upstream: Upstream, answers: Venue, clock: Clock) -> None:
        answers.answer = httpx.Response(200, json=[], headers=headers)
        await upstream.ask(question)
        await upstream.ask(question)
        assert clock.waits == [1.0]

    run(work, venue=venue)


def test_a_question_without_room_within_the_timeout_is_refused_and_the_venue_is_not_blamed() -> None:
    async def work(upstream: Upstream, answers: Venue, _clock: Clock) -> None:
        await upstream.ask(TICKER)
        with pytest.raises(UpstreamError, match="leaves no room for 10 s"):
            await upstream.ask(TICKER)
        assert (upstream.health.failures, len(answers.asked)) == (0, 1)

    run(work, per_second=0.1)


def test_a_venue_that_fails_is_left_alone_for_growing_times_until_it_answers() -> None:
    async def work(upstream: Upstream, answers: Venue, clock: Clock) -> None:
        answers.answer = httpx.Response(500)
        rests = []
        for _ in range(8):
            with pytest.raises(UpstreamError, match="answered 500"):
                await upstream.ask(TICKER)
            rests.append(upstream.resting)
            with pytest.raises(UpstreamError, match="answered 500"):
                await upstream.ask(TICKER)  # not sent
            clock.now += upstream.resting
        assert rests == [1, 2, 4, 8, 16, 30, 30, 30]
        assert len(answers.asked) == 8
        answers.answer = None
        await upstream.ask(TICKER)
        upstream.answered()
        assert (upstream.resting, upstream.health.failures, upstream.health.problem) == (0, 0, None)

    run(work)


@pytest.mark.parametrize(
    ("status", "headers", "rest"), [(429, {"Retry-After": "7"}, 7.0), (429, {}, 1.0), (418, {}, 30.0)]
)
def test_a_venue_that_was_asked_too_much_is_left_alone_as_long_as_it_says(
    status: int, headers: dict[str, str], rest: float
) -> None:
    async def work(upstream: Upstream, answers: Venue, _clock: Clock) -> None:
        answers.answer = httpx.Response(status, json={}, headers=headers)
        with pytest.raises(UpstreamError, match=f"too many requests \\({status}\\)"):
            await upstream.ask(TICKER)
        assert upstream.resting == rest

    run(work)


def test_a_refusal_of_the_question_is_an_answer() -> None:
    async def work(upstream: Upstream, answers: Venue, _clock: Clock) -> None:
        subscription = {"message": "subscription does not permit querying recent SIP data"}
        for status, content in ((404, {"error": {"name": 404}}), (400, {"message": "x"}), (403, subscription)):
            answers.answer = httpx.Response(status, json=content)
            told = await upstream.ask(BARS)
            assert (told.status, told.content) == (status, content)
        assert upstream.health.problem is None

    run(work, venue="alpaca", per_second=1000.0)


def test_keys_are_in_no_text_of_it() -> None:
    address = VenueAddress("alpaca", "https://venue.test", 1.0, 1.0, {"APCA-API-SECRET-KEY": "top"})
    assert "top" not in repr(address)
