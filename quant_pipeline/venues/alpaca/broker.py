"""Orders and account at Alpaca. When to send and what to do about a doubt belongs to `order_protocol.py`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import requests

from quant_pipeline.core.values import (
    Account,
    Fill,
    OrderRequest,
    OrderType,
    Position,
    TimeInForce,
    VenueClock,
    VenueOrder,
)
from quant_pipeline.markets.market import US_EQUITY
from quant_pipeline.venues.alpaca import parsing
from quant_pipeline.venues.alpaca.clients import BUDGETS, AlpacaAccess, close_client, trading_client
from quant_pipeline.venues.alpaca.errors import NOT_FOUND, facts, read_error, submit_error
from quant_pipeline.venues.errors import (
    BadRequest,
    OrderInDoubt,
    UnknownOrder,
    VenueUnavailable,
    WrongAccount,
    cause_text,
)
from quant_pipeline.venues.json_values import Json, listing, mapping, number, text, when
from quant_pipeline.venues.limits import ORDER_WAIT, InProcessLimiter, RateLimiter, ReadRetries
from quant_pipeline.venues.order_checks import check_order
from quant_pipeline.venues.per_thread import PerThread
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient
    from alpaca.trading.requests import OrderRequest as AlpacaOrder

_LONGEST_ID = 128
_ORDERS_PAGE = 500
_FILLS_PAGE = 100
_UNREADABLE = (AttributeError, KeyError, TypeError, ValueError)


class AlpacaBroker:
    """`venues.protocols.Broker` over one Alpaca account."""

    def __init__(
        self,
        *,
        base_url: str,
        key: str,
        secret: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        live_account: str | None = None,
        limiter: RateLimiter | None = None,
        retries: ReadRetries | None = None,
    ) -> None:
        """Check everything; nothing is connected yet.

        Args:
            base_url: of the trading host, without a path. The live host needs `live_account`.
            key: sent as it is.
            secret: sent as it is.
            timeout: seconds (connect, read).
            live_account: account number; when given, the first order is sent only after Alpaca confirmed it.
            limiter: shared budget; without one, a limiter of this object.
            retries: of reads. Orders are never repeated.

        Raises:
            ValueError: an argument cannot be right.
        """
        access = AlpacaAccess(base_url, key, secret, timeout, live_account)
        limiter = limiter or InProcessLimiter(BUDGETS, max_wait=ORDER_WAIT)
        retries = retries or ReadRetries()
        self._client = PerThread(lambda: trading_client(access, limiter, retries), close_client)
        self._live_account = live_account
        self._confirmed = live_account is None

    def account(self) -> Account:
        """See `Broker.account`."""
        return self._ask("account", lambda client: parsing.account(mapping(client.get_account())))

    def positions(self) -> tuple[Position, ...]:
        """See `Broker.positions`."""
        held = self._ask(
            "positions",
            lambda client: [parsing.position(one) for one in listing(client.get_all_positions())],
        )
        return tuple(sorted((one for one in held if one.qty != 0), key=lambda one: one.symbol))

    def clock(self) -> VenueClock:
        """See `Broker.clock`."""
        return self._ask("clock", lambda client: parsing.clock(mapping(client.get_clock())))

    def submit(self, request: OrderRequest) -> VenueOrder:
        """See `Broker.submit`. One POST, never repeated."""
        from alpaca.common.exceptions import APIError

        check_order(US_EQUITY, request)
        body = _order_body(request)
        self._confirm_account()
        try:
            order = parsing.order(mapping(self._client.get().submit_order(body)))
        except APIError as error:
            raise submit_error(error, request) from error
        except (requests.RequestException, *_UNREADABLE) as error:
            msg = f"order {request.client_id}: {cause_text(error)}"
            raise OrderInDoubt(msg) from error
        if order.client_id != request.client_id:
            msg = f"order {request.client_id}: the answer speaks of {order.client_id}"
            raise OrderInDoubt(msg)
        return order

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        """See `Broker.find`."""
        first = self._find_raw(client_id)
        if first is None:
            return None
        return self._ask(f"order {client_id} of {symbol}", lambda client: self._with_fills(client, first))

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """See `Broker.open_orders`."""
        return self._ask("open orders", _open_orders)

    def cancel(self, client_id: str, symbol: str) -> None:
        """See `Broker.cancel`."""
        from alpaca.common.exceptions import APIError

        found = self._find_raw(client_id)
        if found is None:
            raise UnknownOrder(client_id)

        def ask(client: TradingClient) -> None:
            try:
                client.cancel_order_by_id(text(found["id"]))
            except APIError as error:
                if error.status_code != 422:  # 422: finished meanwhile, nothing left to cancel
                    raise

        self._ask(f"cancel of {client_id} of {symbol}", ask)

    def close(self) -> None:
        """See `Broker.close`."""
        self._client.close()

    def _confirm_account(self) -> None:
        """Before the first order, and until it succeeded once: do the keys belong to the account that was named?"""
        if self._confirmed:
            return
        named = self.account().account_id
        if named != self._live_account:
            msg = f"the keys belong to account {named}, the settings name {self._live_account}: no order was sent"
            raise WrongAccount(msg)
        self._confirmed = True

    def _find_raw(self, client_id: str) -> Json | None:
        from alpaca.common.exceptions import APIError

        def ask(client: TradingClient) -> Json | None:
            try:
                return mapping(client.get_order_by_client_id(client_id))
            except APIError as error:
                if facts(error)[:2] == (404, NOT_FOUND):
                    return None
                raise

        return self._ask(f"order {client_id}", ask)

    def _with_fills(self, client: TradingClient, first: Json) -> VenueOrder:
        """The order with its executions, together with the orders that replaced it (someone changed it by hand)."""
        chain = [first]
        while chain[-1].get("replaced_by") is not None and len(chain) < 20:
            chain.append(mapping(client.get_order_by_id(text(chain[-1]["replaced_by"]))))
        filled = sum((number(one.get("filled_qty") or 0) for one in chain), Decimal(0))
        fills: tuple[Fill, ...] = ()
        if filled > 0:
            since = when(first.get("submitted_at") or first["created_at"])
            fills = _fills(client, {text(one["id"]) for one in chain}, since)
        merged = {
            **chain[-1],
            "id": first["id"],
            "client_order_id": first["client_order_id"],
            "filled_qty": str(filled),
        }
        if len(chain) > 1 and fills:
            merged["filled_avg_price"] = str(sum(one.qty * one.price for one in fills) / sum(one.qty for one in fills))
        return parsing.order(merged, fills)

    def _ask[T](self, asked: str, call: Callable[[TradingClient], T]) -> T:
        from alpaca.common.exceptions import APIError

        try:
            return call(self._client.get())
        except APIError as error:
            raise read_error(error, asked) from error
        except requests.RequestException as error:
            msg = f"{asked}: no answer from Alpaca: {cause_text(error)}"
            raise VenueUnavailable(msg) from error
        except _UNREADABLE as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error


def _order_body(request: OrderRequest) -> AlpacaOrder:
    """alpaca-py's request. It sends numbers as JSON floats, so a number that a float cannot hold is refused."""
    from alpaca.trading.enums import OrderSide
    from alpaca.trading.enums import TimeInForce as AlpacaTimeInForce
    from alpaca.trading.requests import LimitOrderRequest, MarketOrderRequest

    _check_terms(request)
    terms: dict[str, object] = {
        "symbol": request.symbol,
        "side": OrderSide(request.side.value),
        "time_in_force": AlpacaTimeInForce((request.time_in_force or TimeInForce.DAY).value),
        "client_order_id": request.client_id,
    }
    for name in ("qty", "notional", "limit_price"):
        value: Decimal | None = getattr(request, name)
        if value is not None:
            terms[name] = _exact_float(request, name, value)
    return LimitOrderRequest(**terms) if request.order_type is OrderType.LIMIT else MarketOrderRequest(**terms)


