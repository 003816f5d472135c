"""Since when a ticker means this company: dated spans, with what was known when. Judging bars by them is not here."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.database import lock_key
from quant_pipeline.storage.sql import insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quant_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class TickerSpan:
    """The share now called `symbol` traded as `ticker` from `first_day` to `last_day` (both included).

    Known since `known_at` (aware). All rows of a symbol with one `known_at` belong together and replace earlier ones.
    """

    market: str
    symbol: str
    ticker: str
    first_day: date
    last_day: date
    source: str
    known_at: datetime


_LATEST = f"""
SELECT {select_list(TickerSpan)} FROM ticker_spans s
WHERE market = :market AND (CAST(:symbols AS text[]) IS NULL OR symbol = ANY(CAST(:symbols AS text[])))
  AND known_at = (SELECT max(known_at) FROM ticker_spans n WHERE n.market = s.market AND n.symbol = s.symbol)
ORDER BY symbol, first_day
"""


def record_spans(db: Database, spans: Sequence[TickerSpan]) -> int:
    """Add the whole list of spans of one symbol, unless the newest list says the same; returns how many were added.

    Raises:
        ValueError: the spans are not of one symbol and one `known_at`.
    """
    if len({(span.market, span.symbol, span.known_at) for span in spans}) != 1:
        msg = (
            f"{len(spans)} ticker spans are not the list of one symbol as known at one time; record each list by itself"
        )
        raise ValueError(msg)
    market, symbol = spans[0].market, spans[0].symbol
    said = [(span.ticker, span.first_day, span.last_day) for span in spans]
    with db.begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key(f"ticker_spans/{market}")})
        known = records(connection, TickerSpan, _LATEST, {"market": market, "symbols": [symbol]})
        if [(span.ticker, span.first_day, span.last_day) for span in known] == said:
            return 0
        for span in spans:
            values = values_of(span)
            connection.execute(text(insert_statement("ticker_spans", tuple(values))), values)
    return len(spans)


def read_spans(db: Database, market: str, symbols: Sequence[str] | None = None) -> dict[str, tuple[TickerSpan, ...]]:
    """The newest list of spans of each symbol that has one, by first day; `symbols` None means all."""
    parameters = {"market": market, "symbols": list(symbols) if symbols is not None else None}
    found: dict[str, list[TickerSpan]] = {}
    with db.begin() as connection:
        for span in records(connection, TickerSpan, _LATEST, parameters):
            found.setdefault(span.symbol, []).append(span)
    return {symbol: tuple(spans) for symbol, spans in found.items()}
