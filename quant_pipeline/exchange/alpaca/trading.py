"""Alpaca's trading API: account, positions, orders, clock, calendar, assets. Market data is in `data`."""

from __future__ import annotations

import uuid
from datetime import date, datetime, timedelta
from decimal import Decimal

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.account import Holding
from quant_pipeline.exchange.alpaca import words
from quant_pipeline.exchange.alpaca.tickets import FormError, parse_body, parse_ticket
from quant_pipeline.exchange.bars.sessions import DAY
from quant_pipeline.exchange.engine import Engine, exact_money
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import exact
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.orders import Force, Kind, RefusalReason, RefusedError, SimOrder, Ticket
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.words import decimal_of, plain
from quant_pipeline.markets.calendar import NEW_YORK, is_open, next_session, session_at, session_hours, sessions
from quant_pipeline.markets.market import US_EQUITY

_CALENDAR = US_EQUITY.calendar
MAX_ORDERS = 500


def trading_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints of the trading API."""
    api = TradingApi(exchange)
    return tuple(
        route(method, path, endpoint, "trading")
        for method, path, endpoint in (
            ("GET", "/v2/account", api.account),
            ("GET", "/v2/account/activities/FILL", api.fills),
            ("GET", "/v2/positions", api.positions),
            ("DELETE", "/v2/positions", api.close_all),
            ("GET", "/v2/positions/{symbol}", api.position),
            ("DELETE", "/v2/positions/{symbol}", api.close),
            ("GET", "/v2/orders", api.orders),
            ("POST", "/v2/orders", api.submit),
            ("DELETE", "/v2/orders", api.cancel_all),
            ("GET", "/v2/orders:by_client_order_id", api.by_client_id),
            ("GET", "/v2/orders/{order_id}", api.order),
            ("PATCH", "/v2/orders/{order_id}", api.replace),
            ("DELETE", "/v2/orders/{order_id}", api.cancel),
            ("GET", "/v2/clock", api.clock),
            ("GET", "/v2/calendar", api.calendar),
            ("GET", "/v2/assets", api.assets),
            ("GET", "/v2/assets/{symbol}", api.asset),
        )
    )


class TradingApi:
    """One method per endpoint; each brings the exchange to the present first."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer for the stock account of `exchange`."""
        self._exchange = exchange

    @property
    def _engine(self) -> Engine:
        return self._exchange.us

    # Account and positions

    def account(self, _request: Request, _names: dict[str, str]) -> Reply:
        """The account with its equity at last prices."""
        now = self._exchange.now()
        account = self._engine.account
        with exact_money():
            value = sum((h.qty * self._price(s, now) for s, h in account.holdings.items()), Decimal(0))
            before = sum((h.qty * self._last_close(s, now) for s, h in account.holdings.items()), Decimal(0))
            cash, free = account.cash, max(account.available, Decimal(0))
            content = {
                "id": self._engine.identifier("account"),
                "account_number": "SIM" + self._engine.identifier("account")[:8].upper(),
                "status": "ACTIVE",
                "currency": "USD",
                "cash": plain(cash),
                "equity": words.cents(cash + value),
                "last_equity": words.cents(cash + before),
                "portfolio_value": words.cents(cash + value),
                "long_market_value": words.cents(value),
                "short_market_value": "0",
                "buying_power": words.cents(free),
                "regt_buying_power": words.cents(free),
                "non_marginable_buying_power": words.cents(free),
                "accrued_fees": "0",
                "initial_margin": "0",
                "maintenance_margin": "0",
                "multiplier": "1",
                "shorting_enabled": False,
                "trading_blocked": False,
                "transfers_blocked": False,
                "account_blocked": False,
                "trade_suspended_by_user": False,
                "created_at": "2020-01-02T14:30:00Z",
            }
        return json_reply(200, content)

    def fills(self, request: Request, _names: dict[str, str]) -> Reply:
        """Executions, newest first (or oldest with direction=asc), in pages of at most 100 by `page_token`."""
        self._exchange.now()
        rows: list[dict[str, object]] = []
        for venue_id, fill in self._engine.fill_log:
            order = self._engine.orders[venue_id]
            rows.append(words.fill_activity(order, order.fills.index(fill)))
        if request.value("direction") != "asc":
            rows.reverse()
        token, size = request.value("page_token"), request.value("page_size") or "100"
        if token is not None:
            at = next((n for n, row in enumerate(rows) if row["id"] == token), len(rows))
            rows = rows[at + 1 :]
        return json_reply(200, rows[: min(int(size), 100) if size.isdigit() else 100])

    def positions(self, _request: Request, _names: dict[str, str]) -> Reply:
        """All holdings."""
        now = self._exchange.now()
        held = sorted(self._engine.account.holdings.items())
        return json_reply(200, [self._position(symbol, holding, now) for symbol, holding in held])

    def position(self, _request: Request, names: dict[str, str]) -> Reply:
        """One holding, by symbol or asset id."""
        now = self._exchange.now()
        symbol = self._symbol(names["symbol"])
        if symbol not in self._engine.account.holdings:
            return words.error(404, 40410000, "position does not exist")
        return json_reply(200, self._position(symbol, self._engine.account.holding(symbol), now))

    def close(self, request: Request, names: dict[str, str]) -> Reply:
        """Sell a holding or a part of it (`qty` or `percentage`) at the market."""
        now = self._exchange.now()
        symbol = self._symbol(names["symbol"])
        held = self._engine.account.holding(symbol)
        if not held.qty:
            return words.error(404, 40410000, "position does not exist")
        qty, share = decimal_of(request.value("qty")), decimal_of(request.value("percentage"))
        if qty is None:
            qty = held.qty if share is None else round(held.qty * share / 100, 9)
        if qty <= 0:
            return words.error(422, 40010001, "qty must be > 0")
        return self._close(symbol, qty, now)

    def close_all(self, request: Request, _names: dict[str, str]) -> Reply:
        """Sell every holding; with cancel_orders=true cancel all orders first."""
        now = self._exchange.now()
        if (request.value("cancel_orders") or "").lower() == "true":
            for order in self._engine.open_orders():
                self._engine.cancel(order.venue_id, now)
        answers = []
        for symbol, held in sorted(self._engine.account.holdings.items()):
            reply = self._close(symbol, held.qty, now)
            answers.append((symbol, reply))
        body = b"[" + b",".join(_multi_status(symbol, reply) for symbol, reply in answers) + b"]"
        return Reply(207, body)

    # Orders

    def submit(self, request: Request, _names: dict[str, str]) -> Reply:
        """Take an order."""
        now = self._exchange.now()
        fallback = self._engine.identifier("client id", len(self._engine.used_ids) + 1)
        try:
            ticket = parse_ticket(parse_body(request.body), self._engine.feed.listed, fallback)
        except FormError as refused:
            return refused.reply
        return self._submit(ticket, now)

    def orders(self, request: Request, _names: dict[str, str]) -> Reply:
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
        for name, keep in (("after", 1), ("until", -1)):
            text = request.value(name)
            if text:
                bound = _time(text)
                if bound is None:
                    return words.error(422, 40010001, f"invalid {name}: {text}")
                found = [o for o in found if (o.submitted_at > bound if keep == 1 else o.submitted_at < bound)]
        found.sort(key=lambda order: order.seq, reverse=request.value("direction") != "asc")
        limit = decimal_of(request.value("limit") or "50")
        if limit is None or not 1 <= limit <= MAX_ORDERS:
            return words.error(422, 40010001, f"limit must be from 1 to {MAX_ORDERS}")
        return json_reply(200, [self._json(order, now) for order in found[: int(limit)]])

    def order(self, _request: Request, names: dict[str, str]) -> Reply:
        """One order by its id."""
        now = self._exchange.now()
        if not _is_uuid(names["order_id"]):
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
        if not _is_uuid(names["order_id"]):
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

    # Clock, calendar, assets

    def clock(self, _request: Request, _names: dict[str, str]) -> Reply:
        """The venue's time and the next opening and closing, in New York time."""
        now = self._exchange.now()
        session = session_at(_CALENDAR, now)
        hours = session_hours(_CALENDAR, session)
        opened = hours.opens_at <= now
        following = session_hours(_CALENDAR, next_session(_CALENDAR, session)) if opened else hours
        content = {
            "timestamp": _new_york(now),
            "is_open": opened,
            "next_open": _new_york(following.opens_at),
            "next_close": _new_york(hours.closes_at),
        }
        return json_reply(200, content)

    def calendar(self, request: Request, _names: dict[str, str]) -> Reply:
        """Sessions from `start` to `end`, both inclusive."""
        try:
            start = date.fromisoformat((request.value("start") or "1998-01-01")[:10])
            end = date.fromisoformat((request.value("end") or "2028-12-31")[:10])
            days = sessions(_CALENDAR, start, end) if start <= end else ()
        except ValueError as wrong:
            return words.error(422, 40010001, str(wrong))
        return json_reply(200, [_calendar_day(day) for day in days])

    def assets(self, request: Request, _names: dict[str, str]) -> Reply:
        """All listed shares."""
        self._exchange.now()
        if request.value("status") not in (None, "", "active") or request.value("asset_class") not in (None, "", "us_equity"):
            return json_reply(200, [])
        return json_reply(200, [words.asset(symbol) for symbol in sorted(self._engine.feed.listed)])

    def asset(self, _request: Request, names: dict[str, str]) -> Reply:
        """One listed share, by symbol or id."""
        self._exchange.now()
        symbol = self._symbol(names["symbol"])
        if symbol not in self._engine.feed.listed:
            return words.error(404, 40410000, f"asset not found for {names['symbol']}")
        return json_reply(200, words.asset(symbol))

    # Helpers

    def _symbol(self, name: str) -> str:
        """The symbol behind a path segment that is a symbol or an asset id."""
        if not _is_uuid(name):
            return name
        return next((s for s in self._engine.feed.listed if words.asset_id(s) == name), name)

    def _price(self, symbol: str, now: datetime) -> Decimal:
        tick = self._engine.feed.tick(symbol, now)
        return Decimal(0) if tick is None else tick.price

    def _last_close(self, symbol: str, now: datetime) -> Decimal:
        """The close of the session before the one in progress (or before the next one)."""
        midnight = int(datetime.combine(session_at(_CALENDAR, now), datetime.min.time(), NEW_YORK).timestamp())
        bars = self._engine.feed.last_bars(symbol, DAY, 1, midnight, now)
        return exact(bars.close[-1]) if len(bars) else self._price(symbol, now)

    def _json(self, order: SimOrder, now: datetime) -> dict[str, object]:
        return words.order_json(order, words.order_status(order, market_open=is_open(_CALENDAR, now)))

    def _submit(self, ticket: Ticket, now: datetime) -> Reply:
        try:
            order = self._engine.submit(ticket, now)
        except RefusedError as refused:
            return _refusal(refused, ticket, self._engine.account.holding(ticket.symbol))
        return json_reply(200, words.order_json(order, "accepted"))

    def _close(self, symbol: str, qty: Decimal, now: datetime) -> Reply:
        client_id = self._engine.identifier("client id", len(self._engine.used_ids) + 1)
        return self._submit(Ticket(client_id, symbol, Side.SELL, Kind.MARKET, Force.DAY, qty=qty), now)

    def _position(self, symbol: str, held: Holding, now: datetime) -> dict[str, object]:
        price, before = self._price(symbol, now), self._last_close(symbol, now)
        with exact_money():
            cost, value = held.avg_price * held.qty, price * held.qty
            gain, day = value - cost, (price - before) * held.qty
            change = price / before - 1 if before else Decimal(0)
            return {
                "asset_id": words.asset_id(symbol),
                "symbol": symbol,
                "exchange": words.asset(symbol)["exchange"],
                "asset_class": "us_equity",
                "asset_marginable": True,
                "avg_entry_price": words.cents(held.avg_price),
                "qty": plain(held.qty),
                "qty_available": plain(held.available),
                "side": "long",
                "market_value": words.cents(value),
                "cost_basis": words.cents(cost),
                "unrealized_pl": words.cents(gain),
                "unrealized_plpc": words.cents(gain / cost if cost else Decimal(0)),
                "unrealized_intraday_pl": words.cents(day),
                "unrealized_intraday_plpc": words.cents(change),
                "current_price": plain(price),
                "lastday_price": plain(before),
                "change_today": words.cents(change),
            }


