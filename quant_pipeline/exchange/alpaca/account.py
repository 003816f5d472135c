"""Alpaca's account endpoints: balances, positions, executions. What changes them is in `orders`."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal

from quant_pipeline.exchange.account import Holding
from quant_pipeline.exchange.alpaca import words
from quant_pipeline.exchange.alpaca.orders import time_bound
from quant_pipeline.exchange.bars.sessions import DAY
from quant_pipeline.exchange.engine import Engine, exact_money
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import exact
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.words import plain
from quant_pipeline.markets.calendar import NEW_YORK, session_at
from quant_pipeline.markets.market import US_EQUITY

_FILLS_PAGE = 100


def account_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints that show the account."""
    api = AccountApi(exchange)
    return tuple(
        route("GET", path, endpoint, "trading")
        for path, endpoint in (
            ("/v2/account", api.account),
            ("/v2/account/activities/FILL", api.fills),
            ("/v2/positions", api.positions),
            ("/v2/positions/{symbol}", api.position),
        )
    )


class AccountApi:
    """One method per endpoint; each brings the exchange to the present first."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer for the stock account of `exchange`."""
        self._exchange = exchange

    @property
    def _engine(self) -> Engine:
        return self._exchange.us

    def account(self, _request: Request, _names: dict[str, str]) -> Reply:
        """The account with its equity at last prices."""
        now = self._exchange.now()
        account, name = self._engine.account, self._engine.identifier("account")
        with exact_money():
            held = account.holdings.items()
            value = sum((holding.qty * self._price(symbol, now) for symbol, holding in held), Decimal(0))
            before = sum((holding.qty * self._last_close(symbol, now) for symbol, holding in held), Decimal(0))
            equity, spendable = words.cents(account.cash + value), words.cents(max(account.available, Decimal(0)))
            content = {
                "id": name,
                "account_number": "SIM" + name[:8].upper(),
                "status": "ACTIVE",
                "currency": account.currency,
                "cash": plain(account.cash),
                "equity": equity,
                "last_equity": words.cents(account.cash + before),
                "portfolio_value": equity,
                "long_market_value": words.cents(value),
                **dict.fromkeys(("buying_power", "regt_buying_power", "non_marginable_buying_power"), spendable),
                **dict.fromkeys(("short_market_value", "accrued_fees", "initial_margin", "maintenance_margin"), "0"),
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
        """Executions, newest first unless direction=asc, in pages that go on after the id `page_token`."""
        self._exchange.now()
        size = request.value("page_size") or str(_FILLS_PAGE)
        try:
            after, until = time_bound(request, "after"), time_bound(request, "until")
        except ValueError as wrong:
            return words.error(422, 40010001, str(wrong))
        if not size.isdigit() or not 1 <= int(size) <= _FILLS_PAGE:
            return words.error(422, 40010001, f"page_size must be from 1 to {_FILLS_PAGE}")
        rows: list[dict[str, object]] = []
        for venue_id, fill in self._engine.fill_log:
            if (after is None or fill.at > after) and (until is None or fill.at < until):
                order = self._engine.orders[venue_id]
                rows.append(words.fill_activity(order, order.fills.index(fill)))
        if request.value("direction") != "asc":
            rows.reverse()
        token = request.value("page_token")
        if token:
            found = next((n for n, row in enumerate(rows) if row["id"] == token), len(rows))
            rows = rows[found + 1 :]
        return json_reply(200, rows[: int(size)])

    def positions(self, _request: Request, _names: dict[str, str]) -> Reply:
        """All holdings."""
        now = self._exchange.now()
        held = sorted(self._engine.account.holdings.items())
        return json_reply(200, [self._position(symbol, holding, now) for symbol, holding in held])

    def position(self, _request: Request, names: dict[str, str]) -> Reply:
        """One holding, by symbol or asset id."""
        now = self._exchange.now()
        symbol = words.symbol_of(names["symbol"], self._engine.feed.listed)
        if symbol not in self._engine.account.holdings:
            return words.error(404, 40410000, "position does not exist")
        return json_reply(200, self._position(symbol, self._engine.account.holding(symbol), now))

    def _price(self, symbol: str, now: datetime) -> Decimal:
        tick = self._engine.feed.tick(symbol, now)
        return Decimal(0) if tick is None else tick.price

    def _last_close(self, symbol: str, now: datetime) -> Decimal:
        """The close of the session before the one in progress (or before the next one)."""
        today = session_at(US_EQUITY.calendar, now)
        midnight = datetime(today.year, today.month, today.day, tzinfo=NEW_YORK)
        bars = self._engine.feed.last_bars(symbol, DAY, 1, int(midnight.timestamp()), now)
        return exact(bars.close[-1]) if len(bars) else self._price(symbol, now)

    def _position(self, symbol: str, held: Holding, now: datetime) -> dict[str, object]:
        price, before = self._price(symbol, now), self._last_close(symbol, now)
        with exact_money():
            cost, value = held.avg_price * held.qty, price * held.qty
            gain, day = value - cost, (price - before) * held.qty
            change = words.cents(price / before - 1 if before else Decimal(0))
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
                "unrealized_intraday_plpc": change,
                "current_price": plain(price),
                "lastday_price": plain(before),
                "change_today": change,
            }
