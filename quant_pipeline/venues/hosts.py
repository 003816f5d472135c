"""Which addresses an exchange client may be pointed at. Nothing is connected here."""

from __future__ import annotations

from ipaddress import ip_address
from urllib.parse import urlsplit

ALPACA_LIVE = frozenset({"api.alpaca.markets"})
ALPACA_PAPER = frozenset({"paper-api.alpaca.markets"})
ALPACA_DATA = frozenset({"data.alpaca.markets", "data.sandbox.alpaca.markets"})
UPBIT_LIVE = frozenset({"api.upbit.com", "sg-api.upbit.com", "id-api.upbit.com", "th-api.upbit.com"})
LIVE_HOSTS = ALPACA_LIVE | UPBIT_LIVE


def checked_url(name: str, url: str) -> str:
    """`url` as scheme://host[:port] without a trailing slash.

    An empty URL is refused because some clients take it for "the live exchange".

    Raises:
        ValueError: the URL is empty, has no host, carries a path or credentials, or is plain http to another machine.
    """
    stripped = url.strip().rstrip("/")
    parts = urlsplit(stripped)
    if not stripped or parts.scheme not in ("http", "https") or not parts.hostname:
        msg = f"{name} is {url!r}: give http(s)://host[:port]; an empty address never means the live exchange"
        raise ValueError(msg)
    if parts.path or parts.query or parts.fragment or parts.username is not None:
        msg = f"{name} must be scheme, host and port only: the client adds the path, and keys are given separately"
        raise ValueError(msg)
    if parts.scheme == "http" and not is_loopback(stripped):
        msg = f"{name} is {url!r}: only an exchange on this machine may be reached without TLS; use https://"
        raise ValueError(msg)
    return stripped


def host_of(url: str) -> str:
    """The host of a checked URL, lower case."""
    return (urlsplit(url).hostname or "").lower().rstrip(".")


def is_loopback(url: str) -> bool:
    """Whether `url` points to this machine."""
    host = host_of(url)
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def refuse_live_without_account(url: str, live_account: str | None) -> None:
    """Refuse an address where real money trades unless the account is named.

    Raises:
        ValueError: `url` is a live host and `live_account` is missing or blank.
    """
    if host_of(url) in LIVE_HOSTS and (live_account is None or not live_account.strip()):
        msg = f"{host_of(url)} trades real money: name the account in live_account, or use the simulated exchange"
        raise ValueError(msg)


def checked_key(name: str, value: str) -> str:
    """`value` if it can be sent as a key; the error does not repeat it.

    Raises:
        ValueError: the key is empty or has white space around it.
    """
    if not value or value != value.strip():
        msg = f"{name} is empty or has white space around it: set it, the client must not look for one by itself"
        raise ValueError(msg)
    return value