def _check_terms(request: OrderRequest) -> None:
    """Alpaca's own rules that need no price: order type, id length, orders by value only at market for the day."""
    if request.order_type is OrderType.BEST:
        msg = f"order {request.client_id}: Alpaca has no order type 'best'; use market or limit"
        raise BadRequest(msg)
    if not 0 < len(request.client_id) <= _LONGEST_ID:
        msg = f"order id of {len(request.client_id)} characters; Alpaca takes 1 to {_LONGEST_ID}"
        raise BadRequest(msg)
    by_value_otherwise = request.order_type is not OrderType.MARKET or request.time_in_force not in (
        None,
        TimeInForce.DAY,
    )
    if request.notional is not None and by_value_otherwise:
        msg = f"order {request.client_id}: Alpaca takes a notional only for market orders of the day; give a qty"
        raise BadRequest(msg)


def _exact_float(request: OrderRequest, name: str, value: Decimal) -> float:
    sent = float(value)
    if Decimal(repr(sent)) != value:
        msg = f"order {request.client_id}: {name} {value} has more digits than Alpaca's client can send"
        raise BadRequest(msg)
    return sent


def _open_orders(client: TradingClient) -> tuple[VenueOrder, ...]:
    """All open orders, page by page: the client does not page, and one answer holds at most 500."""
    from alpaca.common.enums import Sort
    from alpaca.trading.enums import QueryOrderStatus
    from alpaca.trading.requests import GetOrdersRequest

    known: dict[str, VenueOrder] = {}
    after: datetime | None = None
    while True:
        terms = GetOrdersRequest(status=QueryOrderStatus.OPEN, limit=_ORDERS_PAGE, direction=Sort.ASC, after=after)
        page = [parsing.order(one) for one in listing(client.get_orders(terms))]
        fresh = [one for one in page if one.venue_id not in known]
        known |= {one.venue_id: one for one in fresh}
        if len(page) == _ORDERS_PAGE and not fresh:
            msg = f"more than {_ORDERS_PAGE} open orders of one instant: they cannot be told page by page"
            raise ValueError(msg)
        if len(page) < _ORDERS_PAGE:
            return tuple(sorted(known.values(), key=lambda one: (one.submitted_at, one.client_id)))
        # `after` is exclusive: step back by the least unit so that orders of the same instant are not skipped.
        after = page[-1].submitted_at - timedelta(microseconds=1)


def _fills(client: TradingClient, order_ids: set[str], since: datetime) -> tuple[Fill, ...]:
    """The executions of the given orders, oldest first, from the account's FILL activities."""
    found: dict[str, Fill] = {}
    token: str | None = None
    while True:
        terms: dict[str, object] = {
            "after": (since - timedelta(seconds=1)).isoformat(),
            "direction": "asc",
            "page_size": _FILLS_PAGE,
        }
        if token is not None:
            terms["page_token"] = token
        page = listing(client.get("/account/activities/FILL", terms))
        found |= {text(one["id"]): parsing.fill(one) for one in page if one["order_id"] in order_ids}
        last = text(page[-1]["id"]) if page else None
        if len(page) < _FILLS_PAGE or last == token:
            return tuple(sorted(found.values(), key=lambda one: (one.at, one.fill_id)))
        token = last
