"""Splits in the ledger: the holding of a book multiplied once, with an entry that stays. What splits there are is not here."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, datetime
from decimal import ROUND_DOWN, Decimal, localcontext
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.storage.positions import Holding, locked_holding, write_holding
from quant_pipeline.storage.sql import as_utc, insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection
    from sqlalchemy.engine import RowMapping

    from quant_pipeline.storage.database import Database

_QTY_PLACES = Decimal("1e-9")
_COST_PLACES = Decimal("1e-12")
_LARGEST_DENOMINATOR = 1000
_DIGITS = 80

_HELD_BEFORE = """
SELECT (SELECT coalesce(sum(CASE side WHEN 'buy' THEN qty ELSE -qty END), 0) FROM fills
        WHERE market = :market AND book = :book AND symbol = :symbol AND at < :effective_at)
     + (SELECT coalesce(sum(qty_change), 0) FROM position_splits
        WHERE market = :market AND book = :book AND symbol = :symbol AND ex_date < :ex_date)
"""


@dataclass(frozen=True, slots=True)
class PositionSplit:
    """What a split of `ratio` new units for an old one did to a book, in force from `effective_at` (aware) on.

    `qty_before` was held then; `qty_change` was added. The cost of the holding stayed, so its average fell.
    """

    market: str
    book: str
    symbol: str
    ex_date: date
    ratio: Decimal
    effective_at: datetime
    qty_before: Decimal
    qty_change: Decimal
    applied_at: datetime


def split_fraction(ratio: Decimal) -> Fraction:
    """The fraction that a ratio of a decimal's digits stands for: 0.3333333333 of 28 digits is one third."""
    exact = Fraction(ratio)
    short = exact.limit_denominator(_LARGEST_DENOMINATOR)
    return short if abs(exact - short) < Fraction(1, 10**12) else exact


def after_split(qty: Decimal, ratio: Decimal) -> Decimal:
    """`qty` units after a split, rounded down to nine decimals as brokers keep fractions of a share."""
    exact = Fraction(qty) * split_fraction(ratio)
    with localcontext() as context:
        context.prec = _DIGITS
        return (Decimal(exact.numerator) / Decimal(exact.denominator)).quantize(_QTY_PLACES, ROUND_DOWN).normalize() + 0


def apply_split(
    db: Database,
    market: str,
    book: str,
    symbol: str,
    ex_date: date,
    ratio: Decimal,
    *,
    effective: datetime,
    at: datetime,
    lot: Decimal,
) -> PositionSplit | None:
    """Multiply what was held when the split took effect, and restate intents not sent yet; once for each ex-date.

    What was bought or sold after `effective` is in new units already and stays. Intents are cut to whole `lot`s.
    Returns the entry, or None when there was nothing to restate or the split was applied before, whatever ratio was
    known at that time.

    Raises:
        ValueError: the ratio is not positive, or a time has no zone.
    """
    _check_ratio(symbol, ex_date, ratio)
    key = {"market": market, "book": book, "symbol": symbol, "ex_date": ex_date}
    with db.begin() as connection:
        holding = locked_holding(connection, market, book, symbol, at)
        held = connection.execute(text(_HELD_BEFORE), key | {"effective_at": as_utc(effective, "effective")})
        before: Decimal = max(held.scalar_one(), Decimal(0))
        if not before and not _open_intents(connection, key | {"effective_at": as_utc(effective)}):
            return None
        change = after_split(before, ratio) - before
        entry = PositionSplit(market, book, symbol, ex_date, ratio, effective, before, change, at)
        values = values_of(entry)
        sql = insert_statement("position_splits", tuple(values), conflict="DO NOTHING", returning="symbol")
        if connection.execute(text(sql), values).first() is None:
            return None
        write_holding(connection, _multiplied(holding, change, at))
        _restate_intents(connection, entry, lot)
    return entry


def _check_ratio(symbol: str, ex_date: date, ratio: Decimal) -> None:
    if not (ratio.is_finite() and ratio > 0):
        msg = f"split of {symbol} on {ex_date} has ratio {ratio}; a ratio is new shares for one old share, above 0"
        raise ValueError(msg)


def position_splits(db: Database, market: str, book: str) -> tuple[PositionSplit, ...]:
    """The splits that a book went through, by date and symbol."""
    sql = (
        f"SELECT {select_list(PositionSplit)} FROM position_splits"
        " WHERE market = :market AND book = :book ORDER BY ex_date, symbol"
    )
    with db.begin() as connection:
        return records(connection, PositionSplit, sql, {"market": market, "book": book})


def _multiplied(holding: Holding, change: Decimal, at: datetime) -> Holding:
    with localcontext() as context:
        context.prec = _DIGITS
        qty = holding.qty + change
        average = (holding.cost / qty).quantize(_COST_PLACES) if qty else Decimal(0)
    return replace(holding, qty=qty, avg_price=average, updated_at=max(holding.updated_at, as_utc(at)))


def _restate_intents(connection: Connection, entry: PositionSplit, lot: Decimal) -> None:
    """Intents in old units that were not sent: in whole lots of new units; what is less than one is given up."""
    for row in _open_intents(connection, values_of(entry)):
        qty = after_split(row["qty"], entry.ratio) // lot * lot
        change = "qty = :qty" if qty > 0 else "status = 'cancelled', reason = 'split_left_nothing'"
        connection.execute(
            text(f"UPDATE intents SET {change}, updated_at = :at WHERE id = :id"),
            {"id": row["id"], "qty": qty, "at": as_utc(entry.applied_at)},
        )


def _open_intents(connection: Connection, parameters: Mapping[str, Any]) -> Sequence[RowMapping]:
    sql = text(
        "SELECT id, qty FROM intents WHERE market = :market AND book = :book AND symbol = :symbol"
        " AND status = 'open' AND qty IS NOT NULL AND created_at < :effective_at ORDER BY id FOR UPDATE"
    )
    return connection.execute(sql, parameters).mappings().all()
