"""What the simulated exchange is started with: one frozen value with every default. No behaviour."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

from quant_pipeline.exchange.actions import ScriptedAction, plain_action, read_action
from quant_pipeline.exchange.bars.symbols import KRW_SYMBOLS, US_SYMBOLS
from quant_pipeline.exchange.clock import parse_time
from quant_pipeline.exchange.live.address import checked_url


@dataclass(frozen=True, slots=True)
class ExchangeConfig:
    """Everything the exchange can be told.

    Ports of 0 are chosen by the system. `clock` is "wall" or an ISO time to start at and to be moved by hand.
    `data_dir` holds real bars as `<market>/<symbol>/<interval>.parquet` (or .csv, .csv.gz); a market without a folder
    there is generated from `seed`. `state_path` is a journal file that makes accounts and orders survive a restart.
    Cash is per account, spreads are half spreads in basis points, `max_participation` caps a fill to that part of its
    bar's volume. Limits are per minute or second of real time, as each venue counts.

    `live_us_equity` and `live_krw_crypto` make a dry run of a market: the URL of the venue whose prices are taken (empty:
    prices of our own). Alpaca wants keys for that, its data is of `live_alpaca_feed`. The venue is asked every
    `live_poll_seconds` of real time, at most at the `live_..._per_...` rates, a little below what it allows, and is
    waited for `live_timeout_seconds`.

    `actions` are splits and dividends of stocks: generated prices follow them, files are raw and hold them already;
    holdings are multiplied in either case.
    """

    host: str = "127.0.0.1"
    alpaca_port: int = 8100
    upbit_port: int = 8101
    seed: int = 7
    clock: str = "wall"
    us_symbols: tuple[str, ...] = US_SYMBOLS
    krw_symbols: tuple[str, ...] = KRW_SYMBOLS
    usd_cash: Decimal = Decimal(100_000)
    krw_cash: Decimal = Decimal(100_000_000)
    alpaca_key: str = "SIM-ALPACA-KEY"
    alpaca_secret: str = field(default="SIM-ALPACA-SECRET", repr=False)
    upbit_access_key: str = "SIM-UPBIT-ACCESS"
    upbit_secret_key: str = field(default="SIM-UPBIT-SECRET-0123456789-0123456789-0123", repr=False)
    data_dir: Path | None = None
    state_path: Path | None = None
    half_spread_bp_us: Decimal = Decimal(2)
    half_spread_bp_krw: Decimal = Decimal(5)
    max_participation: Decimal | None = None
    alpaca_trading_per_minute: int = 200
    alpaca_data_per_minute: int = 200
    upbit_quotation_per_second: int = 10
    upbit_exchange_per_second: int = 30
    upbit_order_per_second: int = 8
    upbit_block_after: int = 20
    live_us_equity: str = ""
    live_krw_crypto: str = ""
    live_alpaca_key: str = field(default="", repr=False)
    live_alpaca_secret: str = field(default="", repr=False)
    live_alpaca_feed: str = "iex"
    live_alpaca_per_minute: int = 190
    live_upbit_per_second: int = 9
    live_poll_seconds: int = 5
    live_timeout_seconds: int = 5
    actions: tuple[ScriptedAction, ...] = ()

    def __post_init__(self) -> None:
        """Refuse values that cannot be served.

        Raises:
            ValueError: a number is out of range, the clock is neither "wall" nor a time, or a dry run lacks something.
        """
        if self.clock != "wall":
            parse_time(self.clock)
        positive = [f.name for f in dataclasses.fields(self) if f.name.endswith(("_per_minute", "_per_second"))]
        positive += ["upbit_block_after", "usd_cash", "krw_cash", "live_poll_seconds", "live_timeout_seconds"]
        for name in positive:
            if getattr(self, name) <= 0:
                msg = f"exchange setting {name} = {getattr(self, name)} must be positive"
                raise ValueError(msg)
        for name in ("half_spread_bp_us", "half_spread_bp_krw"):
            if not 0 <= getattr(self, name) < 1000:
                msg = f"exchange setting {name} = {getattr(self, name)} must be from 0 to 1000 basis points"
                raise ValueError(msg)
        if self.max_participation is not None and not 0 < self.max_participation <= 1:
            msg = f"exchange setting max_participation = {self.max_participation} must be above 0 and at most 1"
            raise ValueError(msg)
        self._check_live()

    @property
    def live_markets(self) -> tuple[str, ...]:
        """The markets whose prices come from a venue."""
        return tuple(name for name in ("us_equity", "krw_crypto") if getattr(self, f"live_{name}"))

    def _check_live(self) -> None:
        if self.live_us_equity:
            checked_url("live_us_equity", "alpaca", self.live_us_equity)
            if not (self.live_alpaca_key and self.live_alpaca_secret):
                msg = (
                    "exchange setting live_us_equity needs Alpaca's keys: set ALPACA_API_KEY and ALPACA_API_SECRET in "
                    "the environment or in .env (those of a paper account will do)"
                )
                raise ValueError(msg)
        if self.live_krw_crypto:
            checked_url("live_krw_crypto", "upbit", self.live_krw_crypto)


CREDENTIALS = ("alpaca_secret", "upbit_secret_key", "live_alpaca_key", "live_alpaca_secret")
"""Settings that belong on no command line, in no file and in no log."""

_DECIMALS = ("usd_cash", "krw_cash", "half_spread_bp_us", "half_spread_bp_krw", "max_participation")
_PATHS = ("data_dir", "state_path")
_LISTS = ("us_symbols", "krw_symbols")


def config_from_dict(values: dict[str, Any]) -> ExchangeConfig:
    """A config from plain values (strings for decimals and paths, lists for symbols); missing ones keep their default.

    Raises:
        ValueError: a name is unknown or a value is out of range.
    """
    known = {f.name for f in dataclasses.fields(ExchangeConfig)}
    unknown = sorted(set(values) - known)
    if unknown:
        msg = f"unknown exchange setting {', '.join(unknown)}; known are {', '.join(sorted(known))}"
        raise ValueError(msg)
    typed: dict[str, Any] = dict(values)
    for name, value in values.items():
        if value is None:
            continue
        if name in _DECIMALS:
            typed[name] = Decimal(str(value))
        elif name in _PATHS:
            typed[name] = Path(value)
        elif name in _LISTS:
            typed[name] = tuple(value)
        elif name == "actions":
            typed[name] = tuple(read_action(one) for one in value)
    return ExchangeConfig(**typed)


def config_to_json(config: ExchangeConfig) -> str:
    """The config as JSON that `config_from_dict` reads back, secrets included: for a child process, not for a log."""
    plain = {f.name: getattr(config, f.name) for f in dataclasses.fields(config)}
    for name in (*_DECIMALS, *_PATHS):
        plain[name] = None if plain[name] is None else str(plain[name])
    plain["actions"] = [plain_action(action) for action in config.actions]
    return json.dumps(plain)
