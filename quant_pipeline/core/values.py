"""The vocabulary that every layer shares: sides, modes, reasons, orders, fills, quotes, accounts.

Only frozen values live here; what is done with them belongs to the module that does it.
All times are timezone-aware UTC. Money, prices and quantities that leave the process are `Decimal`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum, StrEnum

BAR_COLUMNS = ("symbol", "ts", "open", "high", "low", "close", "volume")
"""Columns of a *bar frame*: a pandas frame sorted by (symbol, ts), `ts` the UTC START of the bar, prices and volume float64."""


class Mode(StrEnum):
    """How a market trades: against the simulated exchange, a broker's paper account, or with real money."""

    SIMULATED = "simulated"
    PAPER = "paper"
    LIVE = "live"


class Book(StrEnum):
    """Who holds the money: the kernel's own simulation, an account without real money, or a live account."""

    SHADOW = "shadow"
    PAPER = "paper"
    LIVE = "live"


class Side(StrEnum):
    """The side of an order."""

    BUY = "buy"
    SELL = "sell"


class Vote(IntEnum):
    """The outcome of the weighted vote, as the number that the kernel uses."""

    SELL = -1
    HOLD = 0
    BUY = 1


class Origin(StrEnum):
    """Why a decision row was written."""

    LIVE = "live"
    BACKFILL = "backfill"
    RESTATE = "restate"


class Action(IntEnum):
    """What a decision does, as the number that the kernel uses."""

    SELL = -1
    NONE = 0
    BUY = 1


class Reason(IntEnum):
    """Why a decision came out as it did. Numbers are what the kernel writes; names (lower case) are what is stored.

    1-9 no action by the vote or the data, 10-19 vetoed by the AI, 20-39 vetoed by risk or the book, 40-59 an action.
    """

    HOLD_VOTE = 1
    BAD_DATA = 2
    NOT_OPEN = 3
    NO_HISTORY = 4
    NO_BAR = 5

    NO_MODEL = 10
    TOO_FEW_MEMBERS = 11
    AI_DISAGREES = 12
    AI_UNSURE = 13

    HALTED = 20
    MAX_POSITIONS = 21
    MAX_EXPOSURE = 22
    MAX_POSITION_SIZE = 23
    MAX_DAILY_TRADES = 24
    BELOW_MINIMUM = 25
    INSUFFICIENT_CASH = 26
    NOTHING_TO_SELL = 27
    PENDING_ORDER = 28
    PAUSED = 29
    STALE_QUOTE = 30
    EXPIRED = 31

    BUY_SIGNAL = 40
    SELL_SIGNAL = 41
    STOP_LOSS = 42
    TAKE_PROFIT = 43
    REBALANCE_OUT = 44
    REBALANCE_IN = 45

    @property
    def code(self) -> str:
        """The stored name, e.g. `ai_disagrees`."""
        return self.name.lower()

    @property
    def is_ai_veto(self) -> bool:
        """Whether the AI stopped a BUY or SELL of the vote."""
        return 10 <= self <= 19

    @property
    def is_risk_veto(self) -> bool:
        """Whether risk limits or the state of the book stopped a BUY or SELL that vote and AI wanted."""
        return 20 <= self <= 39


class OrderType(StrEnum):
    """Order types used by the desk; each venue maps them to its own words."""

    MARKET = "market"
    LIMIT = "limit"
    BEST = "best"


class TimeInForce(StrEnum):
    """How long an order stands."""

    DAY = "day"
    GTC = "gtc"
    IOC = "ioc"
    FOK = "fok"


class OrderState(StrEnum):
    """The life of an order in our ledger.

    `pending` is committed and not yet sent; `unknown` was sent and the answer is in doubt;
    `accepted` stands at the venue; the rest are terminal except `partially_filled`.
    """

    PENDING = "pending"
    UNKNOWN = "unknown"
    ACCEPTED = "accepted"
    PARTIALLY_FILLED = "partially_filled"
    FILLED = "filled"
    CANCELED = "canceled"
    EXPIRED = "expired"
    REJECTED = "rejected"

    @property
    def is_terminal(self) -> bool:
        """Whether the venue will not change this order any more."""
        return self in _TERMINAL


_TERMINAL = frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED})


@dataclass(frozen=True, slots=True)
class OrderRequest:
    """What is asked of a venue. Exactly one of `qty` and `notional` (in quote currency) is set.

    `client_id` is our idempotency key: derived from the decision, never reused for another request.
    """

    client_id: str
    symbol: str
    side: Side
    order_type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce | None = None
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None

    def __post_init__(self) -> None:
        """Refuse a request that a venue could read in two ways."""
        if (self.qty is None) == (self.notional is None):
            msg = f"order {self.client_id}: exactly one of qty ({self.qty}) and notional ({self.notional}) must be set"
            raise ValueError(msg)
        amount = self.qty if self.qty is not None else self.notional
        if amount is None or not amount.is_finite() or amount <= 0:
            msg = f"order {self.client_id}: amount {amount} must be a positive number"
            raise ValueError(msg)
        if (self.order_type is OrderType.LIMIT) != (self.limit_price is not None):
            msg = f"order {self.client_id}: limit_price {self.limit_price} does not fit order type {self.order_type}"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Fill:
    """One execution as the venue reported it. `fill_id` is unique per venue account; `fee` is in quote currency."""

    fill_id: str
    qty: Decimal
    price: Decimal
    fee: Decimal
    at: datetime


@dataclass(frozen=True, slots=True)
class VenueOrder:
    """An order as the venue sees it now."""

    client_id: str
    venue_id: str
    symbol: str
    side: Side
    state: OrderState
    filled_qty: Decimal
    avg_price: Decimal | None
    fee: Decimal
    submitted_at: datetime
    updated_at: datetime
    fills: tuple[Fill, ...] = ()
    venue_status: str = ""


@dataclass(frozen=True, slots=True)
class Position:
    """A holding as the venue reports it; `locked` is the part bound in open orders."""

    symbol: str
    qty: Decimal
    avg_price: Decimal
    locked: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Account:
    """Cash of one venue account. `cash` includes `locked` (bound in open buy orders)."""

    account_id: str
    currency: str
    cash: Decimal
    locked: Decimal = Decimal(0)


@dataclass(frozen=True, slots=True)
class Quote:
    """The freshest price of a symbol: last trade, and best bid and ask where the venue gives them.

    `at` is the newest of what is known; `traded_at` is when the trade was whose price it is, where that is told.
    """

    symbol: str
    price: Decimal
    at: datetime
    bid: Decimal | None = None
    ask: Decimal | None = None
    traded_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class VenueClock:
    """The venue's own time and session state."""

    now: datetime
    is_open: bool
    next_open: datetime | None
    next_close: datetime | None


@dataclass(frozen=True, slots=True)
class SessionHours:
    """One trading session: its key (a UTC date) and its regular opening and closing times (UTC)."""

    session: date
    opens_at: datetime
    closes_at: datetime
