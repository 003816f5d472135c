"""Options that several commands have in common, and reading their values. Nothing is opened here."""

from __future__ import annotations

from datetime import date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant_pipeline.cli.errors import BadInputError

if TYPE_CHECKING:
    from quant_pipeline.settings import MarketSettings, Settings

ConfigOption = Annotated[
    Path | None, typer.Option("--config", metavar="FILE", help="Settings file; default: quant.toml here or above.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print machine-readable JSON, and nothing else, on stdout.")]
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
