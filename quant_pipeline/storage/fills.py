"""Fills: executions applied exactly once to order, position and cash, in one transaction. Reading them is here too."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.core.values import Fill, OrderState, Side, VenueOrder
from quant_pipeline.storage.cash import CashFlow, add_cash_flow
from quant_pipeline.storage.errors import UnknownRecordError
from quant_pipeline.storage.positions import after_fill, locked_holding, write_holding
from quant_pipeline.storage.sql import as_utc, finite, insert_statement, select_list, values_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

_DIGITS = 80
_PRICE_PLACES = Decimal("1e-12")
FEE_CORRECTION = "fee_correction"
"""Kind of the cash flow that books an order's fee as far as its fills did not carry it."""


@dataclass(frozen=True, slots=True)
class LedgerFill:
    """One execution as it was booked. `derived`: the difference of two totals, because the venue gave no executions."""

    client_id: str
    fill_id: str
    market: str
    book: str
    symbol: str
    side: Side
    qty: Decimal
    price: Decimal
    fee: Decimal
    at: datetime
    derived: bool
    recorded_at: datetime


@dataclass(frozen=True, slots=True)
class _Totals:
    """What the fills of one order add up to; `fee` includes corrections."""

    qty: Decimal
    value: Decimal
    fee: Decimal
    derived: bool


def locked_order(connection: Connection, client_id: str) -> Mapping[str, Any]:
    """The order's row, locked until the end of the caller's transaction."""
    row = connection.execute(text("SELECT * FROM orders WHERE client_id = :id FOR UPDATE"), {"id": client_id})
    found = row.mappings().first()
    if found is None:
        msg = f"order {client_id} is not in the ledger; it must be planned before anything is recorded about it"
        raise UnknownRecordError(msg)
    return {str(name): value for name, value in found.items()}


def book_fill(connection: Connection, order: Mapping[str, Any], fill: Fill, *, derived: bool, at: datetime) -> bool:
    """Insert a fill and move the position; the order must be locked. Returns False for a fill that is there already."""
    side = Side(order["side"])
    booked = LedgerFill(
        client_id=order["client_id"],
        fill_id=fill.fill_id,
        market=order["market"],
        book=order["book"],
        symbol=order["symbol"],
        side=side,
        qty=finite(fill.qty, "qty"),
        price=finite(fill.price, "price"),
        fee=finite(fill.fee, "fee"),
        at=fill.at,
        derived=derived,
        recorded_at=at,
    )
    values = values_of(booked)
    sql = insert_statement("fills", tuple(values), conflict="DO NOTHING", returning="fill_id")
    if connection.execute(text(sql), values).first() is None:
        return False
    holding = locked_holding(connection, booked.market, booked.book, booked.symbol, fill.at)
    write_holding(connection, after_fill(holding, side, fill.qty, fill.price, fill.fee, fill.at))
    return True


def book_report(connection: Connection, order: Mapping[str, Any], report: VenueOrder, *, at: datetime) -> bool:
    """Book what a venue's report adds to the fills of a locked order; returns whether anything was added.

    Executions in the report are booked one by one; totals without them wait for the report that has them. Only what a
    terminal report's totals have beyond its executions is booked as a derived fill, because nobody will ask again;
    from then on only totals count for that order, executions that arrive later are in them already.
    """
    before = _totals(connection, order["client_id"])
    added = False
    if not before.derived:
        for fill in report.fills:
            added |= book_fill(connection, order, fill, derived=False, at=at)
    booked = _totals(connection, order["client_id"]) if added else before
    if report.state.is_terminal and report.filled_qty > booked.qty:
        added |= book_fill(connection, order, _difference(report, booked), derived=True, at=at)
        booked = _totals(connection, order["client_id"])
    seen = order["venue_updated_at"]
    # A report that lags behind what is booked also has an old fee.
    fresh = report.filled_qty == booked.qty and (seen is None or report.updated_at >= seen)
    if fresh and report.fee != booked.fee:
        _correct_fee(connection, order, report, booked, at)
        added = True
    if added:
        refresh_order(connection, order, at=at)
    return added


