"""One simulated exchange for the contract tests of both venues."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.server import ExchangeConfig, running_exchange
from quant_pipeline_tests.venues.makers import VENUES

TUESDAY_10_AM_NEW_YORK = "2026-03-03T15:00:00+00:00"


@dataclass(frozen=True)
class Place:
    """A venue of the simulated exchange: its name, its market, where it answers, and the exchange's own records."""

    venue: str
    market: str
    url: str
    admin: AdminClient

    def posts(self) -> int:
        """How many orders were sent to it."""
        path = "/v2/orders" if self.venue == "alpaca" else "/v1/orders"
        return len(self.admin.requests(method="POST", path=path, dialect=self.venue))


@pytest.fixture(scope="package")
def _exchange() -> Iterator[dict[str, Place]]:
    """Generous budgets: the contract is about answers, limits have their own tests."""
    config = ExchangeConfig(
        alpaca_port=0,
        upbit_port=0,
        clock=TUESDAY_10_AM_NEW_YORK,
        alpaca_trading_per_minute=100_000,
        alpaca_data_per_minute=100_000,
        upbit_quotation_per_second=10_000,
        upbit_exchange_per_second=10_000,
        upbit_order_per_second=10_000,
    )
    with running_exchange(config) as running:
        yield {
            "alpaca": Place("alpaca", "us_equity", running.alpaca_url, running.admin),
            "upbit": Place("upbit", "krw_crypto", running.upbit_url, running.admin),
        }


@pytest.fixture(params=VENUES)
def place(request: pytest.FixtureRequest, _exchange: dict[str, Place]) -> Place:
    """Each venue in turn, its accounts and logs empty."""
    found = _exchange[request.param]
    found.admin.reset()
    return found
