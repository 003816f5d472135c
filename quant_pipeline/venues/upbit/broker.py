"""Orders and account at Upbit through upbit-sdk. When to send and how to settle a doubt: `order_protocol.py`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Protocol

from quant_pipeline.core.values import (
    Account,
    OrderRequest,
    OrderType,
    Position,
    Side,
    TimeInForce,
    VenueClock,
    VenueOrder,
)
from quant_pipeline.markets.market import KRW_CRYPTO
from quant_pipeline.venues.budgets import Announcement
from quant_pipeline.venues.errors import (
    BadRequest,
    OrderInDoubt,
    RateLimited,
    UnknownOrder,
    VenueUnavailable,
    cause_text,
)
from quant_pipeline.venues.json_values import listing, mapping
from quant_pipeline.venues.limits import ORDER_WAIT, InProcessLimiter, RateLimiter, ReadRetries
from quant_pipeline.venues.order_checks import check_order
from quant_pipeline.venues.per_thread import PerThread
from quant_pipeline.venues.transport import DEFAULT_TIMEOUT, Timeout
from quant_pipeline.venues.upbit import parsing
from quant_pipeline.venues.upbit.clients import UpbitAccess, sdk_client
from quant_pipeline.venues.upbit.errors import ORDER_NOT_FOUND, facts, read_error, submit_error
from quant_pipeline.venues.upbit.limits import ACCOUNT, announced

if TYPE_CHECKING:
    import httpx
    from upbit import Upbit

_PAGE = 100
_FINISHED = ("done", "cancel")
_UNREADABLE = (KeyError, TypeError, ValueError, ArithmeticError)


class _Raw(Protocol):
    """What upbit-sdk's `with_raw_response` gives: the answer before its models, which would hide an odd one."""

    @property
    def http_response(self) -> httpx.Response: ...


class UpbitBroker:
    """`venues.protocols.Broker` over one Upbit account. Our client id is Upbit's `identifier`, unique for ever."""

    def __init__(
        self,
        *,
        base_url: str,
        access_key: str,
        secret_key: str,
        timeout: Timeout = DEFAULT_TIMEOUT,
        live_account: str | None = None,
        limiter: RateLimiter | None = None,
        retries: ReadRetries | None = None,
    ) -> None:
        """Check everything; nothing is connected yet.

        Args:
            base_url: scheme, host, port. The live host needs `live_account`.
            access_key: of the account.
            secret_key: of the account; used to sign, never sent.
            timeout: seconds (connect, read).
            live_account: name of the account as `clients.account_name` gives it.
            limiter: shared budget; without one, a limiter of this object.
            retries: of reads. Orders are never repeated.

        Raises:
            ValueError: an argument cannot be right.
        """
        access = UpbitAccess(base_url, access_key, secret_key, timeout, live_account)
        self._account_id = access.account_id
        self._limiter = limiter or InProcessLimiter(ACCOUNT, max_wait=ORDER_WAIT)
        self._retries = retries or ReadRetries()
        self._client = PerThread(lambda: sdk_client(access), lambda client: client.close())

    def account(self) -> Account:
        """See `Broker.account`. `account_id` is a name made from the access key."""
        return self._read("balances", lambda upbit: upbit.accounts.with_raw_response.list(), self._as_account)

    def positions(self) -> tuple[Position, ...]:
        """See `Broker.positions`. Symbols are `KRW-<coin>`; quantities include what open orders hold."""
        return self._read(
            "balances",
            lambda upbit: upbit.accounts.with_raw_response.list(),
            lambda response: parsing.positions(listing(response.json())),
        )

    def clock(self) -> VenueClock:
        """See `Broker.clock`. Upbit has no clock endpoint: the time is the `Date` of an answer, and it never closes."""
        return self._read("clock", lambda upbit: upbit.accounts.with_raw_response.list(), _as_clock)

    def submit(self, request: OrderRequest) -> VenueOrder:
        """See `Broker.submit`. One POST, never repeated."""
        import upbit as sdk

        check_order(KRW_CRYPTO, request)
        terms = _order_terms(request)
        try:
            response = self._send("order", lambda upbit: upbit.orders.with_raw_response.create(**terms))  # type: ignore[arg-type]
        except sdk.APIStatusError as error:
            raise submit_error(error.status_code, error.response.text, request) from error
        except sdk.UpbitError as error:
            msg = f"order {request.client_id}: {cause_text(error.__cause__ or error)}"
            raise OrderInDoubt(msg) from error
        try:
            order = parsing.order({"identifier": request.client_id, **mapping(response.json())})
        except _UNREADABLE as error:
            msg = f"order {request.client_id}: unreadable answer: {cause_text(error)}"
            raise OrderInDoubt(msg) from error
        if order.client_id != request.client_id:
            msg = f"order {request.client_id}: the answer speaks of {order.client_id}"
            raise OrderInDoubt(msg)
        return order

    def find(self, client_id: str, symbol: str) -> VenueOrder | None:
        """See `Broker.find`."""
        try:
            return self._read(
                f"order {client_id} of {symbol}",
                lambda upbit: upbit.orders.with_raw_response.retrieve(identifier=client_id),
                lambda response: parsing.order({"identifier": client_id, **mapping(response.json())}),
            )
        except UnknownOrder:
            return None

    def open_orders(self) -> tuple[VenueOrder, ...]:
        """See `Broker.open_orders`."""
        known: dict[str, VenueOrder] = {}
        page = 1
        while True:
            found = self._open_page(page)
            fresh = {one.venue_id: one for one in found if one.venue_id not in known}
            known |= fresh
            if len(found) == _PAGE and not fresh:
                msg = f"open orders: page {page} repeats earlier ones"
                raise VenueUnavailable(msg)
            if len(found) < _PAGE:
                return tuple(sorted(known.values(), key=lambda one: (one.submitted_at, one.client_id)))
            page += 1

    def cancel(self, client_id: str, symbol: str) -> None:
        """See `Broker.cancel`."""
        found = self.find(client_id, symbol)
        if found is None:
            raise UnknownOrder(client_id)
        if found.venue_status in _FINISHED:
            return
        try:
            self._read_once(
                f"cancel of {client_id} of {symbol}",
                lambda upbit: upbit.orders.with_raw_response.cancel(identifier=client_id),
                lambda _: None,
            )
        except (BadRequest, UnknownOrder):
            after = self.find(client_id, symbol)
            if after is None or after.venue_status not in _FINISHED:
                raise

    def close(self) -> None:
        """See `Broker.close`."""
        self._client.close()

    def _open_page(self, page: int) -> list[VenueOrder]:
        return self._read(
            f"open orders, page {page}",
            lambda upbit: upbit.orders.with_raw_response.list_open(
                limit=_PAGE, page=page, order_by="asc", states=["wait", "watch"]
            ),
            lambda response: [parsing.order(one) for one in listing(response.json())],
        )

    def _as_account(self, response: httpx.Response) -> Account:
        return parsing.account(self._account_id, listing(response.json()))

    def _read[T](self, asked: str, call: Callable[[Upbit], _Raw], parse: Callable[[httpx.Response], T]) -> T:
        """A request that changes nothing, repeated when that can help; each attempt is signed anew."""
        return self._retries.run(lambda: self._read_once(asked, call, parse), errors=(VenueUnavailable, RateLimited))

    def _read_once[T](self, asked: str, call: Callable[[Upbit], _Raw], parse: Callable[[httpx.Response], T]) -> T:
        import upbit as sdk

        try:
            response = self._send("default", call)
        except sdk.APIStatusError as error:
            if facts(error.response.text)[0] == ORDER_NOT_FOUND:
                raise UnknownOrder(asked) from error
            raise read_error(error.status_code, error.response.text, asked) from error
        except sdk.UpbitError as error:
            msg = f"{asked}: no answer from Upbit: {cause_text(error.__cause__ or error)}"
            raise VenueUnavailable(msg) from error
        try:
            return parse(response)
        except _UNREADABLE as error:
            msg = f"{asked}: unreadable answer: {cause_text(error)}"
            raise VenueUnavailable(msg) from error

    def _send(self, group: str, call: Callable[[Upbit], _Raw]) -> httpx.Response:
        """One request under the budget of `group`; raises what upbit-sdk raises."""
        import upbit as sdk

        permit, said = self._limiter.before(group), Announcement()
        try:
            response = call(self._client.get()).http_response
            said = announced(response.status_code, response.headers)
        except sdk.APIStatusError as error:
            said = announced(error.status_code, error.response.headers)
            raise
        finally:
            self._limiter.after(permit, said)
        return response