def refresh_order(connection: Connection, order: Mapping[str, Any], *, at: datetime) -> None:
    """Write the totals of an order's fills into its row; the order must be locked."""
    totals = _totals(connection, order["client_id"])
    with localcontext() as context:
        context.prec = _DIGITS
        average = (totals.value / totals.qty).quantize(_PRICE_PLACES) if totals.qty else None
    connection.execute(
        text(
            "UPDATE orders SET filled_qty = :qty, avg_price = :average, fee = :fee, updated_at = :at,"
            " state = CASE WHEN state IN ('pending', 'unknown', 'accepted') AND :qty > 0 THEN :partly ELSE state END"
            " WHERE client_id = :id"
        ),
        {
            "id": order["client_id"],
            "qty": totals.qty,
            "average": average,
            "fee": totals.fee,
            "at": as_utc(at),
            "partly": OrderState.PARTIALLY_FILLED,
        },
    )


def fills_of(db: Database, client_id: str) -> tuple[LedgerFill, ...]:
    """The fills of one order, in the order in which they happened."""
    return _many(db, "client_id = :id", {"id": client_id})


def fills_between(db: Database, market: str, book: str, start: datetime, end: datetime) -> tuple[LedgerFill, ...]:
    """The fills of a book with `start <= at < end`, in the order in which they happened."""
    where = "market = :market AND book = :book AND at >= :start AND at < :end"
    parameters = {"market": market, "book": book, "start": as_utc(start, "start"), "end": as_utc(end, "end")}
    return _many(db, where, parameters)


def _many(db: Database, where: str, parameters: dict[str, Any]) -> tuple[LedgerFill, ...]:
    sql = text(f"SELECT {select_list(LedgerFill)} FROM fills WHERE {where} ORDER BY at, client_id, fill_id")
    with db.begin() as connection:
        rows = connection.execute(sql, parameters).mappings().all()
    return tuple(LedgerFill(**(dict(row) | {"side": Side(row["side"])})) for row in rows)


def _totals(connection: Connection, client_id: str) -> _Totals:
    sql = text(
        "SELECT coalesce(sum(qty), 0), coalesce(sum(qty * price), 0), coalesce(sum(fee), 0) - (SELECT"
        " coalesce(sum(amount), 0) FROM cash_flows WHERE client_id = :id),"
        " coalesce(bool_or(derived), false) FROM fills WHERE client_id = :id"
    )
    return _Totals(*connection.execute(sql, {"id": client_id}).one())


def _difference(report: VenueOrder, booked: _Totals) -> Fill:
    """The execution that explains the step from what is booked to the report's totals."""
    if report.avg_price is None:
        msg = f"order {report.client_id} ended with {report.filled_qty} filled and neither executions nor a price"
        raise ValueError(msg)
    with localcontext() as context:
        context.prec = _DIGITS
        qty = report.filled_qty - booked.qty
        value = report.filled_qty * report.avg_price - booked.value
        # Rounded averages can make the last step come out below zero by a hair.
        price = max((value / qty).quantize(_PRICE_PLACES), Decimal(0))
    # Named by the total reached: the same report gives the same fill again.
    return Fill(f"total:{report.filled_qty.normalize():f}", qty, price, report.fee - booked.fee, report.updated_at)


def _correct_fee(
    connection: Connection, order: Mapping[str, Any], report: VenueOrder, booked: _Totals, at: datetime
) -> None:
    """Book the difference between the fee that the venue reports and the one booked, as a cash flow of the order."""
    difference = report.fee - booked.fee
    client_id = order["client_id"]
    number = connection.execute(
        text("SELECT count(*) FROM cash_flows WHERE client_id = :id"), {"id": client_id}
    ).scalar_one()
    flow = CashFlow(order["market"], order["book"], at, -difference, FEE_CORRECTION, f"{client_id}/{number + 1}")
    add_cash_flow(connection, flow, client_id=client_id)
    holding = locked_holding(connection, order["market"], order["book"], order["symbol"], at)
    write_holding(connection, replace(holding, fees=holding.fees + difference))
