"""Changing orders: planning, taking over a venue's report, marking. Every change of state leaves an event."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.core.values import Fill, OrderRequest, OrderState, VenueOrder
from quant_pipeline.storage.errors import LedgerConflictError, UnknownRecordError
from quant_pipeline.storage.fills import book_fill, book_report, locked_order, refresh_order
from quant_pipeline.storage.intents import IntentStatus, change_status
from quant_pipeline.storage.sql import as_utc, insert_statement

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

_NOT_OVER = (OrderState.PENDING, OrderState.UNKNOWN, OrderState.ACCEPTED, OrderState.PARTIALLY_FILLED)
_RANK = {state: rank for rank, state in enumerate(_NOT_OVER)}
_OVER = len(_NOT_OVER)
_IN_DOUBT = frozenset({OrderState.PENDING, OrderState.UNKNOWN})


def plan_order(
    db: Database,
    request: OrderRequest,
    intent_id: str,
    attempt: int,
    market: str,
    book: str,
    venue: str,
    at: datetime,
) -> bool:
    """Commit that an order is about to be sent: it is `pending`, its intent `sent`; returns whether that is new.

    The same plan again changes nothing.

    Raises:
        LedgerConflictError: the client id stands for another order, the attempt has another client id, or the intent
            belongs to another book or symbol, or is over.
        UnknownRecordError: there is no such intent.
    """
    owner = {"intent_id": intent_id, "attempt": attempt, "market": market, "book": book, "venue": venue}
    values = owner | _asked(request)
    with db.begin() as connection:
        status = _intent_status(connection, values)
        if _is_planned(connection, values):
            return False
        if status is not IntentStatus.OPEN and status is not IntentStatus.SENT:
            msg = f"intent {intent_id} is {status}; nothing more may be sent for it"
            raise LedgerConflictError(msg)
        times = {"planned_at": as_utc(at), "updated_at": as_utc(at), "state": OrderState.PENDING}
        inserted = values | times
        connection.execute(text(insert_statement("orders", tuple(inserted))), inserted)
        change_status(connection, intent_id, IntentStatus.SENT, at=at)
        _append_event(connection, request.client_id, at)
    return True


def record_order(db: Database, client_id: str, venue_order: VenueOrder, at: datetime) -> OrderState:
    """Take over what the venue says about an order, its fills included; returns the state the ledger has then.

    Reports may come twice or late: fills count once, filled quantity never falls, a state never goes back, except
    that a venue's first report overrules what was only assumed here.

    Raises:
        UnknownRecordError: the order was never planned.
        LedgerConflictError: the report is about another symbol, side or venue id.
    """
    with db.begin() as connection:
        before = locked_order(connection, client_id)
        _check_report(before, venue_order)
        booked = book_report(connection, before, venue_order, at=at)
        state = _next_state(before, venue_order)
        seen = before["venue_updated_at"]
        reported = as_utc(venue_order.updated_at, "updated_at")
        changed = booked or state is not OrderState(before["state"]) or before["venue_id"] is None
        if changed or seen is None or reported > seen:
            connection.execute(
                text(
                    "UPDATE orders SET state = :state, venue_id = :venue_id, submitted_at = :submitted_at,"
                    " venue_updated_at = greatest(venue_updated_at, :reported), updated_at = :at, last_error = ''"
                    " WHERE client_id = :id"
                ),
                {
                    "id": client_id,
                    "state": state,
                    "venue_id": venue_order.venue_id,
                    "submitted_at": as_utc(venue_order.submitted_at, "submitted_at"),
                    "reported": reported,
                    "at": as_utc(at),
                },
            )
        if changed:
            _append_event(connection, client_id, at, venue_status=venue_order.venue_status)
    return state


def mark_order(db: Database, client_id: str, state: OrderState, at: datetime, error: str) -> OrderState:
    """Note what happened to an order without a report of the venue (sent, refused, expired); returns its state then.

    `pending` and `unknown` may follow each other; else a state never goes back: marking an accepted order `unknown`
    keeps it accepted and notes the error.

    Raises:
        UnknownRecordError: the order was never planned.
    """
    with db.begin() as connection:
        before = locked_order(connection, client_id)
        old = OrderState(before["state"])
        new = state if _rank(state) > _rank(old) or {state, old} <= _IN_DOUBT else old
        if new is old and error == before["last_error"]:
            return old
        connection.execute(
            text("UPDATE orders SET state = :state, updated_at = :at, last_error = :error WHERE client_id = :id"),
            {"id": client_id, "state": new, "at": as_utc(at), "error": error},
        )
        _append_event(connection, client_id, at, note=error)
    return new


def apply_fill(db: Database, client_id: str, fill: Fill, *, at: datetime) -> bool:
    """Book one execution of an order; returns whether it was new. The same fill again changes nothing.

    In one transaction: the fill, the order's filled quantity, average price and fee, the position and with it cash.

    Raises:
        UnknownRecordError: there is no such order.
        ValueError: a number is NaN or infinite, or a time has no zone.
    """
    with db.begin() as connection:
        order = locked_order(connection, client_id)
        new = book_fill(connection, order, fill, derived=False, at=at)
        if new:
            refresh_order(connection, order, at=at)
            _append_event(connection, client_id, at)
    return new


def _asked(request: OrderRequest) -> dict[str, Any]:
    return {
        "client_id": request.client_id,
        "symbol": request.symbol,
        "side": request.side,
        "order_type": request.order_type,
        "tif": request.time_in_force,
        "qty": request.qty,
        "notional": request.notional,
        "limit_price": request.limit_price,
    }


def _rank(state: OrderState) -> int:
    return _RANK.get(state, _OVER)


def _next_state(before: Mapping[str, Any], report: VenueOrder) -> OrderState:
    old = OrderState(before["state"])
    if before["venue_id"] is None:
        # Until now nothing but our own assumption: a rejection that the venue does not know of is none.
        return report.state if report.filled_qty >= before["filled_qty"] else old
    if _rank(report.state) != _rank(old):
        return report.state if _rank(report.state) > _rank(old) else old
    seen = before["venue_updated_at"]
    newer = seen is None or report.updated_at >= seen
    return report.state if newer and report.filled_qty >= before["filled_qty"] else old


def _check_report(before: Mapping[str, Any], report: VenueOrder) -> None:
    for name, known, told in (
        ("symbol", before["symbol"], report.symbol),
        ("side", before["side"], report.side),
        ("venue id", before["venue_id"], report.venue_id),
    ):
        if known is not None and known != told:
            msg = f"order {before['client_id']} has {name} {known} in the ledger, the venue reports {told}"
            raise LedgerConflictError(msg)


def _intent_status(connection: Connection, values: Mapping[str, Any]) -> IntentStatus:
    """The status of the order's intent, locked; refused if it is about something else."""
    sql = text("SELECT market, book, symbol, side, status FROM intents WHERE id = :id FOR UPDATE")
    row = connection.execute(sql, {"id": values["intent_id"]}).mappings().first()
    if row is None:
        msg = f"intent {values['intent_id']} is not in the ledger; add it before planning an order for it"
        raise UnknownRecordError(msg)
    different = [name for name in ("market", "book", "symbol", "side") if row[name] != values[name]]
    if different:
        msg = f"order {values['client_id']} does not fit intent {values['intent_id']}: other {', '.join(different)}"
        raise LedgerConflictError(msg)
    return IntentStatus(row["status"])


def _is_planned(connection: Connection, values: Mapping[str, Any]) -> bool:
    sql = text("SELECT * FROM orders WHERE client_id = :client_id OR (intent_id = :intent_id AND attempt = :attempt)")
    row = connection.execute(sql, dict(values)).mappings().first()
    if row is None:
        return False
    different = [name for name, value in values.items() if row[name] != value]
    if different:
        msg = (
            f"order {row['client_id']} (intent {row['intent_id']}, attempt {row['attempt']}) is in the ledger with "
            f"another {', '.join(different)}; a client id is never used for a second order"
        )
        raise LedgerConflictError(msg)
    return True


def _append_event(
    connection: Connection, client_id: str, at: datetime, *, venue_status: str = "", note: str = ""
) -> None:
    connection.execute(
        text(
            "INSERT INTO order_events (client_id, at, state, filled_qty, avg_price, fee, venue_status, note)"
            " SELECT client_id, :at, state, filled_qty, avg_price, fee, :venue_status, :note"
            " FROM orders WHERE client_id = :id"
        ),
        {"id": client_id, "at": as_utc(at), "venue_status": venue_status, "note": note},
    )
