"""Upbit's exchange API: accounts, order chance, orders. Prices and candles are in `quotation`."""

from __future__ import annotations

from datetime import datetime, timedelta

from quant_pipeline.exchange.engine import Engine, exact_money
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.orders import RefusalReason, RefusedError, SimOrder
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.upbit.params import Params, parse_instant, read_params
from quant_pipeline.exchange.upbit.tickets import MAX_TOTAL, FormError, parse_ticket
from quant_pipeline.exchange.upbit.words import (
    MESSAGES,
    balance_json,
    closed_at,
    error,
    order_json,
    order_stub,
    state_word,
)
from quant_pipeline.exchange.words import plain
from quant_pipeline.markets.market import KRW_CRYPTO
from quant_pipeline.markets.rules import min_notional

_WEEK = timedelta(days=7)
_BOTH_SIDES = ("best_fok", "best_ioc", "limit", "limit_fok", "limit_ioc", "limit_post_only")


def trading_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints of the exchange API; all need a token."""
    api = TradingApi(exchange)
    return tuple(
        route(method, path, endpoint, group)
        for method, path, endpoint, group in (
            ("GET", "/v1/accounts", api.accounts, "default"),
            ("GET", "/v1/orders/chance", api.chance, "default"),
            ("POST", "/v1/orders", api.submit, "order"),
            ("POST", "/v1/orders/test", api.test, "order-test"),
            ("GET", "/v1/order", api.order, "default"),
            ("DELETE", "/v1/order", api.cancel, "default"),
            ("GET", "/v1/orders", api.listed, "default"),
            ("GET", "/v1/orders/open", api.open, "default"),
            ("DELETE", "/v1/orders/open", api.cancel_open, "order-cancel-all"),
            ("GET", "/v1/orders/closed", api.closed, "default"),
            ("GET", "/v1/orders/uuids", api.by_ids, "default"),
            ("DELETE", "/v1/orders/uuids", api.cancel_by_ids, "default"),
        )
    )


class TradingApi:
    """One method per endpoint; each brings the exchange to the present first."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer for the crypto account of `exchange`."""
        self._exchange = exchange

    @property
    def _engine(self) -> Engine:
        return self._exchange.krw

    def accounts(self, _request: Request, _names: dict[str, str]) -> Reply:
        """Cash and coins, free and locked."""
        self._exchange.now()
        account = self._engine.account
        with exact_money():
            coins = sorted(symbol.split("-")[1] for symbol in account.holdings)
            return json_reply(200, [balance_json(account, name) for name in (account.currency, *coins)])

    def chance(self, request: Request, _names: dict[str, str]) -> Reply:
        """What may be ordered in a market: fees, minimum, balances of both sides."""
        self._exchange.now()
        symbol = read_params(request).one("market") or ""
        if not self._engine.feed.lists(symbol):
            return error(404, "notfoundmarket")
        quote, coin = symbol.split("-")
        bid_fee, ask_fee = map(plain, self._engine.rules.fee_rates)
        least = plain(min_notional(KRW_CRYPTO))
        with exact_money():
            content = {
                "bid_fee": bid_fee,
                "ask_fee": ask_fee,
                "maker_bid_fee": bid_fee,
                "maker_ask_fee": ask_fee,
                "market": {
                    "id": symbol,
                    "name": f"{coin}/{quote}",
                    "order_types": ["limit"],
                    "order_sides": ["ask", "bid"],
                    "bid_types": [*_BOTH_SIDES, "price"],
                    "ask_types": [*_BOTH_SIDES, "market"],
                    "bid": {"currency": quote, "min_total": least},
                    "ask": {"currency": coin, "min_total": least},
                    "max_total": plain(MAX_TOTAL),
                    "state": "active",
                },
                "bid_account": balance_json(self._engine.account, quote),
                "ask_account": balance_json(self._engine.account, coin),
            }
        return json_reply(200, content)

    # Orders

    def submit(self, request: Request, _names: dict[str, str]) -> Reply:
        """Take an order."""
        return self._take(request, dry=False)

    def test(self, request: Request, _names: dict[str, str]) -> Reply:
        """Check an order as if it were sent, and take nothing."""
        return self._take(request, dry=True)

    def order(self, request: Request, _names: dict[str, str]) -> Reply:
        """One order by uuid or identifier, with its trades."""
        self._exchange.now()
        found = self._named(read_params(request))
        return error(404, "order_not_found") if found is None else json_reply(200, self._json(found, trades=True))

    def cancel(self, request: Request, _names: dict[str, str]) -> Reply:
        """Cancel one order; the answer is the order as it stood, the cancel follows at once."""
        now = self._exchange.now()
        found = self._named(read_params(request))
        if found is None or self._engine.cancel(found.venue_id, now) is None:
            return error(404, "order_not_found")
        return json_reply(200, self._json(found, trades=False))

    def listed(self, request: Request, _names: dict[str, str]) -> Reply:
        """Orders of one or several states (the venue's old listing, which pyupbit still uses)."""
        self._exchange.now()
        params = read_params(request)
        states = set(params.many("states") or params.many("state") or ["wait"])
        return self._list(params, [o for o in self._engine.orders.values() if state_word(o) in states], 100, 100)

    def open(self, request: Request, _names: dict[str, str]) -> Reply:
        """Orders that wait."""
        self._exchange.now()
        params = read_params(request)
        states = set(params.many("states") or params.many("state") or ["wait"])
        return self._list(params, [o for o in self._engine.open_orders() if state_word(o) in states], 100, 100)

    def closed(self, request: Request, _names: dict[str, str]) -> Reply:
        """Orders that ended within a window of at most seven days."""
        now = self._exchange.now()
        params = read_params(request)
        window = _window(params, now)
        if window is None:
            return error(400, "validation_error", "start_time and end_time must be times at most 7 days apart")
        states = set(params.many("states") or params.many("state") or ["done", "cancel"])
        found = [
            order
            for order in self._engine.orders.values()
            if not order.is_open and state_word(order) in states and window[0] <= closed_at(order) <= window[1]
        ]
        return self._list(params, found, 100, 1000)

    def by_ids(self, request: Request, _names: dict[str, str]) -> Reply:
        """Orders by a list of uuids or of identifiers."""
        self._exchange.now()
        params = read_params(request)
        found = self._chosen(params, 100)
        return found if isinstance(found, Reply) else self._list(params, found, 100, 100)

    def cancel_by_ids(self, request: Request, _names: dict[str, str]) -> Reply:
        """Cancel up to 20 orders by uuid or identifier."""
        now = self._exchange.now()
        found = self._chosen(read_params(request), 20)
        return found if isinstance(found, Reply) else self._cancel_batch(found, now)

    def cancel_open(self, request: Request, _names: dict[str, str]) -> Reply:
        """Cancel waiting orders, of all markets or of some pairs, of both sides or one; up to `count`."""
        now = self._exchange.now()
        params = read_params(request)
        pairs, sides = set(params.many("pairs")), params.one("cancel_side") or "all"
        count = params.whole("count", 20)
        if count is None or not 1 <= count <= 300:
            return error(400, "validation_error", "count must be a whole number from 1 to 300")
        wanted = [
            order
            for order in self._engine.open_orders()
            if (not pairs or order.ticket.symbol in pairs)
            and sides in ("all", "bid" if order.ticket.side.value == "buy" else "ask")
        ]
        return self._cancel_batch(wanted[:count], now)

    # Helpers

    def _take(self, request: Request, *, dry: bool) -> Reply:
        now = self._exchange.now()
        params, engine = read_params(request), self._engine
        symbol = params.one("market") or ""
        tick = engine.feed.tick(symbol, now) if engine.feed.lists(symbol) else None
        fallback = engine.identifier("identifier", len(engine.used_ids) + 1)
        try:
            ticket = parse_ticket(params, engine.feed, tick, fallback)
            order = engine.submit(ticket, now, dry=dry)
        except FormError as refused:
            return refused.reply
        except RefusedError as refused:
            return _refusal(refused, symbol)
        return json_reply(201, self._json(order, trades=False))

    def _json(self, order: SimOrder, *, trades: bool) -> dict[str, object]:
        with exact_money():
            return order_json(order, self._engine.rules.fee_rates[0], trades=trades)

    def _named(self, params: Params) -> SimOrder | None:
        uuid, identifier = params.one("uuid"), params.one("identifier")
        if uuid is not None:
            return self._engine.orders.get(uuid)
        return None if identifier is None else self._engine.by_client_id(identifier)

    def _chosen(self, params: Params, most: int) -> list[SimOrder] | Reply:
        """The orders that a list of ids names, or the refusal of the list."""
        uuids, identifiers = params.many("uuids"), params.many("identifiers")
        if bool(uuids) == bool(identifiers) or len(uuids) + len(identifiers) > most:
            return error(400, "validation_error", f"give uuids or identifiers, at most {most}")
        named = [self._engine.orders.get(uuid) for uuid in uuids]
        named += [self._engine.by_client_id(identifier) for identifier in identifiers]
        return [order for order in named if order is not None]

    def _list(self, params: Params, orders: list[SimOrder], default: int, most: int) -> Reply:
        """A page of orders, newest first unless order_by=asc."""
        limit, page = params.whole("limit", default), params.whole("page", 1)
        if limit is None or page is None or not 1 <= limit <= most or page < 1:
            return error(400, "validation_error", f"limit must be from 1 to {most} and page at least 1")
        market = params.one("market")
        kept = [order for order in orders if market in (None, order.ticket.symbol)]
        kept.sort(key=lambda order: order.seq, reverse=params.one("order_by") != "asc")
        return json_reply(200, [self._json(order, trades=False) for order in kept[(page - 1) * limit : page * limit]])

    def _cancel_batch(self, orders: list[SimOrder], now: datetime) -> Reply:
        done: list[dict[str, str]] = []
        failed: list[dict[str, str]] = []
        for order in orders:
            (failed if self._engine.cancel(order.venue_id, now) is None else done).append(order_stub(order))
        content = {
            "success": {"count": len(done), "orders": done},
            "failed": {"count": len(failed), "orders": failed},
        }
        return json_reply(200, content)


def _refusal(refused: RefusedError, symbol: str) -> Reply:
    """The venue's words for what the engine does not take."""
    if refused.reason is RefusalReason.DUPLICATE_ID:
        return error(400, "duplicated_identifier")
    if refused.reason is RefusalReason.CASH:
        return error(400, "insufficient_funds_bid")
    if refused.reason is RefusalReason.HOLDING:
        message = MESSAGES["insufficient_funds_ask"].format(currency=symbol.split("-")[1])
        return error(400, "insufficient_funds_ask", message)
    return error(400, "market_offline")


def _window(params: Params, now: datetime) -> tuple[datetime, datetime] | None:
    """The window of closed orders: seven days before the end, or after the start."""
    given: dict[str, datetime] = {}
    for name in ("start_time", "end_time"):
        text = params.one(name)
        if text is None:
            continue
        at = parse_instant(text)
        if at is None:
            return None
        given[name] = at
    end = given.get("end_time") or (given["start_time"] + _WEEK if given else now)
    start = given.get("start_time", end - _WEEK)
    return (start, end) if timedelta(0) <= end - start <= _WEEK else None
