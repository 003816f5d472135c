"""The HTTP transport under alpaca-py and pyupbit: timeouts, limits, repeated reads. No venue's words belong here."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import requests
from requests.adapters import HTTPAdapter

from quant_pipeline.venues.budgets import Announcement
from quant_pipeline.venues.hosts import is_loopback
from quant_pipeline.venues.limits import RateLimiter, ReadRetries

type Timeout = tuple[float, float]
"""Seconds to connect, and seconds without a byte while waiting for the answer."""

DEFAULT_TIMEOUT: Timeout = (3.05, 15.0)
_WORTH_ANOTHER_TRY = frozenset({429, 500, 502, 503, 504})


class VenueAdapter(HTTPAdapter):
    """Gives every request a timeout and asks the limiter first; repeats a GET that failed in a curable way.

    Both clients send without a timeout of their own, and alpaca-py would repeat orders: here only a GET is repeated.
    """

    def __init__(
        self,
        *,
        timeout: Timeout,
        limiter: RateLimiter,
        group_of: Callable[[str, str], str],
        announced: Callable[[int, Mapping[str, str]], Announcement],
        retries: ReadRetries,
    ) -> None:
        """Store what decides about requests.

        Args:
            timeout: seconds (connect, read).
            limiter: asked before every request.
            group_of: (method, path) -> the budget that a request counts against.
            announced: (status, headers) -> what the answer says about that budget.
            retries: of GET requests.
        """
        super().__init__()
        self._timeout = timeout
        self._limiter = limiter
        self._group_of = group_of
        self._announced = announced
        self._retries = retries

    def send(  # type: ignore[override]
        self, request: requests.PreparedRequest, **options: object
    ) -> requests.Response:
        """Send `request`; the body is read here, so that a body that breaks off counts as a failed attempt."""
        options["timeout"] = self._timeout
        if request.method != "GET":
            return self._send_once(request, options)
        return self._retries.run(
            lambda: self._send_once(request, options),
            errors=(requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError),
            failed=lambda response: response.status_code in _WORTH_ANOTHER_TRY,
        )

    def _send_once(self, request: requests.PreparedRequest, options: dict[str, object]) -> requests.Response:
        group = self._group_of(request.method or "", (request.path_url or "").partition("?")[0])
        permit, said = self._limiter.before(group), Announcement()
        try:
            response = super().send(request, **options)  # type: ignore[arg-type]
            said = self._announced(response.status_code, response.headers)
        finally:
            self._limiter.after(permit, said)
        _ = response.content
        return response


def mount(session: requests.Session, url: str, adapter: VenueAdapter) -> None:
    """Send everything of `session` through `adapter`; to this machine without the proxies of the environment."""
    session.mount("http://", adapter)
    session.mount("https://", adapter)
    if is_loopback(url):
        session.trust_env = False


def checked_timeout(timeout: Timeout) -> Timeout:
    """`timeout` if both parts are positive and finite.

    Raises:
        ValueError: a part is missing, not positive, or not finite.
    """
    connect, read = timeout
    if not (0 < connect < float("inf") and 0 < read < float("inf")):
        msg = f"timeout {timeout} must be two positive numbers of seconds (connect, read)"
        raise ValueError(msg)
    return float(connect), float(read)
