"""Alpaca's order endpoints: submit, list, look up, cancel, close a position. The form of an order is `tickets`'."""

from __future__ import annotations

import uuid
from datetime import datetime
from decimal import Decimal

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.account import Holding
from quant_pipeline.exchange.alpaca import words
from quant_pipeline.exchange.alpaca.tickets import FormError, parse_body, parse_ticket
from quant_pipeline.exchange.engine import Engine
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.orders import Force, Kind, RefusalReason, RefusedError, SimOrder, Ticket
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.words import decimal_of, plain
from quant_pipeline.markets.calendar import NEW_YORK, is_open
from quant_pipeline.markets.market import US_EQUITY

MAX_ORDERS = 500


def order_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints that read or change orders."""
    api = OrderApi(exchange)
    return tuple(
        route(method, path, endpoint, "trading")
        for method, path, endpoint in (
            ("GET", "/v2/orders", api.listed),
            ("POST", "/v2/orders", api.submit),
            ("DELETE", "/v2/orders", api.cancel_all),
            ("GET", "/v2/orders:by_client_order_id", api.by_client_id),
            ("GET", "/v2/orders/{order_id}", api.order),
            ("PATCH", "/v2/orders/{order_id}", api.replace),
            ("DELETE", "/v2/orders/{order_id}", api.cancel),
            ("DELETE", "/v2/positions", api.close_all),
            ("DELETE", "/v2/positions/{symbol}", api.close),
        )
    )


class OrderApi:
    """One method per endpoint; each brings the exchange to the present first."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer for the stock account of `exchange`."""
        self._exchange = exchange

    @property
    def _engine(self) -> Engine:
        return self._exchange.us

    def submit(self, request: Request, _names: dict[str, str]) -> Reply:
        """Take an order."""
        now = self._exchange.now()
        try:
            ticket = parse_ticket(parse_body(request.body), self._engine.feed.listed, self._fresh_id())
        except FormError as refused:
            return refused.reply
        return self._submit(ticket, now)

    def listed(self, request: Request, _names: dict[str, str]) -> Reply:
        """Orders by status, symbols, side and time of submission; newest first unless direction=asc."""
        now = self._exchange.now()
        status = request.value("status") or "open"
        symbols = {s for s in (request.value("symbols") or "").split(",") if s}
        found = [
            order
            for order in self._engine.orders.values()
            if (status == "all" or order.is_open == (status == "open"))
            and (not symbols or order.ticket.symbol in symbols)
            and request.value("side") in (None, "", order.ticket.side.value)
        ]
        try:
            after, until = time_bound(request, "after"), time_bound(request, "until")
        except ValueError as wrong:
            return words.error(422, 40010001, str(wrong))
        found = [
            order
            for order in found
            if (after is None or order.submitted_at > after) and (until is None or order.submitted_at < until)
        ]
        found.sort(key=lambda order: order.seq, reverse=request.value("direction") != "asc")
        limit = decimal_of(request.value("limit") or "50")
        if limit is None or not 1 <= limit <= MAX_ORDERS:
            return words.error(422, 40010001, f"limit must be from 1 to {MAX_ORDERS}")
        return json_reply(200, [self._json(order, now) for order in found[: int(limit)]])

    def order(self, _request: Request, names: dict[str, str]) -> Reply:
        """One order by its id."""
        now = self._exchange.now()
        if not is_uuid(names["order_id"]):
            return words.error(422, 40010001, "order_id is missing")
        order = self._engine.orders.get(names["order_id"])
        return _not_found() if order is None else json_reply(200, self._json(order, now))

    def by_client_id(self, request: Request, _names: dict[str, str]) -> Reply:
        """One order by the client's id."""
        now = self._exchange.now()
        order = self._engine.by_client_id(request.value("client_order_id") or "")
        return _not_found() if order is None else json_reply(200, self._json(order, now))

    def replace(self, _request: Request, names: dict[str, str]) -> Reply:
        """Orders are not replaced here: cancel and send a new one."""
        self._exchange.now()
        if names["order_id"] not in self._engine.orders:
            return _not_found()
        return words.error(422, 42210000, "order is not replaceable")

    def cancel(self, _request: Request, names: dict[str, str]) -> Reply:
        """Cancel one order."""
        now = self._exchange.now()
        if not is_uuid(names["order_id"]):
            return words.error(422, 40010001, "order_id is missing")
        order = self._engine.orders.get(names["order_id"])
        if order is None:
            return _not_found()
        if self._engine.cancel(order.venue_id, now) is None:
            state = words.order_status(order, market_open=False)
            return words.error(422, 42210000, f'order is already in "{state}" state')
        return Reply(204)

    def cancel_all(self, _request: Request, _names: dict[str, str]) -> Reply:
        """Cancel every open order."""
        now = self._exchange.now()
        orders = self._engine.open_orders()
        for order in orders:
            self._engine.cancel(order.venue_id, now)
        return json_reply(207, [{"id": order.venue_id, "status": 200} for order in orders])

    def close(self, request: Request, names: dict[str, str]) -> Reply:
        """Sell a holding or a part of it (`qty` or `percentage`) at the market."""
        now = self._exchange.now()
        symbol = words.symbol_of(names["symbol"], self._engine.feed.listed)
        held = self._engine.account.holding(symbol)
        if not held.qty:
            return words.error(404, 40410000, "position does not exist")
        qty, share = decimal_of(request.value("qty")), decimal_of(request.value("percentage"))
        if qty is None:
            qty = held.qty if share is None else round(held.qty * share / 100, 9)
        if qty <= 0:
            return words.error(422, 40010001, "qty must be > 0")
        return self._sell(symbol, qty, now)

    def close_all(self, request: Request, _names: dict[str, str]) -> Reply:
        """Sell every holding; with cancel_orders=true cancel all orders first."""
        now = self._exchange.now()
        if (request.value("cancel_orders") or "").lower() == "true":
            for order in self._engine.open_orders():
                self._engine.cancel(order.venue_id, now)
        holdings = sorted(self._engine.account.holdings.items())
        answers = [(symbol, self._sell(symbol, held.qty, now)) for symbol, held in holdings]
        return Reply(207, b"[" + b",".join(_multi_status(symbol, reply) for symbol, reply in answers) + b"]")

    def _json(self, order: SimOrder, now: datetime) -> dict[str, object]:
        return words.order_json(order, words.order_status(order, market_open=is_open(US_EQUITY.calendar, now)))

    def _fresh_id(self) -> str:
        """The client id of an order whose client gave none."""
        return self._engine.identifier("client id", len(self._engine.used_ids) + 1)

    def _submit(self, ticket: Ticket, now: datetime) -> Reply:
        try:
            order = self._engine.submit(ticket, now)
        except RefusedError as refused:
            return _refusal(refused, ticket, self._engine.account.holding(ticket.symbol))
        return json_reply(200, words.order_json(order, "accepted"))

    def _sell(self, symbol: str, qty: Decimal, now: datetime) -> Reply:
        return self._submit(Ticket(self._fresh_id(), symbol, Side.SELL, Kind.MARKET, Force.DAY, qty=qty), now)


