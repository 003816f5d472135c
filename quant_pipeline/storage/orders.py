"""Orders as the ledger knows them, and reading them. Planning and recording them is in `order_changes`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.core.values import OrderRequest, OrderState, OrderType, Side, TimeInForce
from quant_pipeline.storage.sql import as_utc, select_list

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class LedgerOrder:
    """An order as the ledger knows it. Amounts are Decimal; times are UTC.

    `planned_at` is when it was committed here, `submitted_at` when the venue took it, `updated_at` the last change
    here, `venue_updated_at` the venue's own time of its newest report.
    """

    client_id: str
    intent_id: str
    attempt: int
    market: str
    book: str
    venue: str
    venue_id: str | None
    symbol: str
    side: Side
    order_type: OrderType
    tif: TimeInForce | None
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    state: OrderState
    filled_qty: Decimal
    avg_price: Decimal | None
    fee: Decimal
    planned_at: datetime
    submitted_at: datetime | None
    updated_at: datetime
    venue_updated_at: datetime | None
    last_error: str

    def request(self) -> OrderRequest:
        """What is asked of the venue, exactly as it was planned."""
        return OrderRequest(
            client_id=self.client_id,
            symbol=self.symbol,
            side=self.side,
            order_type=self.order_type,
            time_in_force=self.tif,
            qty=self.qty,
            notional=self.notional,
            limit_price=self.limit_price,
        )


@dataclass(frozen=True, slots=True)
class OrderEvent:
    """One change of an order: its state and totals after it, what the venue called it, and a note or error."""

    client_id: str
    at: datetime
    state: OrderState
    filled_qty: Decimal
    avg_price: Decimal | None
    fee: Decimal
    venue_status: str
    note: str


_SELECT = f"SELECT {select_list(LedgerOrder)} FROM orders"


def order(db: Database, client_id: str) -> LedgerOrder | None:
    """The order with that client id, or None."""
    found = _many(db, "client_id = :id", {"id": client_id})
    return found[0] if found else None


def open_orders(db: Database, market: str, book: str) -> tuple[LedgerOrder, ...]:
    """Orders that are not over (pending, unknown, accepted, partially filled), oldest first."""
    where = "market = :market AND book = :book AND state IN ('pending', 'unknown', 'accepted', 'partially_filled')"
    return _many(db, where, {"market": market, "book": book})


def orders_between(db: Database, market: str, book: str, start: datetime, end: datetime) -> tuple[LedgerOrder, ...]:
    """Orders planned at `start <= t < end`, oldest first."""
    where = "market = :market AND book = :book AND planned_at >= :start AND planned_at < :end"
    parameters = {"market": market, "book": book, "start": as_utc(start, "start"), "end": as_utc(end, "end")}
    return _many(db, where, parameters)


def orders_of_intent(db: Database, intent_id: str) -> tuple[LedgerOrder, ...]:
    """The attempts made for an intent, in order."""
    return _many(db, "intent_id = :id", {"id": intent_id})


def order_events(db: Database, client_id: str) -> tuple[OrderEvent, ...]:
    """Everything that happened to an order, oldest first."""
    sql = text(f"SELECT {select_list(OrderEvent)} FROM order_events WHERE client_id = :id ORDER BY id")
    with db.begin() as connection:
        rows = connection.execute(sql, {"id": client_id}).mappings().all()
    return tuple(OrderEvent(**(dict(row) | {"state": OrderState(row["state"])})) for row in rows)


def _many(db: Database, where: str, parameters: Mapping[str, Any]) -> tuple[LedgerOrder, ...]:
    with db.begin() as connection:
        rows = connection.execute(text(f"{_SELECT} WHERE {where} ORDER BY planned_at, attempt, client_id"), parameters)
        return tuple(_order(row) for row in rows.mappings())


def _order(row: Mapping[Any, Any]) -> LedgerOrder:
    values = dict(row)
    values |= {
        "side": Side(row["side"]),
        "order_type": OrderType(row["order_type"]),
        "tif": TimeInForce(row["tif"]) if row["tif"] is not None else None,
        "state": OrderState(row["state"]),
    }
    return LedgerOrder(**values)
