"""Build the two clients of one venue for one mode, or refuse with a sentence. Settings are read elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from quant_pipeline.core.values import Mode
from quant_pipeline.venues.alpaca import clients as alpaca
from quant_pipeline.venues.alpaca.broker import AlpacaBroker
from quant_pipeline.venues.alpaca.corporate_actions import AlpacaCorporateActions
from quant_pipeline.venues.alpaca.market_data import AlpacaMarketData
from quant_pipeline.venues.hosts import (
    ALPACA_DATA,
    ALPACA_LIVE,
    ALPACA_PAPER,
    UPBIT_LIVE,
    checked_url,
    host_of,
    is_loopback,
)
from quant_pipeline.venues.limits import ORDER_WAIT, RateLimiter
from quant_pipeline.venues.protocols import Broker, CorporateActionData, MarketData
from quant_pipeline.venues.shared_limits import SharedLimiter
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout
from quant_pipeline.venues.upbit import limits as upbit
from quant_pipeline.venues.upbit.broker import UpbitBroker
from quant_pipeline.venues.upbit.quotations import UpbitMarketData


@dataclass(frozen=True, slots=True)
class VenueConfig:
    """Everything that decides where orders go. Nothing has a default that could mean real money.

    `trading_url` and `data_url` are scheme, host and port; Upbit serves both from one host. `live_account` is Alpaca's
    account number, or for Upbit the name that `venues.upbit.clients.account_name` makes from the access key.
    `feed` and `adjustment` concern Alpaca's bars only. `limits` is a folder in which all processes that use the venue
    from this machine keep their common budgets of requests; without one each client keeps to itself.
    """

    venue: Literal["alpaca", "upbit"]
    mode: Mode
    trading_url: str
    data_url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    live_account: str | None = None
    timeout: Timeout = DEFAULT_TIMEOUT
    feed: str = "iex"
    adjustment: str = "raw"
    limits: Path | None = None


def connect(config: VenueConfig) -> tuple[MarketData, Broker]:
    """The clients for `config`. Nothing is sent yet.

    Raises:
        ValueError: mode, addresses and account do not fit together, or a value is missing; the text names the remedy.
    """
    check_mode(config)
    trading_limiter, data_limiter = _limiters(config)
    if config.venue == "alpaca":
        return (
            AlpacaMarketData(
                base_url=config.data_url,
                key=config.key,
                secret=config.secret,
                feed=config.feed,
                adjustment=config.adjustment,
                timeout=config.timeout,
                limiter=data_limiter,
            ),
            AlpacaBroker(
                base_url=config.trading_url,
                key=config.key,
                secret=config.secret,
                timeout=config.timeout,
                live_account=config.live_account,
                limiter=trading_limiter,
            ),
        )
    return (
        UpbitMarketData(base_url=config.data_url, timeout=config.timeout, limiter=data_limiter),
        UpbitBroker(
            base_url=config.trading_url,
            access_key=config.key,
            secret_key=config.secret,
            timeout=config.timeout,
            live_account=config.live_account,
            limiter=trading_limiter,
        ),
    )


def connect_actions(config: VenueConfig) -> CorporateActionData | None:
    """The client for splits and dividends; None for a venue whose assets have none.

    Raises:
        ValueError: see `connect`.
    """
    check_mode(config)
    if config.venue != "alpaca":
        return None
    return AlpacaCorporateActions(
        base_url=config.data_url,
        key=config.key,
        secret=config.secret,
        timeout=config.timeout,
        limiter=_limiters(config)[1],
    )


def _limiters(config: VenueConfig) -> tuple[RateLimiter | None, RateLimiter | None]:
    """Shared limiters of trading and market data. Upbit counts quotations per IP address, all else is per account."""
    if config.limits is None:
        return None, None
    account = sha256(config.key.encode()).hexdigest()[:12]
    stem = config.limits / f"{config.venue}-{_file_name(config.data_url)}"
    own = config.limits / f"{config.venue}-{_file_name(config.trading_url)}-{account}"
    if config.venue == "alpaca":
        data_stem = stem.with_name(f"{stem.name}-{account}")
        return (
            SharedLimiter(own, alpaca.BUDGETS, max_wait=ORDER_WAIT),
            SharedLimiter(data_stem, alpaca.BUDGETS, max_wait=2 * alpaca.WINDOW),
        )
    return (
        SharedLimiter(own, upbit.ACCOUNT, max_wait=ORDER_WAIT),
        SharedLimiter(stem, upbit.QUOTATIONS, max_wait=upbit.PENALTY),
    )


def _file_name(url: str) -> str:
    return urlsplit(url).netloc.replace(":", "-")


def check_mode(config: VenueConfig) -> None:
    """Refuse addresses and accounts that do not belong to the mode.

    Raises:
        ValueError: see `connect`.
    """
    if config.venue not in ("alpaca", "upbit"):
        msg = f"unknown venue {config.venue!r}; use 'alpaca' or 'upbit'"
        raise ValueError(msg)
    urls = {
        "trading_url": checked_url(f"{config.venue} trading_url", config.trading_url),
        "data_url": checked_url(f"{config.venue} data_url", config.data_url),
    }
    checks: dict[Mode, Callable[[VenueConfig, dict[str, str]], None]] = {
        Mode.SIMULATED: _check_simulated,
        Mode.PAPER: _check_paper,
        Mode.LIVE: _check_live,
    }
    checks[config.mode](config, urls)


def _check_simulated(config: VenueConfig, urls: dict[str, str]) -> None:
    for name, url in urls.items():
        if not is_loopback(url):
            msg = (
                f"{config.venue} is in mode 'simulated' and {name} is {url}: the simulated exchange runs on this"
                " machine, use http://127.0.0.1:<port> or change the mode"
            )
            raise ValueError(msg)
    if config.live_account is not None:
        msg = f"{config.venue} is in mode 'simulated' and live_account is set: remove it, or set mode 'live'"
        raise ValueError(msg)


def _check_paper(config: VenueConfig, urls: dict[str, str]) -> None:
    if config.venue == "upbit":
        msg = (
            "Upbit has no paper environment: use mode 'simulated' (the simulated exchange is its paper venue)"
            " or 'live' with live_account"
        )
        raise ValueError(msg)
    _require_host(config, "trading_url", urls["trading_url"], ALPACA_PAPER)
    _require_host(config, "data_url", urls["data_url"], ALPACA_DATA)


def _check_live(config: VenueConfig, urls: dict[str, str]) -> None:
    if config.live_account is None or not config.live_account.strip():
        msg = f"{config.venue} is in mode 'live' without live_account: name the account that may trade real money"
        raise ValueError(msg)
    trading, data = (ALPACA_LIVE, ALPACA_DATA) if config.venue == "alpaca" else (UPBIT_LIVE, UPBIT_LIVE)
    _require_host(config, "trading_url", urls["trading_url"], trading)
    _require_host(config, "data_url", urls["data_url"], data)


def _require_host(config: VenueConfig, name: str, url: str, hosts: frozenset[str]) -> None:
    if host_of(url) not in hosts:
        msg = f"{config.venue} is in mode {config.mode.value!r} and {name} is {url}: use https://{min(hosts)}"
        raise ValueError(msg)
