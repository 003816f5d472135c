"""Where a venue's market data may be asked for, and what may be asked there at all. Nothing is sent from here."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

PUBLIC_URLS = {"alpaca": "https://data.alpaca.markets", "upbit": "https://api.upbit.com"}
"""Each venue's own address of market data."""

_HOSTS = {
    "alpaca": ("data.alpaca.markets", "data.sandbox.alpaca.markets"),
    "upbit": ("api.upbit.com",),
}
_PATHS = {
    "alpaca": re.compile(
        r"/v2/stocks/(bars|bars/latest|quotes/latest|trades/latest|snapshots|[A-Z][A-Z0-9.]*/bars)"
        r"|/v1/corporate-actions"
    ),
    "upbit": re.compile(
        r"/v1/(market/all|ticker|ticker/all|orderbook|orderbook/instruments"
        r"|candles/(minutes/\d{1,3}|days|weeks|months))"
    ),
}
"""Reading of prices, nothing else. Upbit serves orders from the same host, so the path is what keeps them apart."""


@dataclass(frozen=True, slots=True)
class VenueAddress:
    """One venue's market data: `headers` hold the keys where it wants some; `per_second` is our pace for each group."""

    venue: str
    url: str
    per_second: float
    timeout: float
    headers: dict[str, str] = field(default_factory=dict, repr=False)

    def allows(self, path: str) -> bool:
        """Whether `path` is market data."""
        return _PATHS[self.venue].fullmatch(path) is not None

    def group(self, path: str) -> str:
        """The venue's limit that a request of `path` counts against."""
        return path.split("/")[2] if self.venue == "upbit" else "data"


def checked_url(setting: str, venue: str, url: str) -> str:
    """The address as scheme, host and port.

    Keys must not be sent to a host that is only a mistyped name, and never without encryption.

    Raises:
        ValueError: it is neither the venue's host of market data over https nor this machine.
    """
    parts = urlsplit(url)
    is_base = parts.scheme in ("http", "https") and parts.path in ("", "/") and not (parts.query or parts.username)
    is_venue = parts.scheme == "https" and parts.netloc in _HOSTS[venue]
    if is_base and (is_venue or is_loopback(url)):
        return url.rstrip("/")
    hosts = " or ".join(f"https://{host}" for host in _HOSTS[venue])
    msg = (
        f"exchange setting {setting} = {url!r} is not the market data of {venue}; use {hosts}, "
        "or http://127.0.0.1:<port> for an exchange that plays the venue"
    )
    raise ValueError(msg)


def is_loopback(url: str) -> bool:
    """Whether the host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