def time_bound(request: Request, name: str) -> datetime | None:
    """A time parameter; None when it is absent. A date or a time without offset is New York time.

    Raises:
        ValueError: it is no time; the text is what the venue answers.
    """
    text = request.value(name)
    if not text:
        return None
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        msg = f"invalid {name}: {text}"
        raise ValueError(msg) from error
    return at if at.tzinfo is not None else at.replace(tzinfo=NEW_YORK)


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID in any spelling."""
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _refusal(refused: RefusedError, ticket: Ticket, held: Holding) -> Reply:
    """The venue's words for what the engine does not take."""
    match refused.reason:
        case RefusalReason.DUPLICATE_ID:
            return words.error(422, 40010001, "client_order_id must be unique")
        case RefusalReason.NO_PRICE:
            return words.error(422, 42210000, f"asset {ticket.symbol} has no price yet")
        case RefusalReason.CASH:
            amounts = {
                "buying_power": words.cents(max(refused.available, Decimal(0)), 2),
                "cost_basis": words.cents(refused.wanted, 2),
            }
            return words.error(403, 40310000, "insufficient buying power", **amounts)
        case RefusalReason.WASH_TRADE:
            other = {
                "existing_order_id": refused.other_id,
                "reject_reason": "opposite side market/stop order exists",
            }
            return words.error(403, 40310000, "potential wash trade detected. use complex orders", **other)
        case RefusalReason.HOLDING:
            return _short_of_shares(refused, ticket, held)


def _short_of_shares(refused: RefusedError, ticket: Ticket, held: Holding) -> Reply:
    if not held.qty:
        return words.error(403, 40310000, "account is not allowed to short")
    requested, available = plain(refused.wanted), plain(held.available)
    return words.error(
        403,
        40310000,
        f"insufficient qty available for order (requested: {requested}, available: {available})",
        available=available,
        existing_qty=plain(held.qty),
        held_for_orders=plain(held.locked),
        symbol=ticket.symbol,
    )


def _not_found() -> Reply:
    return words.error(404, 40410000, "order is not found.")


def _multi_status(symbol: str, reply: Reply) -> bytes:
    return b'{"symbol":"%s","status":%d,"body":%s}' % (symbol.encode(), reply.status, reply.body)
