"""The state of a book at one moment: cash, positions, what is still pending, trades of the day."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from quant_pipeline.core.values import Side
from quant_pipeline.storage.cash import cash_in
from quant_pipeline.storage.intents import Leg
from quant_pipeline.storage.positions import LedgerPosition, positions_in
from quant_pipeline.storage.sql import as_utc

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from quant_pipeline.storage.database import Database

# What is left of each order that is not over, and each intent that has no order yet.
_PENDING = """
SELECT o.intent_id, o.client_id, o.symbol, o.side, i.leg, o.state AS status,
       o.qty - o.filled_qty AS qty,
       o.notional - o.filled_qty * coalesce(o.avg_price, 0) AS notional,
       o.limit_price, o.planned_at AS since
FROM orders o JOIN intents i ON i.id = o.intent_id
WHERE o.market = :market AND o.book = :book AND o.state IN ('pending', 'unknown', 'accepted', 'partially_filled')
UNION ALL
SELECT i.id, NULL, i.symbol, i.side, i.leg, i.status, i.qty, i.notional, NULL, i.created_at
FROM intents i WHERE i.market = :market AND i.book = :book AND i.status = 'open'
ORDER BY since, intent_id
"""

_TRADES = """
SELECT count(*) FROM orders
WHERE market = :market AND book = :book AND planned_at >= :since AND NOT (state = 'rejected' AND filled_qty = 0)
"""


@dataclass(frozen=True, slots=True)
class Pending:
    """What is still to come of an open order, or of an open intent (`client_id` None then).

    `qty` or `notional` is what remains unfilled; `status` is the order's state, or the intent's.
    """

    intent_id: str
    client_id: str | None
    symbol: str
    side: Side
    leg: Leg
    status: str
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    since: datetime


@dataclass(frozen=True, slots=True)
class BookState:
    """A book at one moment. `cash` is None until an opening balance was recorded."""

    cash: Decimal | None
    positions: tuple[LedgerPosition, ...]
    pending: tuple[Pending, ...]


def book_state(db: Database, market: str, book: str) -> BookState:
    """Cash, positions (by symbol) and pending intents and orders (oldest first), all of the same moment.

    Open intents count until they are expired by `intents.expire_intents`.
    """
    with db.snapshot() as connection:
        return BookState(
            cash=cash_in(connection, market, book),
            positions=positions_in(connection, market, book),
            pending=_pending(connection, market, book),
        )


def trades_today(db: Database, market: str, book: str, since: datetime) -> int:
    """Orders planned since `since` (aware); one that was rejected without a fill does not count."""
    with db.begin() as connection:
        parameters = {"market": market, "book": book, "since": as_utc(since, "since")}
        count: int = connection.execute(text(_TRADES), parameters).scalar_one()
    return count


def _pending(connection: Connection, market: str, book: str) -> tuple[Pending, ...]:
    rows = connection.execute(text(_PENDING), {"market": market, "book": book}).mappings()
    return tuple(_one(row) for row in rows)


def _one(row: Mapping[Any, Any]) -> Pending:
    return Pending(**(dict(row) | {"side": Side(row["side"]), "leg": Leg(row["leg"])}))
