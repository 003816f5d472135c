"""Positions by average cost: the arithmetic of one fill, and reading what a book holds. `fills` applies them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal, localcontext
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.core.values import Side
from quant_pipeline.storage.sql import as_utc, records, select_list, values_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

_ZERO = Decimal(0)
_COST_PLACES = Decimal("1e-12")
# Wide enough that products and sums of ledger numbers are exact; only divisions are rounded.
_DIGITS = 80


@dataclass(frozen=True, slots=True)
class LedgerPosition:
    """What a book holds of a symbol: `qty` units at `avg_price` (average cost without fees, quote currency).

    `realised_pnl` is the sum over all sales so far, before fees; `fees` are all fees paid so far.
    A negative `qty` means that more was sold than the ledger ever saw bought.
    """

    symbol: str
    qty: Decimal
    avg_price: Decimal
    realised_pnl: Decimal
    opened_at: datetime | None
    fees: Decimal = _ZERO


@dataclass(frozen=True, slots=True)
class Holding:
    """A position as it is stored; `cost` is what the held quantity was bought for, from which the average follows."""

    market: str
    book: str
    symbol: str
    qty: Decimal
    cost: Decimal
    avg_price: Decimal
    realised_pnl: Decimal
    fees: Decimal
    opened_at: datetime | None
    updated_at: datetime


def after_fill(holding: Holding, side: Side, qty: Decimal, price: Decimal, fee: Decimal, at: datetime) -> Holding:
    """The holding after one execution.

    A fill against the holding realises profit on the part it closes, at average cost; what exceeds the holding
    opens one on the other side. At every moment `realised_pnl - cost` equals proceeds minus purchases, exactly.
    """
    with localcontext() as context:
        context.prec = _DIGITS
        signed = qty if side is Side.BUY else -qty
        closed = min(qty, abs(holding.qty)) if holding.qty * signed < 0 else _ZERO
        closed_signed = closed.copy_sign(signed) if closed else _ZERO
        cost_closed = _cost_of(holding, closed)
        realised = holding.realised_pnl - closed_signed * price - cost_closed
        held = holding.qty + signed
        cost = holding.cost - cost_closed + (signed - closed_signed) * price
        average = cost / held if held else _ZERO
        fees = holding.fees + fee
    opened = holding.opened_at if held and holding.qty * held > 0 else (as_utc(at) if held else None)
    return Holding(
        market=holding.market,
        book=holding.book,
        symbol=holding.symbol,
        qty=held,
        cost=cost,
        avg_price=average.quantize(_COST_PLACES) if held else _ZERO,
        realised_pnl=realised,
        fees=fees,
        opened_at=opened,
        updated_at=max(holding.updated_at, as_utc(at)),
    )


def _cost_of(holding: Holding, closed: Decimal) -> Decimal:
    """The part of the cost that `closed` units carry; all of it when nothing is left, so that no remainder stays."""
    if not closed:
        return _ZERO
    if closed == abs(holding.qty):
        return holding.cost
    # Towards zero: what is left never costs less than nothing.
    return (holding.cost * closed / abs(holding.qty)).quantize(_COST_PLACES, rounding=ROUND_DOWN)


def locked_holding(connection: Connection, market: str, book: str, symbol: str, at: datetime) -> Holding:
    """The stored holding, made empty if there is none, locked until the end of the caller's transaction."""
    empty = Holding(market, book, symbol, _ZERO, _ZERO, _ZERO, _ZERO, _ZERO, None, as_utc(at))
    names = ", ".join(values_of(empty))
    marks = ", ".join(f":{name}" for name in values_of(empty))
    connection.execute(
        text(f"INSERT INTO positions ({names}) VALUES ({marks}) ON CONFLICT DO NOTHING"), values_of(empty)
    )
    sql = (
        f"SELECT {select_list(Holding)} FROM positions"
        " WHERE market = :market AND book = :book AND symbol = :symbol FOR UPDATE"
    )
    return records(connection, Holding, sql, {"market": market, "book": book, "symbol": symbol})[0]


def write_holding(connection: Connection, holding: Holding) -> None:
    """Store a holding that was locked in the same transaction."""
    connection.execute(
        text(
            "UPDATE positions SET qty = :qty, cost = :cost, avg_price = :avg_price, realised_pnl = :realised_pnl,"
            " fees = :fees, opened_at = :opened_at, updated_at = :updated_at"
            " WHERE market = :market AND book = :book AND symbol = :symbol"
        ),
        values_of(holding),
    )


def positions(db: Database, market: str, book: str, *, include_flat: bool = False) -> tuple[LedgerPosition, ...]:
    """What a book holds, by symbol; with `include_flat` also what it once held, for its realised profit."""
    with db.begin() as connection:
        return positions_in(connection, market, book, include_flat=include_flat)


def positions_in(
    connection: Connection, market: str, book: str, *, include_flat: bool = False
) -> tuple[LedgerPosition, ...]:
    """`positions` in the caller's transaction."""
    sql = f"SELECT {select_list(LedgerPosition)} FROM positions WHERE market = :market AND book = :book"
    if not include_flat:
        sql += " AND qty <> 0"
    return records(connection, LedgerPosition, f"{sql} ORDER BY symbol", {"market": market, "book": book})
