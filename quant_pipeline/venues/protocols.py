"""What the desk asks of an exchange: two protocols. Clients live in `alpaca/` and `upbit/`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal, Protocol

import pandas as pd

from quant_pipeline.core.values import Account, OrderRequest, Position, Quote, VenueClock, VenueOrder


class MarketData(Protocol):
    """Prices. Reads may be repeated by the client when a repetition can help."""

    def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        """All bars whose start lies in [start, end), as the exchange has them now.

        A bar that is still forming is returned as it stands; an interval without trades has no row.

        Args:
            symbols: symbols of the market, e.g. `AAPL` or `KRW-BTC`.
            interval: `1m`, `5m`, `15m`, `1h`, `4h` or `1d`.
            start: timezone-aware.
            end: timezone-aware, exclusive.

        Returns:
            A bar frame (`core.values.BAR_COLUMNS`): sorted by (symbol, ts), without duplicates, possibly empty.

        Raises:
            BadRequest: the interval is unknown or a time is naive.
            UnknownSymbol: the exchange says that there is no such symbol (Alpaca answers with no rows instead).
            VenueError: any other failure; no partial result is returned.
        """
        ...

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        """The freshest price per symbol. A symbol that the exchange does not know has no entry."""
        ...

    def close(self) -> None:
        """Close the connections of this process; a later call would open new ones."""
        ...


@dataclass(frozen=True, slots=True)
class AnnouncedAction:
    """A split (`ratio` new shares for one old) or a cash dividend (`amount` a share in `currency`), as announced."""

    symbol: str
    ex_date: date
    kind: Literal["split", "dividend"]
    ratio: Decimal | None = None
    amount: Decimal | None = None
    currency: str | None = None


class CorporateActionData(Protocol):
    """What a venue for shares announces of splits and dividends."""

    def actions(self, symbols: Sequence[str], start: date, end: date) -> tuple[AnnouncedAction, ...]:
        """Actions with `start <= ex_date <= end` by (symbol, date, kind), one for each of these.

        Raises:
            VenueError: they could not be read; no partial result is returned.
        """
        ...

    def close(self) -> None:
        """Close the connections of this process; a later call would open new ones."""
        ...


class Broker(Protocol):
    """One trading account.

    Every `VenueOrder` keeps this promise: when its state is terminal, its `fills` add up to its `filled_qty`.
    While executions are not all known, the state stays `accepted` or `partially_filled`, so that it is asked for again.
    """

    def account(self) -> Account:
        """Cash of the account."""
        ...

    def positions(self) -> tuple[Position, ...]:
        """All holdings with a quantity other than zero, sorted by symbol."""
        ...

    def submit(self, request: OrderRequest) -> VenueOrder:
        """Send one order, exactly once, never repeated by the client.

        Raises:
            BadRequest: the request breaks a rule (lot, tick, minimum, type); nothing was sent.
            OrderRejected: the exchange refused it; no order exists from this request.
            UnknownSymbol: the same, for the reason that the symbol is unknown.
            DuplicateOrder: the exchange has an order with this client id: look it up.
            RateLimited: refused for coming too soon; not carried out.
            AuthenticationFailed: keys refused, or the account is not the one named; not carried out.
            VenueUnavailable: the account could not be confirmed first; nothing was sent.
            OrderInDoubt: anything else; the order may exist.
        """
        ...

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        """The order with our id as it stands now, with all its fills.

        None only when the exchange itself says that there is no such order.
        """
        ...

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """All orders that may still execute, ours and others, oldest first; `fills` is empty (use `find`)."""
        ...

    def cancel(self, client_id: str, symbol: str) -> None:
        """Ask for the order to be cancelled. The result is seen by `find`; a finished order is left as it is.

        Raises:
            UnknownOrder: the exchange has no order with this id.
        """
        ...

    def clock(self) -> VenueClock:
        """The exchange's own time and session state."""
        ...

    def close(self) -> None:
        """Close the connections of this process; a later call would open new ones."""
        ...
