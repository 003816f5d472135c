"""Clients under test and orders to send, the same for both venues."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from decimal import Decimal

from quant_pipeline.core.values import OrderRequest, Side
from quant_pipeline.venues.alpaca.broker import AlpacaBroker
from quant_pipeline.venues.alpaca.market_data import AlpacaMarketData
from quant_pipeline.venues.limits import ReadRetries
from quant_pipeline.venues.transport import Timeout
from quant_pipeline.venues.upbit.broker import UpbitBroker
from quant_pipeline.venues.upbit.quotations import UpbitMarketData

ALPACA_KEY, ALPACA_SECRET = "SIM-ALPACA-KEY", "SIM-ALPACA-SECRET"
UPBIT_ACCESS, UPBIT_SECRET = "SIM-UPBIT-ACCESS", "SIM-UPBIT-SECRET-0123456789-0123456789-0123"
VENUES = ("alpaca", "upbit")
PATIENT: Timeout = (5.0, 30.0)
QUICK: Timeout = (5.0, 0.5)
"""For a server that never answers."""
NO_WAIT = ReadRetries(waits=(0.0, 0.0))
ONCE = ReadRetries(waits=())


@contextmanager
def broker(
    venue: str, url: str, *, retries: ReadRetries = NO_WAIT, timeout: Timeout = PATIENT
) -> Iterator[AlpacaBroker | UpbitBroker]:
    """A broker client of `venue` with the keys of the simulated exchange."""
    client = (
        AlpacaBroker(base_url=url, key=ALPACA_KEY, secret=ALPACA_SECRET, timeout=timeout, retries=retries)
        if venue == "alpaca"
        else UpbitBroker(
            base_url=url, access_key=UPBIT_ACCESS, secret_key=UPBIT_SECRET, timeout=timeout, retries=retries
        )
    )
    with closing(client):
        yield client


@contextmanager
def market_data(
    venue: str, url: str, *, retries: ReadRetries = NO_WAIT, timeout: Timeout = PATIENT
) -> Iterator[AlpacaMarketData | UpbitMarketData]:
    """A market data client of `venue`."""
    client = (
        AlpacaMarketData(base_url=url, key=ALPACA_KEY, secret=ALPACA_SECRET, timeout=timeout, retries=retries)
        if venue == "alpaca"
        else UpbitMarketData(base_url=url, timeout=timeout, retries=retries)
    )
    with closing(client):
        yield client


def symbol(venue: str) -> str:
    """A symbol that exists."""
    return "AAPL" if venue == "alpaca" else "KRW-BTC"


def buy(venue: str, client_id: str = "d1-entry-1") -> OrderRequest:
    """A market buy as the venue's market does it."""
    if venue == "alpaca":
        return OrderRequest(client_id=client_id, symbol="AAPL", side=Side.BUY, qty=Decimal(3))
    return OrderRequest(client_id=client_id, symbol="KRW-BTC", side=Side.BUY, notional=Decimal(100_000))
