"""A venue and the dry run that takes its prices: two exchanges over HTTP, moved through time together."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.makers import exchange_at, utc

MONDAY_10_AM_NEW_YORK = "2025-03-03T15:00:00+00:00"
VENUE_KEY, VENUE_SECRET = "VENUE-KEY-7f3a", "VENUE-SECRET-91bd"
US, KRW = ("AAPL", "MSFT"), ("KRW-BTC", "KRW-DOGE")
NEVER = 86_400
"""Seconds between rounds that a test does not want: it asks for each by itself."""


@dataclass(frozen=True)
class DryRun:
    """Both exchanges; `venue` has prices of its own, `desk` is the one that a desk talks to."""

    venue: AdminClient
    venue_urls: dict[str, str]
    desk: ExchangeHandle

    def url(self, venue: str) -> str:
        return self.desk.alpaca_url if venue == "alpaca" else self.desk.upbit_url

    def move(self, to: str) -> dict[str, dict[str, Any]]:
        """Bring the venue and then the dry run to a time, and the dry run's prices up to date."""
        self.venue.set_clock(utc(to))
        self.desk.admin.set_clock(utc(to))
        return self.desk.admin.poll()

    def asked(self) -> list[dict[str, Any]]:
        """What the venue was asked for."""
        return self.venue.requests()


@contextmanager
def dry_run_of(urls: dict[str, str], clock: str, **settings: object) -> Iterator[ExchangeHandle]:
    """An exchange with the prices of the venue at `urls`."""
    live = {
        "live_us_equity": urls["alpaca"],
        "live_krw_crypto": urls["upbit"],
        "live_alpaca_key": VENUE_KEY,
        "live_alpaca_secret": VENUE_SECRET,
        "live_poll_seconds": NEVER,
        "live_alpaca_per_minute": 100_000,
        "live_upbit_per_second": 10_000,
        "us_symbols": US,
        "krw_symbols": KRW,
    }
    with exchange_at(clock, **(live | settings)) as desk:
        yield desk


@contextmanager
def venue_at(clock: str) -> Iterator[tuple[AdminClient, dict[str, str]]]:
    """Another exchange that plays both venues, with a seed and keys of its own."""
    with exchange_at(clock, seed=99, alpaca_key=VENUE_KEY, alpaca_secret=VENUE_SECRET) as venue:
        yield venue.admin, {"alpaca": venue.alpaca_url, "upbit": venue.upbit_url}


@pytest.fixture
def dry_run() -> Iterator[DryRun]:
    """A dry run of both venues that stands at ten o'clock of a Monday in New York, its prices up to date."""
    with venue_at(MONDAY_10_AM_NEW_YORK) as (venue, urls), dry_run_of(urls, MONDAY_10_AM_NEW_YORK) as desk:
        desk.admin.poll()
        yield DryRun(venue, urls, desk)


def at(text: str) -> datetime:
    """`15:03` of that Monday, in UTC."""
    return utc(f"2025-03-03 {text}")
