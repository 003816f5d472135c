"""Options that several commands have in common, and reading their values. Nothing is opened here."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant_pipeline.cli.errors import BadInputError

if TYPE_CHECKING:
    from quant_pipeline.settings import MarketSettings, Settings

_EARLIEST, _LATEST = date(1900, 1, 1), date(2199, 12, 31)
"""No bar is older or newer, and times counted in nanoseconds reach a little further only."""

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file; default: quant.toml here or above.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON, and nothing else, on stdout.")]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Bars as they were stored at that time (ISO, with zone).")
]
FromOption = Annotated[str | None, typer.Option("--from", metavar="DATE", help="First session; default: all.")]
ToOption = Annotated[str | None, typer.Option("--to", metavar="DATE", help="Last session; default: all.")]
SymbolsOption = Annotated[
    str | None, typer.Option("--symbols", metavar="A,B", help="Only these symbols; default: all that are stored.")
]
MarketArgument = Annotated[str, typer.Argument(metavar="MARKET", help="us_equity or krw_crypto.")]


def market_of(settings: Settings, name: str) -> MarketSettings:
    """The settings of the market that was named.

    Raises:
        BadInputError: it is unknown or not enabled.
    """
    try:
        return settings.market(name)
    except ValueError as error:
        raise BadInputError(str(error)) from None


def day_of(text: str, option: str) -> date:
    """A date written as YYYY-MM-DD.

    Raises:
        BadInputError: it is written otherwise.
    """
    try:
        return date.fromisoformat(text)
    except ValueError:
        msg = f"{option} {text!r} is not a date; write it as YYYY-MM-DD, for example 2026-03-02"
        raise BadInputError(msg) from None


def days_of(first: str | None, last: str | None) -> tuple[date, date]:
    """The sessions from `--from` to `--to`, wide open where one is not given.

    Raises:
        BadInputError: one is not a date, or they are the wrong way round.
    """
    start = _EARLIEST if first is None else day_of(first, "--from")
    end = _LATEST if last is None else day_of(last, "--to")
    if start > end:
        msg = f"--from {start} is after --to {end}; exchange them"
        raise BadInputError(msg)
    return start, end


def span_of(first: str | None, last: str | None) -> tuple[datetime, datetime]:
    """`days_of` as a span of bar starts: from 00:00 UTC of the first session up to the end of the last (exclusive)."""
    days = (min(max(day, _EARLIEST), _LATEST) for day in days_of(first, last))
    start, end = (datetime(day.year, day.month, day.day, tzinfo=UTC) for day in days)
    return start, end + timedelta(days=1)


def symbols_of(text: str | None) -> tuple[str, ...] | None:
    """Symbols written with commas between them, as they are stored; None when none are given.

    Raises:
        BadInputError: one cannot be a symbol, or the list is empty.
    """
    if text is None:
        return None
    from quant_pipeline.importers.naming import normal_symbol

    parts = [part.strip() for part in text.split(",") if part.strip()]
    names = [normal_symbol(part) for part in parts]
    if not parts or None in names:
        wrong = parts[names.index(None)] if parts else text
        msg = f"--symbols {wrong!r} is no symbol; write them like AAPL,MSFT or KRW-BTC,KRW-ETH"
        raise BadInputError(msg)
    return tuple(dict.fromkeys(name for name in names if name is not None))


def interval_of(text: str | None, default: str) -> str:
    """An interval, by default the given one.

    Raises:
        BadInputError: it is none that bars have.
    """
    from quant_pipeline.importers.grid import INTERVALS

    if text is not None and text not in INTERVALS:
        msg = f"--interval {text!r} is not known; use one of {', '.join(INTERVALS)}"
        raise BadInputError(msg)
    return default if text is None else text


def month_of(text: str, option: str) -> date:
    """The first day of a month written as YYYY-MM (or as any of its days).

    Raises:
        BadInputError: it is written otherwise.
    """
    try:
        return date.fromisoformat(text if text.count("-") == 2 else f"{text}-01").replace(day=1)
    except ValueError:
        msg = f"{option} {text!r} is not a month; write it as YYYY-MM, for example 2026-03"
        raise BadInputError(msg) from None


def moment_of(text: str, option: str) -> datetime:
    """A time in ISO 8601 with its offset.

    Raises:
        BadInputError: it is written otherwise, or without an offset.
    """
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{option} {text!r} is not a time; write it as 2026-03-02T15:30:00Z"
        raise BadInputError(msg) from None
    if at.tzinfo is None:
        msg = f"{option} {text!r} has no time zone; add Z for UTC or an offset such as +09:00"
        raise BadInputError(msg)
    return at
