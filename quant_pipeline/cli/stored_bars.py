"""What `quant bars` and `quant export` ask storage first: whether there are such bars, and the sentence when not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quant_pipeline.cli.errors import BadInputError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from quant_pipeline.storage.database import Database


def stored_ends(db: Database, market: str, interval: str, symbol: str) -> tuple[datetime, datetime]:
    """First and last bar start of a symbol at an interval.

    Raises:
        BadInputError: there is none; says what there is of the symbol.
    """
    from quant_pipeline.importers.grid import INTERVALS
    from quant_pipeline.storage.changes import bar_ends

    found = bar_ends(db, market, interval, [symbol])
    if symbol in found:
        return found[symbol]
    others = {name: bar_ends(db, market, name, [symbol]).get(symbol) for name in INTERVALS}
    known = [f"{name} ({ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d})" for name, ends in others.items() if ends is not None]
    if known:
        msg = f"{symbol} has no {interval} bars; pass --interval with one of those it has: {', '.join(known)}"
    else:
        msg = f"no bars of {symbol} are stored in {market}; `quant coverage {market}` lists what is"
    raise BadInputError(msg)


def require_stored(db: Database, market: str, interval: str, symbols: Sequence[str]) -> None:
    """Refuse symbols of which there are no bars at an interval.

    Raises:
        BadInputError: names the first such symbol.
    """
    for symbol in symbols:
        stored_ends(db, market, interval, symbol)
