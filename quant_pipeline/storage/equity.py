"""Marked equity of a book over time, as it was recorded; marking belongs to the caller."""

from __future__ import annotations

from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import as_utc, finite
from quant_pipeline.storage.staging import frame_of, query

if TYPE_CHECKING:
    import pandas as pd

    from quant_pipeline.storage.database import Database

_COLUMNS = ("at", "session", "cash", "positions_value", "equity")


def record_equity(
    db: Database,
    market: str,
    book: str,
    at: datetime,
    session: date,
    cash: Decimal,
    positions_value: Decimal,
    equity: Decimal,
) -> None:
    """Record a book's equity at a time (aware), in the market's currency; the same time again replaces the row."""
    values = {
        "market": market,
        "book": book,
        "at": as_utc(at),
        "session": session,
        "cash": finite(cash, "cash"),
        "positions_value": finite(positions_value, "positions_value"),
        "equity": finite(equity, "equity"),
    }
    sql = (
        "INSERT INTO equity (market, book, at, session, cash, positions_value, equity)"
        " VALUES (:market, :book, :at, :session, :cash, :positions_value, :equity)"
        " ON CONFLICT (market, book, at) DO UPDATE SET session = excluded.session, cash = excluded.cash,"
        " positions_value = excluded.positions_value, equity = excluded.equity"
    )
    with db.begin() as connection:
        connection.execute(text(sql), values)


def equity_curve(db: Database, market: str, book: str, start: datetime, end: datetime) -> pd.DataFrame:
    """Rows with `start <= at < end` by time: `at` (UTC), `session`, `cash`, `positions_value`, `equity` (float64)."""
    amounts = ", ".join(f"{name}::float8 AS {name}" for name in _COLUMNS[2:])
    with db.arrow() as connection, connection.cursor() as cursor:
        table = query(
            cursor,
            f"SELECT at, session, {amounts} FROM equity"
            " WHERE market = $1 AND book = $2 AND at >= $3 AND at < $4 ORDER BY at",
            (market, book, as_utc(start, "start"), as_utc(end, "end")),
        )
    return frame_of(table)
