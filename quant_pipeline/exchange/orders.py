"""The neutral values of the exchange: what is asked, the order that stands, its fills. No balances, no wire formats."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from enum import StrEnum

from quant_pipeline.core.values import Fill, OrderState, Side


class Kind(StrEnum):
    """How an order takes its price."""

    MARKET = "market"
    LIMIT = "limit"


class Force(StrEnum):
    """How long an order stands. `rest` is Upbit's unnamed default: until cancelled."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"
    POST_ONLY = "post_only"
    REST = "rest"


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a client asks, its form checked by the dialect. Exactly one of `qty` and `funds` is set.

    `funds` is an amount of quote currency to spend before fees. `wire` keeps the words of the dialect to answer with.
    """

    client_id: str
    symbol: str
    side: Side
    kind: Kind
    force: Force
    qty: Decimal | None = None
    funds: Decimal | None = None
    limit_price: Decimal | None = None
    wire: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SimOrder:
    """An order as it stands; money is in quote currency.

    `reserved` is the cash and `reserved_qty` the holding that it binds, `hold_price` what a unit is reserved at.
    `looked_until` (epoch seconds) is the opening time of the first bar that has not been matched yet.
    """

    seq: int
    venue_id: str
    ticket: Ticket
    state: OrderState
    submitted_at: datetime
    updated_at: datetime
    looked_until: int
    expires_at: datetime | None
    hold_price: Decimal
    reserved: Decimal = Decimal(0)
    reserved_qty: Decimal = Decimal(0)
    filled_qty: Decimal = Decimal(0)
    filled_funds: Decimal = Decimal(0)
    fee: Decimal = Decimal(0)
    fills: tuple[Fill, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether it can still be filled."""
        return not self.state.is_terminal

    @property
    def avg_price(self) -> Decimal | None:
        """Mean price of what was filled, to 12 decimals; None while nothing is."""
        return None if not self.filled_qty else round(self.filled_funds / self.filled_qty, 12)

    @property
    def remaining_qty(self) -> Decimal | None:
        """Quantity still wanted; None for an order by funds."""
        return None if self.ticket.qty is None else self.ticket.qty - self.filled_qty


class RefusalReason(StrEnum):
    """Why a well-formed order is not taken; each dialect has its own words for it."""

    DUPLICATE_ID = "duplicate_id"
    CASH = "cash"
    HOLDING = "holding"
    NO_PRICE = "no_price"
    WASH_TRADE = "wash_trade"


class RefusedError(Exception):
    """The engine does not take an order. `wanted` and `available` are the amounts compared, where there are any."""

    def __init__(
        self,
        reason: RefusalReason,
        wanted: Decimal = Decimal(0),
        available: Decimal = Decimal(0),
        other_id: str = "",
    ) -> None:
        """Name the reason, the amounts compared, and the venue id of another order that stands in the way."""
        super().__init__(f"{reason.value}: wanted {wanted}, available {available}")
        self.reason = reason
        self.wanted = wanted
        self.available = available
        self.other_id = other_id
