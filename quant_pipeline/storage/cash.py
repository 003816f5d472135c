"""Cash of a book: flows in and out, and the balance that follows from flows and fills. Nothing stores a balance."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.errors import LedgerConflictError
from quant_pipeline.storage.sql import as_utc, finite, insert_statement, records, select_list, values_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

_BALANCE = """
SELECT (SELECT sum(amount) FROM cash_flows WHERE market = :market AND book = :book AND at <= :at) AS flows,
       (SELECT sum(CASE side WHEN 'buy' THEN -qty * price ELSE qty * price END - fee)
        FROM fills WHERE market = :market AND book = :book AND at <= :at) AS traded
"""


@dataclass(frozen=True, slots=True)
class CashFlow:
    """Money that came or went other than by a fill: `amount` in the market's currency, negative when it went.

    `kind` says why (`opening`, `deposit`, `dividend`, `fee`, ...); (`kind`, `ref`) occurs once a book.
    """

    market: str
    book: str
    at: datetime
    amount: Decimal
    kind: str
    ref: str


def record_cash(db: Database, market: str, book: str, at: datetime, amount: Decimal, kind: str, ref: str) -> bool:
    """Record a flow; returns whether it is new. The same (`kind`, `ref`) with the same amount again changes nothing.

    Raises:
        LedgerConflictError: it is there with another amount.
        ValueError: the amount is NaN or infinite, or `at` has no zone.
    """
    with db.begin() as connection:
        return add_cash_flow(connection, CashFlow(market, book, at, amount, kind, ref))


def add_cash_flow(connection: Connection, flow: CashFlow, *, client_id: str | None = None) -> bool:
    """`record_cash` in the caller's transaction; `client_id` names the order that the flow belongs to."""
    finite(flow.amount, "amount")
    values = values_of(flow) | {"client_id": client_id}
    sql = insert_statement("cash_flows", tuple(values), conflict="(market, book, kind, ref) DO NOTHING", returning="id")
    if connection.execute(text(sql), values).first() is not None:
        return True
    where = "market = :market AND book = :book AND kind = :kind AND ref = :ref"
    stored = connection.execute(text(f"SELECT amount FROM cash_flows WHERE {where}"), values).scalar_one()
    if stored != flow.amount:
        msg = f"cash flow {flow.kind} {flow.ref} is in the ledger with {stored}, not {flow.amount}; use another ref"
        raise LedgerConflictError(msg)
    return False


def cash_flows(db: Database, market: str, book: str, start: datetime, end: datetime) -> tuple[CashFlow, ...]:
    """Flows with `start <= at < end`, oldest first."""
    sql = (
        f"SELECT {select_list(CashFlow)} FROM cash_flows"
        " WHERE market = :market AND book = :book AND at >= :start AND at < :end ORDER BY at, id"
    )
    parameters = {"market": market, "book": book, "start": as_utc(start, "start"), "end": as_utc(end, "end")}
    with db.begin() as connection:
        return records(connection, CashFlow, sql, parameters)


def cash(db: Database, market: str, book: str, *, at: datetime | None = None) -> Decimal:
    """Opening balance and other flows, minus purchases, plus sales, minus fees; up to `at` if given. 0 without any."""
    with db.begin() as connection:
        balance = cash_in(connection, market, book, at=at)
    return balance if balance is not None else Decimal(0)


def cash_in(connection: Connection, market: str, book: str, *, at: datetime | None = None) -> Decimal | None:
    """`cash` in the caller's transaction; None if no flow was ever recorded, so that the balance is not known."""
    until = as_utc(at) if at is not None else "infinity"
    row = connection.execute(text(_BALANCE), {"market": market, "book": book, "at": until}).one()
    if row.flows is None:
        return None
    return Decimal(row.flows + (row.traded if row.traded is not None else 0))
