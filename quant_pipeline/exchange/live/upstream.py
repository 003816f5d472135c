"""Asking a venue for its market data over HTTP, at its pace, and what is wrong with it. Answers are not understood here."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NoReturn

import httpx

from quant_pipeline.exchange.http import Request
from quant_pipeline.exchange.live.address import VenueAddress, is_loopback

_LOG = logging.getLogger(__name__)
_LONGEST_PAUSE = 30.0
_LONGEST_HOLD = 60.0


class UpstreamError(Exception):
    """The venue gave no usable answer; the text says why, without keys and without the venue's own words."""


@dataclass(frozen=True, slots=True)
class Told:
    """An answer of the venue: the data asked for, or (status 4xx) its refusal of this question."""

    status: int
    body: bytes
    content: Any


@dataclass(slots=True)
class Health:
    """How the venue is doing. Times are the exchange's; `failures` counts those in a row."""

    requests: int = 0
    failures: int = 0
    problem: str | None = None
    since: datetime | None = None
    answered_at: datetime | None = None


class Upstream:
    """One venue. After a failure it is left alone for a while, growing to half a minute; any answer ends that."""

    def __init__(
        self,
        address: VenueAddress,
        now: Callable[[], datetime],
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        timer: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        """Ask at `address`; `now` is the exchange's clock, `timer` and `sleep` are of real time. Nothing is connected."""
        self.address = address
        self.health = Health()
        self._now = now
        self._timer = timer
        self._sleep = sleep
        self._transport = transport
        self._client: httpx.AsyncClient | None = None
        self._next_start: dict[str, float] = {}
        self._resumes_at = 0.0

    @property
    def resting(self) -> float:
        """For how many seconds it is still left alone."""
        return max(0.0, self._resumes_at - self._timer())

    async def ask(self, question: Request, *, probe: bool = False) -> Told:
        """The venue's answer; with `probe` also while it is left alone.

        Raises:
            UpstreamError: there is none, or none that can be used.
            ValueError: the question is not one for market data; it is not sent.
        """
        if question.method != "GET" or not self.address.allows(question.path):
            msg = f"{question.method} {question.path} is not market data of {self.address.venue}"
            raise ValueError(msg)
        if self.resting and not probe:
            raise UpstreamError(self.health.problem or "the venue is left alone after a failure")
        try:
            target = httpx.URL(f"{self.address.url}{question.path}" + (f"?{question.query}" if question.query else ""))
        except httpx.InvalidURL as error:
            msg = "the question cannot be put into an address"
            raise UpstreamError(msg) from error
        await self._pace(self.address.group(question.path))
        self.health.requests += 1
        try:
            async with asyncio.timeout(self.address.timeout):
                response = await self._connected().get(target)
        except (TimeoutError, httpx.TimeoutException):
            self.fail(f"no answer within {self.address.timeout:g} s")
        except httpx.HTTPError as error:
            self.fail(f"no answer ({type(error).__name__})")
        return self._read(response, self.address.group(question.path))

    def fail(self, problem: str, pause: float | None = None) -> NoReturn:
        """Note a failure and raise it.

        Raises:
            UpstreamError: always.
        """
        self.failed(problem, pause)
        raise UpstreamError(problem) from None

    def failed(self, problem: str, pause: float | None = None) -> None:
        """Note a failure and leave the venue alone for `pause` seconds, or longer with each failure in a row."""
        health = self.health
        health.failures += 1
        if health.problem is None:
            health.since = self._now()
            _LOG.warning("market data of %s: %s", self.address.venue, problem)
        health.problem = problem
        wait = min(2.0 ** min(health.failures - 1, 10), _LONGEST_PAUSE) if pause is None else pause
        self._resumes_at = self._timer() + wait

    async def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    def _connected(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                headers={**self.address.headers, "Accept": "application/json"},
                timeout=self.address.timeout,
                transport=self._transport,
                trust_env=not is_loopback(self.address.url),  # a proxy has no business on loopback
            )
        return self._client

    async def _pace(self, group: str) -> None:
        """Wait for the turn of one request: starts of a group are evenly apart, so that no window is ever overfull."""
        at = self._timer()
        start = max(at, self._next_start.get(group, at))
        if start - at > self.address.timeout:
            msg = f"the venue's rate limit leaves no room for {start - at:.0f} s"
            raise UpstreamError(msg)
        self._next_start[group] = start + 1.0 / self.address.per_second
        if start > at:
            await self._sleep(start - at)

    def _read(self, response: httpx.Response, group: str) -> Told:
        status = response.status_code
        self._heed(response, group)
        if status in (429, 418):
            self.fail(f"too many requests ({status})", _retry_after(response))
        if status in (401, 407) or status >= 500 or 300 <= status < 400:
            self.fail("the keys are refused (401)" if status == 401 else f"answered {status}")
        try:
            content = response.json()
        except ValueError:
            kind = response.headers.get("content-type", "no content type").split(";")[0]
            self.fail(f"answered {status} with {kind}, which is no JSON")
        if status == 403 and isinstance(content, dict) and content.get("message") in ("forbidden.", "forbidden"):
            self.fail("the keys are refused (403)")
        return Told(status, response.content, content)

    def answered(self) -> None:
        """Note that an answer was understood."""
        if self.health.problem is not None:
            _LOG.warning("market data of %s is back after: %s", self.address.venue, self.health.problem)
        self.health.failures, self.health.problem, self.health.since = 0, None, None
        self.health.answered_at = self._now()
        self._resumes_at = 0.0

    def _heed(self, response: httpx.Response, group: str) -> None:
        """Hold a group back while the venue says that nothing is left of its window."""
        hold = 0.0
        if "sec=0" in response.headers.get("remaining-req", "").replace(" ", "").split(";"):
            hold = 1.0
        elif response.headers.get("x-ratelimit-remaining") == "0":
            resets_at = response.headers.get("x-ratelimit-reset", "")
            hold = float(resets_at) - time.time() if resets_at.isdigit() else 1.0
        if hold > 0:
            until = self._timer() + min(hold, _LONGEST_HOLD)
            self._next_start[group] = max(self._next_start.get(group, 0.0), until)


def _retry_after(response: httpx.Response) -> float:
    """How long a venue that was asked too much is left alone: what it says, else one of its windows."""
    text = response.headers.get("retry-after", "")
    if text.isdigit():
        return min(float(text), _LONGEST_HOLD)
    return _LONGEST_PAUSE if response.status_code == 418 else 1.0
