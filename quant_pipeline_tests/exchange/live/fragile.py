"""A dry run whose line to the venue can be cut or spoilt. No tests here."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import requests

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.live.conftest import MONDAY_10_AM_NEW_YORK, dry_run_of, venue_at
from quant_pipeline_tests.exchange.makers import utc
from quant_pipeline_tests.venues.canned_server import Answer, CannedServer, Reaction, Seen, canned


@dataclass
class Line:
    """The line to the venue: passes on what is asked, or reacts as it is told to."""

    urls: dict[str, str]
    fault: Reaction | None = None
    heard: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))

    def script(self, venue: str) -> Any:
        def react(seen: Seen) -> Reaction:
            try:
                if self.fault is not None:
                    return self.fault
                names = ("apca-api-key-id", "apca-api-secret-key")
                keys = {name: seen.headers[name] for name in names if name in seen.headers}
                said = requests.get(self.urls[venue] + seen.target, headers=keys, timeout=10)
                return Answer(said.status_code, said.text)
            finally:
                self.heard.release()

        return react


@dataclass(frozen=True)
class Fragile:
    """A dry run whose line to the venue can be cut."""

    line: Line
    lines: dict[str, CannedServer]
    venue: AdminClient
    desk: ExchangeHandle

    def url(self, venue: str) -> str:
        return self.desk.alpaca_url if venue == "alpaca" else self.desk.upbit_url

    def move(self, to: str) -> dict[str, dict[str, Any]]:
        self.venue.set_clock(utc(to))
        self.desk.admin.set_clock(utc(to))
        return self.desk.admin.poll()


@contextmanager
def fragile(**settings: object) -> Iterator[Fragile]:
    with venue_at(MONDAY_10_AM_NEW_YORK) as (venue, urls):
        line = Line(urls)
        with canned(line.script("alpaca")) as alpaca, canned(line.script("upbit")) as upbit:
            through = {"alpaca": alpaca.url, "upbit": upbit.url}
            with dry_run_of(through, MONDAY_10_AM_NEW_YORK, live_timeout_seconds=1, **settings) as desk:
                desk.admin.poll()
                yield Fragile(line, {"alpaca": alpaca, "upbit": upbit}, venue, desk)
