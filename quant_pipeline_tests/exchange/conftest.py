"""A running exchange and its untouched official clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from alpaca.data.historical import StockHistoricalDataClient
from alpaca.trading.client import TradingClient
from upbit import Upbit

from quant_pipeline.exchange.config import ExchangeConfig
from quant_pipeline.exchange.server import ExchangeHandle
from quant_pipeline_tests.exchange.makers import exchange_at

DEFAULTS = ExchangeConfig()
MONDAY_OPEN = "2025-03-03T14:30:00+00:00"
"""A Monday, 09:30 in New York, 23:30 in Seoul."""


@pytest.fixture
def exchange() -> Iterator[ExchangeHandle]:
    """A generated exchange that stands at the opening of a Monday."""
    with exchange_at(MONDAY_OPEN) as handle:
        yield handle


@pytest.fixture
def trading(exchange: ExchangeHandle) -> TradingClient:
    """alpaca-py's trading client, pointed at the exchange."""
    return TradingClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=exchange.alpaca_url)


@pytest.fixture
def stock_data(exchange: ExchangeHandle) -> StockHistoricalDataClient:
    """alpaca-py's data client, pointed at the exchange."""
    return StockHistoricalDataClient(DEFAULTS.alpaca_key, DEFAULTS.alpaca_secret, url_override=exchange.alpaca_url)


@pytest.fixture
def upbit(exchange: ExchangeHandle) -> Iterator[Upbit]:
    """upbit-sdk's client, pointed at the exchange."""
    with Upbit(
        access_key=DEFAULTS.upbit_access_key,
        secret_key=DEFAULTS.upbit_secret_key,
        base_url=exchange.upbit_url,
        max_retries=0,
    ) as client:
        yield client
