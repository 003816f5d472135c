"""Dated corporate actions, kept beside the raw bars, with what was known when. Adjusting bars belongs to core."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, finite, insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from quant_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class CorporateAction:
    """One action of a symbol, in force from the open of `ex_date`, as it was known since `known_at` (aware).

    `ratio` is new shares per old share (splits), `amount` is cash per share in `currency` (dividends).
    """

    market: str
    symbol: str
    ex_date: date
    kind: str
    ratio: Decimal | None
    amount: Decimal | None
    currency: str | None
    source: str
    known_at: datetime


_LATEST = f"""
SELECT DISTINCT ON (symbol, ex_date, kind) {select_list(CorporateAction)} FROM corporate_actions
WHERE market = :market AND ex_date BETWEEN :start AND :end AND known_at <= :as_of
  AND (CAST(:symbols AS text[]) IS NULL OR symbol = ANY(CAST(:symbols AS text[])))
ORDER BY symbol, ex_date, kind, known_at DESC
"""


def record_actions(db: Database, rows: Iterable[CorporateAction]) -> int:
    """Add actions that are new or say something else than before; returns how many. Old statements stay.

    Raises:
        ValueError: a ratio or an amount is no number that an action can have; nothing is stored.
    """
    added = 0
    with db.begin() as connection:
        for row in rows:
            for name in ("ratio", "amount"):
                value = getattr(row, name)
                if value is not None and (finite(value, name) < 0 or (name == "ratio" and not value)):
                    msg = (
                        f"{row.kind} of {row.symbol} on {row.ex_date} has {name}={value}; correct it before storing it"
                    )
                    raise ValueError(msg)
            values = values_of(row)
            sql = (
                "SELECT ratio, amount, currency FROM corporate_actions WHERE market = :market AND symbol = :symbol"
                " AND ex_date = :ex_date AND kind = :kind ORDER BY known_at DESC LIMIT 1"
            )
            known = connection.execute(text(sql), values).first()
            if known is not None and tuple(known) == (row.ratio, row.amount, row.currency):
                continue
            inserted = insert_statement("corporate_actions", tuple(values), conflict="DO NOTHING", returning="symbol")
            added += connection.execute(text(inserted), values).first() is not None
    return added


def read_actions(
    db: Database,
    market: str,
    symbols: Sequence[str] | None,
    start: date,
    end: date,
    *,
    as_of: datetime | None = None,
) -> tuple[CorporateAction, ...]:
    """Actions with `start <= ex_date <= end` by (symbol, date, kind); with `as_of` as they were known then."""
    parameters = {
        "market": market,
        "symbols": list(symbols) if symbols is not None else None,
        "start": start,
        "end": end,
        "as_of": as_utc(as_of, "as_of") if as_of is not None else "infinity",
    }
    with db.begin() as connection:
        return records(connection, CorporateAction, _LATEST, parameters)
