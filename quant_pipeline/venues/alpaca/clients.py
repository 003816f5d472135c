"""Build alpaca-py's clients so that they cannot wander: explicit address and keys, timeouts, no repeated order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from quant_pipeline.venues.budgets import Announcement, Budget
from quant_pipeline.venues.hosts import checked_key, checked_url, refuse_live_without_account
from quant_pipeline.venues.limits import RateLimiter, ReadRetries
from quant_pipeline.venues.transport import Timeout, VenueAdapter, checked_timeout, mount

if TYPE_CHECKING:
    from alpaca.common.rest import RESTClient
    from alpaca.data.historical.corporate_actions import CorporateActionsClient
    from alpaca.data.historical.stock import StockHistoricalDataClient
    from alpaca.trading.client import TradingClient

WINDOW = 60.0
"""Seconds of Alpaca's budget window (requests per minute)."""

BUDGETS = {"trading": Budget(200, WINDOW), "data": Budget(200, WINDOW, at_once=0.1)}
"""Budgets of one account until the first answer. Bars and the quotes that an order needs share one: bars are spread."""


@dataclass(frozen=True, slots=True)
class AlpacaAccess:
    """Where and as whom to connect, all of it explicit: an empty address would mean the live broker to alpaca-py."""

    base_url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    timeout: Timeout
    live_account: str | None = None

    def __post_init__(self) -> None:
        """Refuse what must not be built.

        Raises:
            ValueError: an empty or unsafe address, an empty key, a bad timeout, or a live host without its account.
        """
        object.__setattr__(self, "base_url", checked_url("Alpaca's address", self.base_url))
        checked_key("Alpaca's key", self.key)
        checked_key("Alpaca's secret", self.secret)
        checked_timeout(self.timeout)
        refuse_live_without_account(self.base_url, self.live_account)


def trading_client(access: AlpacaAccess, limiter: RateLimiter, retries: ReadRetries) -> TradingClient:
    """A client for one thread. `paper=True` is only a belt: the address is always given and never empty."""
    from alpaca.trading.client import TradingClient

    client = TradingClient(
        api_key=access.key, secret_key=access.secret, paper=True, raw_data=True, url_override=access.base_url
    )
    _harden(client, access, limiter, retries)
    return client


def data_client(access: AlpacaAccess, limiter: RateLimiter, retries: ReadRetries) -> StockHistoricalDataClient:
    """A market data client for one thread."""
    from alpaca.data.historical.stock import StockHistoricalDataClient

    client = StockHistoricalDataClient(
        api_key=access.key, secret_key=access.secret, raw_data=True, url_override=access.base_url
    )
    _harden(client, access, limiter, retries)
    return client


def actions_client(access: AlpacaAccess, limiter: RateLimiter, retries: ReadRetries) -> CorporateActionsClient:
    """A client for splits and dividends, for one thread."""
    from alpaca.data.historical.corporate_actions import CorporateActionsClient

    client = CorporateActionsClient(
        api_key=access.key, secret_key=access.secret, raw_data=True, url_override=access.base_url
    )
    _harden(client, access, limiter, retries)
    return client


def _harden(client: RESTClient, access: AlpacaAccess, limiter: RateLimiter, retries: ReadRetries) -> None:
    """No repetition inside alpaca-py (it would resend an order after a 504); timeouts and limits under it."""
    client._retry = 0  # noqa: SLF001 - there is no public way, and its constructor ignores 0
    adapter = VenueAdapter(
        timeout=access.timeout, limiter=limiter, group_of=_group_of, announced=announced, retries=retries
    )
    mount(client._session, access.base_url, adapter)  # noqa: SLF001 - no public way either


def close_client(client: RESTClient) -> None:
    """Close the client's connections."""
    client._session.close()  # noqa: SLF001 - no public way either


def _group_of(_method: str, path: str) -> str:
    """Alpaca counts trading and market data separately."""
    return "data" if path.startswith(("/v2/stocks", "/v1/corporate-actions")) else "trading"


def announced(status: int, headers: Mapping[str, str]) -> Announcement:
    """What an answer says about its budget; after a 429 nothing more is welcome until the stated reset."""
    limit, left = headers.get("X-RateLimit-Limit", ""), headers.get("X-RateLimit-Remaining", "")
    resets_in = _resets_in(status, headers)
    return Announcement(
        limit=int(limit) if limit.isdigit() else None,
        remaining=int(left) if left.isdigit() else None,
        resets_in=resets_in,
        pause=resets_in if status == 429 else 0.0,
    )


def _resets_in(status: int, headers: Mapping[str, str]) -> float:
    """Seconds until the window ends, measured on the exchange's own `Date`, so that a wrong clock here does no harm.

    Without a date it is a second, or a whole window after a 429.
    """
    retry_after = headers.get("Retry-After", "")
    if retry_after.isdigit():
        return min(float(retry_after), WINDOW)
    reset, date = headers.get("X-RateLimit-Reset", ""), headers.get("Date", "")
    if not reset.isdigit() or not date:
        return WINDOW if status == 429 else 1.0
    try:
        wait = (datetime.fromtimestamp(int(reset), UTC) - parsedate_to_datetime(date)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return 1.0
    return min(max(wait, 1.0), WINDOW)
