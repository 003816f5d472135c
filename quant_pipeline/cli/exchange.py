"""`quant exchange`: the simulated exchange in the foreground. What it does belongs to `exchange`."""

from __future__ import annotations

import dataclasses
import signal
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import ended_by_signals, load
from quant_pipeline.cli.errors import INTERRUPTED, BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption, moment_of
from quant_pipeline.cli.output import results, write_json
from quant_pipeline.markets.market import MARKETS

if TYPE_CHECKING:
    from quant_pipeline.exchange.config import ExchangeConfig
    from quant_pipeline.settings import Settings


def exchange_command(
    *,
    clock: Annotated[
        str, typer.Option(metavar="wall|ISO", help="Follow the wall clock, or start at this time.")
    ] = "wall",
    seed: Annotated[int | None, typer.Option(help="Seed of generated bars; default: exchange.seed.")] = None,
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Real bars: <market>/<symbol>/<interval>.parquet or .csv.")
    ] = None,
    state: Annotated[Path | None, typer.Option(metavar="FILE", help="Keep accounts and orders in this file.")] = None,
    live_from: Annotated[
        list[str] | None,
        typer.Option(metavar="VENUE[=URL]", help="A dry run: real prices of alpaca or upbit, simulated fills."),
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the simulated exchange (Alpaca's and Upbit's dialects) until Ctrl-C."""
    settings = load(config, changes={"exchange": _live_from(live_from or [])})
    if clock != "wall":
        clock = moment_of(clock, "--clock").isoformat()
    served = exchange_config(settings)
    if clock != "wall" and served.live_markets:
        msg = f"--clock {clock} does not go with real prices of {', '.join(served.live_markets)}; leave it out"
        raise BadInputError(msg)
    if data is not None and not data.is_dir():
        msg = f"--data {str(data)!r} is not a folder; name one that holds <market>/<symbol>/<interval>.parquet"
        raise BadInputError(msg)
    served = dataclasses.replace(served, clock=clock, data_dir=data, state_path=state)
    if seed is not None:
        served = dataclasses.replace(served, seed=seed)
    received = _serve(served, as_json=as_json)
    raise typer.Exit(INTERRUPTED if received is signal.SIGINT else 0)


def _live_from(named: list[str]) -> dict[str, str]:
    """The settings that `--live-from` stands for."""
    from quant_pipeline.exchange.live.address import PUBLIC_URLS

    found: dict[str, str] = {}
    for text in named:
        venue, _, url = text.partition("=")
        market = next((market for market in MARKETS if market.venue == venue), None)
        if market is None:
            msg = f"--live-from {text!r} names no venue; use {' or '.join(PUBLIC_URLS)}, or VENUE=URL"
            raise BadInputError(msg)
        found[f"live_{market.name}"] = url or PUBLIC_URLS[venue]
    return found


def exchange_config(settings: Settings) -> ExchangeConfig:
    """The exchange of this desk: its ports, its symbols besides the usual ones, cash as its shadow books have.

    In a dry run of a market it lists what the desk watches there, and nothing else: each symbol has to be asked for.

    Raises:
        BadInputError: a dry run lacks keys, or its address is not one of market data.
    """
    from decimal import Decimal

    from quant_pipeline.exchange.bars.symbols import KRW_SYMBOLS, US_SYMBOLS
    from quant_pipeline.exchange.config import ExchangeConfig

    us, krw, told = settings.us_equity, settings.krw_crypto, settings.exchange
    keys = settings.secrets
    try:
        return ExchangeConfig(
            alpaca_port=settings.ports.exchange_alpaca,
            upbit_port=settings.ports.exchange_upbit,
            seed=told.seed,
            us_symbols=us.symbols if told.live_us_equity else tuple(dict.fromkeys((*US_SYMBOLS, *us.symbols))),
            krw_symbols=krw.symbols if told.live_krw_crypto else tuple(dict.fromkeys((*KRW_SYMBOLS, *krw.symbols))),
            usd_cash=Decimal(str(us.capital)),
            krw_cash=Decimal(str(krw.capital)),
            live_us_equity=told.live_us_equity,
            live_krw_crypto=told.live_krw_crypto,
            live_alpaca_feed=us.feed,
            live_alpaca_key=keys.alpaca_api_key.get_secret_value() if told.live_us_equity else "",
            live_alpaca_secret=keys.alpaca_api_secret.get_secret_value() if told.live_us_equity else "",
        )
    except ValueError as error:
        raise BadInputError(str(error)) from error


def _serve(config: ExchangeConfig, *, as_json: bool) -> signal.Signals | None:
    """Serve until a signal comes; returns it."""
    from quant_pipeline.exchange.server import running_exchange
    from quant_pipeline.runtime.ports import require_free_port
    from quant_pipeline.runtime.processes import ProcessGroup

    require_free_port(config.alpaca_port, "ports.exchange_alpaca")
    require_free_port(config.upbit_port, "ports.exchange_upbit")
    with ExitStack() as stack:
        stack.enter_context(ended_by_signals())
        try:
            exchange = stack.enter_context(running_exchange(config))
        except ValueError as error:  # a data folder or state file that does not fit
            raise BadInputError(str(error)) from error
        content: dict[str, Any] = {"alpaca_url": exchange.alpaca_url, "upbit_url": exchange.upbit_url}
        content |= {"clock": config.clock, "seed": config.seed, "now": exchange.admin.clock()}
        content["live"] = {name: row["upstream"] for name, row in exchange.admin.live().items()}
        if as_json:
            write_json(content)
        else:
            text = (
                f"simulated exchange: Alpaca at {exchange.alpaca_url}, Upbit at {exchange.upbit_url} (Ctrl-C ends it)"
            )
            results().print(text)
            for name, url in content["live"].items():
                results().print(
                    f"{name}: real prices of {url}, simulated fills; how it is: {exchange.alpaca_url}/admin/live"
                )
        return ProcessGroup().run_until_signal()