def _refusal(refused: RefusedError, ticket: Ticket, held: Holding) -> Reply:
    """The venue's words for what the engine does not take."""
    if refused.reason is RefusalReason.DUPLICATE_ID:
        return words.error(422, 40010001, "client_order_id must be unique")
    if refused.reason is RefusalReason.CASH:
        return words.error(
            403,
            40310000,
            "insufficient buying power",
            buying_power=words.cents(max(refused.available, Decimal(0)), 2),
            cost_basis=words.cents(refused.wanted, 2),
        )
    if refused.reason is RefusalReason.WASH_TRADE:
        return words.error(
            403,
            40310000,
            "potential wash trade detected. use complex orders",
            existing_order_id=refused.other_id,
            reject_reason="opposite side market/stop order exists",
        )
    if refused.reason is RefusalReason.NO_PRICE:
        return words.error(422, 42210000, f"asset {ticket.symbol} has no price yet")
    if not held.qty:
        return words.error(403, 40310000, "account is not allowed to short")
    message = f"insufficient qty available for order (requested: {plain(refused.wanted)}, available: {plain(held.available)})"
    return words.error(
        403,
        40310000,
        message,
        available=plain(held.available),
        existing_qty=plain(held.qty),
        held_for_orders=plain(held.locked),
        symbol=ticket.symbol,
    )


def _not_found() -> Reply:
    return words.error(404, 40410000, "order is not found.")


def _multi_status(symbol: str, reply: Reply) -> bytes:
    return b'{"symbol":"%s","status":%d,"body":%s}' % (symbol.encode(), reply.status, reply.body)


def _is_uuid(text: str) -> bool:
    try:
        uuid.UUID(text)
    except ValueError:
        return False
    return True


def _time(text: str) -> datetime | None:
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError:
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=NEW_YORK)


def _new_york(at: datetime) -> str:
    return at.astimezone(NEW_YORK).isoformat()


def _calendar_day(day: date) -> dict[str, str]:
    hours = session_hours(_CALENDAR, day)
    closes = hours.closes_at.astimezone(NEW_YORK)
    return {
        "date": day.isoformat(),
        "open": hours.opens_at.astimezone(NEW_YORK).strftime("%H:%M"),
        "close": closes.strftime("%H:%M"),
        "session_open": "0400",
        "session_close": "2000" if closes.hour == 16 else "1700",
        "settlement_date": next_session(_CALENDAR, day).isoformat() if day < date(2028, 12, 15) else (day + timedelta(days=1)).isoformat(),
    }
