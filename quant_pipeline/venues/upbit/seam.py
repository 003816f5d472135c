"""The one seam in pyupbit: its transport. Which calls are made through it belongs to `quotations.py`.

pyupbit 0.2.34 has hard-coded addresses, no timeout, a new connection per call, and answers None for every failure. All
of its HTTP goes through the name `requests` in `pyupbit.request_api`; `install` puts a `PyupbitTransport` there. Inside
`PyupbitTransport.using(...)` (per thread) a GET goes to our address through our session, and a failure is kept as a
typed error, so that pyupbit's None can be turned back into its cause. Outside of it, calls go to `requests` unchanged:
other code in the process that uses pyupbit for itself sees no difference. Orders never go through here.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import requests

from quant_pipeline.venues.errors import RateLimited, VenueError, VenueUnavailable, cause_text
from quant_pipeline.venues.upbit.errors import read_error
from quant_pipeline.venues.upbit.limits import PLACEHOLDER, remaining


@dataclass(slots=True)
class Exchange:
    """One use of pyupbit: where its requests go, and what became of the last one."""

    session: requests.Session
    base_url: str
    asked: str
    symbol: str
    answer: object = None
    error: VenueError | None = field(default=None)

    def get(self, url: str, params: object) -> requests.Response:
        """Send pyupbit's GET to our address; raise, and keep, a typed error for anything but a readable answer."""
        self.answer = self.error = None
        try:
            return self._get(url, params)
        except VenueError as error:
            self.error = error
            raise

    def _get(self, url: str, params: object) -> requests.Response:
        try:
            response = self.session.get(
                self.base_url + urlsplit(url).path,
                params=params,  # type: ignore[arg-type]
                allow_redirects=False,
            )
        except RateLimited:
            raise
        except requests.RequestException as error:
            msg = f"{self.asked}: no answer from Upbit: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        if response.status_code != 200:
            raise read_error(response.status_code, response.text, self.asked, symbol=self.symbol)
        try:
            self.answer = response.json()
        except ValueError as error:
            msg = f"{self.asked}: Upbit's answer is not JSON: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        if remaining(response.headers) is None:
            response.headers["Remaining-Req"] = PLACEHOLDER
        return response


class PyupbitTransport:
    """Stands where pyupbit expects the module `requests`."""

    def __init__(self) -> None:
        """No exchange is in use."""
        self._local = threading.local()

    @contextmanager
    def using(self, exchange: Exchange) -> Iterator[Exchange]:
        """Send what pyupbit asks for in this thread through `exchange`."""
        before = getattr(self._local, "exchange", None)
        self._local.exchange = exchange
        try:
            yield exchange
        finally:
            self._local.exchange = before

    def get(self, url: str, **options: object) -> requests.Response:
        """Pyupbit's GET."""
        exchange: Exchange | None = getattr(self._local, "exchange", None)
        if exchange is None:
            return requests.get(url, **options)  # type: ignore[arg-type]  # noqa: S113 - not our call
        return exchange.get(url, options.get("params"))

    def post(self, url: str, **options: object) -> requests.Response:
        """Pyupbit's POST: never ours."""
        self._refuse_inside("POST")
        return requests.post(url, **options)  # type: ignore[arg-type]  # noqa: S113 - not our call

    def delete(self, url: str, **options: object) -> requests.Response:
        """Pyupbit's DELETE: never ours."""
        self._refuse_inside("DELETE")
        return requests.delete(url, **options)  # type: ignore[arg-type]  # noqa: S113 - not our call

    def _refuse_inside(self, method: str) -> None:
        if getattr(self._local, "exchange", None) is not None:
            msg = f"pyupbit may not {method} here: orders and accounts go through upbit-sdk"
            raise RuntimeError(msg)


TRANSPORT = PyupbitTransport()
"""The one transport of this process."""

_INSTALLING = threading.Lock()


def install() -> PyupbitTransport:
    """Put the transport into pyupbit, once per process.

    Raises:
        RuntimeError: pyupbit does not send through `pyupbit.request_api.requests` (another version is installed).
    """
    with _INSTALLING:
        request_api = importlib.import_module("pyupbit.request_api")
        if getattr(request_api, "requests", None) not in (requests, TRANSPORT):
            msg = "pyupbit does not send through pyupbit.request_api.requests: install pyupbit==0.2.34"
            raise RuntimeError(msg)
        request_api.requests = TRANSPORT  # type: ignore[attr-defined]
    return TRANSPORT
