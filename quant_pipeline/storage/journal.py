"""The ledger as the journal that the order protocol writes to; each call commits on its own."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

from quant_pipeline.core.values import OrderRequest, OrderState, VenueOrder
from quant_pipeline.storage.errors import LedgerConflictError
from quant_pipeline.storage.order_changes import mark_order, plan_order, record_order
from quant_pipeline.storage.orders import open_orders, order

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

_IN_DOUBT = frozenset({OrderState.PENDING, OrderState.UNKNOWN})


class SqlJournal:
    """The orders of one market's book at one venue. Times are aware and come from the caller."""

    def __init__(self, db: Database, market: str, book: str, venue: str) -> None:
        """Store whose orders these are."""
        self.db = db
        self.market = market
        self.book = book
        self.venue = venue

    def plan(self, request: OrderRequest, intent_id: str, attempt: int, at: datetime) -> None:
        """Commit an order before it is sent (`order_changes.plan_order`).

        Raises:
            LedgerConflictError: it is planned already, so another process is about to send it.
        """
        if not plan_order(self.db, request, intent_id, attempt, self.market, self.book, self.venue, at):
            msg = f"order {request.client_id} is planned already; look it up instead of sending it"
            raise LedgerConflictError(msg)

    def record(self, order: VenueOrder, at: datetime) -> None:
        """Take over a venue's report with its fills (`order_changes.record_order`)."""
        record_order(self.db, order.client_id, order, at)

    def mark(self, client_id: str, state: OrderState, at: datetime, error: str = "") -> None:
        """Note a state that no report stands for (`order_changes.mark_order`)."""
        mark_order(self.db, client_id, state, at, error)

    def doubtful(self) -> tuple[OrderRequest, ...]:
        """Orders of which it is not known whether the venue has them, oldest first."""
        return tuple(one.request() for one in open_orders(self.db, self.market, self.book) if one.state in _IN_DOUBT)

    def open(self) -> tuple[tuple[str, str], ...]:
        """(client id, symbol) of the orders that stand at the venue, oldest first."""
        found = open_orders(self.db, self.market, self.book)
        return tuple((one.client_id, one.symbol) for one in found if one.state not in _IN_DOUBT)

    def state(self, client_id: str) -> OrderState | None:
        """The state of an order, or None if it was never planned."""
        found = order(self.db, client_id)
        return found.state if found is not None else None
