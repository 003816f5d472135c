"""Build upbit-sdk's client so that it cannot wander: explicit address, keys, timeout, no repetition, no environment."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from quant_pipeline.venues.hosts import checked_key, checked_url, is_loopback, refuse_live_without_account
from quant_pipeline.venues.transport import Timeout, checked_timeout

if TYPE_CHECKING:
    from upbit import Upbit


@dataclass(frozen=True, slots=True)
class UpbitAccess:
    """Where and as whom to connect, all of it explicit: upbit-sdk would take what is missing from the environment."""

    base_url: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    timeout: Timeout
    live_account: str | None = None

    def __post_init__(self) -> None:
        """Refuse what must not be built.

        Raises:
            ValueError: an empty or unsafe address, an empty key, a bad timeout, a live host without its account, or an
                account name that does not belong to the access key.
        """
        object.__setattr__(self, "base_url", checked_url("Upbit's address", self.base_url))
        checked_key("Upbit's access key", self.access_key)
        checked_key("Upbit's secret key", self.secret_key)
        checked_timeout(self.timeout)
        refuse_live_without_account(self.base_url, self.live_account)
        if self.live_account is not None and self.live_account != self.account_id:
            msg = (
                f"live_account is {self.live_account!r}, the access key is that of {self.account_id}: "
                "put that name there if this is the account that may trade"
            )
            raise ValueError(msg)

    @property
    def account_id(self) -> str:
        """The name of the account, see `account_name`."""
        return account_name(self.access_key)


def account_name(access_key: str) -> str:
    """A name for the account behind an access key: Upbit gives out none, and the key should not be written down."""
    return f"upbit-{hashlib.sha256(access_key.encode()).hexdigest()[:12]}"


def sdk_client(access: UpbitAccess) -> Upbit:
    """A client for one thread. Redirects are not followed: one could repeat an order elsewhere."""
    import httpx
    from upbit import Upbit

    connect, read = access.timeout
    timeout = httpx.Timeout(read, connect=connect)
    http = httpx.Client(timeout=timeout, follow_redirects=False, trust_env=not is_loopback(access.base_url))
    return Upbit(
        access_key=access.access_key,
        secret_key=access.secret_key,
        base_url=access.base_url,
        websocket_base_url=access.base_url,
        timeout=timeout,
        max_retries=0,
        http_client=http,
    )