def _as_clock(response: httpx.Response) -> VenueClock:
    now = parsedate_to_datetime(response.headers["Date"]).astimezone(UTC)
    return VenueClock(now=now, is_open=True, next_open=None, next_close=None)


def _order_terms(request: OrderRequest) -> dict[str, str]:
    """The fields of `POST /v1/orders`: amounts as plain decimal strings, never floats.

    Raises:
        BadRequest: the request is none that Upbit has.
    """
    if not request.client_id or not request.symbol.startswith(f"{parsing.CURRENCY}-"):
        msg = f"order {request.client_id!r} of {request.symbol}: needs an id and a KRW market such as KRW-BTC"
        raise BadRequest(msg)
    terms = {
        "market": request.symbol,
        "side": "bid" if request.side is Side.BUY else "ask",
        "identifier": request.client_id,
        "ord_type": _ord_type(request),
    }
    if request.qty is not None:
        terms["volume"] = parsing.amount_text(request.qty)
    price = request.limit_price if request.limit_price is not None else request.notional
    if price is not None:
        terms["price"] = parsing.amount_text(price)
    if request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK):
        terms["time_in_force"] = request.time_in_force.value
    return terms


def _ord_type(request: OrderRequest) -> str:
    """Upbit's order type. A buy at the market or at best names an amount of KRW, every other order a volume."""
    by_amount = request.notional is not None
    immediate = request.time_in_force in (TimeInForce.IOC, TimeInForce.FOK)
    if by_amount != (request.side is Side.BUY and request.order_type is not OrderType.LIMIT):
        wanted = "a qty" if by_amount else "a notional (KRW)"
        msg = f"order {request.client_id}: an Upbit {request.order_type} {request.side} takes {wanted}"
        raise BadRequest(msg)
    if request.order_type is OrderType.BEST and not immediate:
        msg = f"order {request.client_id}: an Upbit 'best' order needs time in force ioc or fok"
        raise BadRequest(msg)
    if request.order_type is OrderType.MARKET and immediate:
        msg = f"order {request.client_id}: an Upbit market order takes no {request.time_in_force}; use type 'best'"
        raise BadRequest(msg)
    if request.order_type is OrderType.LIMIT and request.time_in_force is TimeInForce.DAY:
        msg = f"order {request.client_id}: Upbit has no order for the day; use gtc, ioc or fok"
        raise BadRequest(msg)
    if request.order_type is OrderType.MARKET:
        return "price" if by_amount else "market"
    return request.order_type.value
