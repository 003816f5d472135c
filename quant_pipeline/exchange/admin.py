"""The admin API under /admin: the clock, and the exchange's own records in one neutral form. For loopback only."""

from __future__ import annotations

import ipaddress
import json
import os
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from quant_pipeline.exchange.actions import plain_action, read_action
from quant_pipeline.exchange.clock import ClockError, parse_time
from quant_pipeline.exchange.engine import Engine
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Answer, Reply, Request, json_reply
from quant_pipeline.exchange.orders import SimOrder
from quant_pipeline.exchange.withdrawals import plain_withdrawn, read_withdrawn
from quant_pipeline.exchange.words import plain

AdminEndpoint = Callable[[Exchange, Request], Answer]


def admin_reply(exchange: Exchange, request: Request) -> Answer:
    """Answer an admin request; any other address than loopback is refused."""
    if not _is_loopback(request.peer):
        return json_reply(403, {"error": "the admin API answers on loopback only"})
    endpoint = ENDPOINTS.get((request.method, request.path))
    if endpoint is None:
        known = ", ".join(f"{method} {path}" for method, path in ENDPOINTS)
        return json_reply(404, {"error": f"no {request.method} {request.path}; there are {known}"})
    return endpoint(exchange, request)


def _is_loopback(peer: str) -> bool:
    try:
        return ipaddress.ip_address(peer).is_loopback
    except ValueError:
        return False


def _get_clock(exchange: Exchange, _request: Request) -> Reply:
    """The time, and whose: who started an exchange can tell by `pid` that no other one answers on its port."""
    now, config = exchange.now().isoformat(), exchange.config
    return json_reply(200, {"now": now, "mode": exchange.clock.mode, "seed": config.seed, "pid": os.getpid()})


def _post_clock(exchange: Exchange, request: Request) -> Reply:
    """Move the clock: {"set": ISO time} or {"advance_seconds": number}; what is due happens before the answer."""
    try:
        body = json.loads(request.body)
        match body:
            case {"set": str(text)}:
                exchange.move_clock(to=parse_time(text))
            case {"advance_seconds": int() | float() as seconds} if not isinstance(seconds, bool):
                exchange.move_clock(seconds=seconds)
            case _:
                return json_reply(400, {"error": 'send {"set": "ISO time"} or {"advance_seconds": number}'})
    except ClockError as refused:
        return json_reply(409, {"error": str(refused)})
    except ValueError as wrong:
        return json_reply(400, {"error": f"the body is not JSON: {wrong}"})
    return _get_clock(exchange, request)


def _get_requests(exchange: Exchange, request: Request) -> Reply:
    after = request.value("after") or "0"
    found = exchange.log.find(
        dialect=request.value("dialect"),
        method=request.value("method"),
        path=request.value("path"),
        after=int(after) if after.isdigit() else 0,
    )
    return json_reply(200, found)


def _get_orders(exchange: Exchange, request: Request) -> Reply:
    exchange.now()
    rows = [order_record(engine, order) for engine in _engines(exchange, request) for order in engine.orders.values()]
    return json_reply(200, rows)


def _get_fills(exchange: Exchange, request: Request) -> Reply:
    exchange.now()
    rows = [row for engine in _engines(exchange, request) for row in fill_records(engine)]
    return json_reply(200, rows)


def _get_accounts(exchange: Exchange, request: Request) -> Reply:
    now = exchange.now()
    rows = []
    for engine in _engines(exchange, request):
        account = engine.account
        value = Decimal(0)
        for symbol, held in account.holdings.items():
            tick = engine.feed.tick(symbol, now)
            value += held.qty * (tick.price if tick is not None else held.avg_price)
        rows.append(
            {
                "market": engine.feed.market.name,
                "currency": account.currency,
                "cash": plain(account.cash),
                "locked": plain(account.locked),
                "fees_paid": plain(account.fees_paid),
                "equity": plain(account.cash + value),
                "holdings": {
                    symbol: {"qty": plain(h.qty), "locked": plain(h.locked), "avg_price": plain(h.avg_price)}
                    for symbol, h in sorted(account.holdings.items())
                },
            }
        )
    return json_reply(200, rows)


def _post_reset(exchange: Exchange, request: Request) -> Reply:
    exchange.reset()
    return _get_clock(exchange, request)


def _get_live(exchange: Exchange, _request: Request) -> Reply:
    """How each market of a dry run is: see `live.market.LiveMarket.state`. Empty without one."""
    now = exchange.now()
    return json_reply(200, [live.state(now) for live in exchange.live.values()])


async def _post_live(exchange: Exchange, request: Request) -> Reply:
    """Bring each market of a dry run up to date now, also one whose venue is left alone after a failure."""
    for name, live in exchange.live.items():
        await live.poll(exchange.live_needs(name), probe=True)
    return _get_live(exchange, request)


def _get_actions(exchange: Exchange, _request: Request) -> Reply:
    return json_reply(200, [plain_action(action) for action in exchange.actions.all()])


def _post_action(exchange: Exchange, request: Request) -> Reply:
    """Tell the exchange of a split or dividend to come; see `actions.read_action` for the body."""
    try:
        exchange.add_action(read_action(json.loads(request.body)))
    except (ValueError, TypeError) as wrong:
        return json_reply(400, {"error": f"no such action: {wrong}"})
    return _get_actions(exchange, request)


def _get_withdrawn(exchange: Exchange, _request: Request) -> Reply:
    return json_reply(200, [plain_withdrawn(bar) for bar in exchange.withdrawn])


def _post_withdrawn(exchange: Exchange, request: Request) -> Reply:
    """Take back a bar that was shown; see `withdrawals.read_withdrawn` for the body."""
    try:
        exchange.withdraw_bar(read_withdrawn(json.loads(request.body)))
    except (ValueError, TypeError) as wrong:
        return json_reply(400, {"error": f"no such bar: {wrong}"})
    return _get_withdrawn(exchange, request)


ENDPOINTS: dict[tuple[str, str], AdminEndpoint] = {
    ("GET", "/admin/clock"): _get_clock,
    ("POST", "/admin/clock"): _post_clock,
    ("GET", "/admin/requests"): _get_requests,
    ("GET", "/admin/orders"): _get_orders,
    ("GET", "/admin/fills"): _get_fills,
    ("GET", "/admin/accounts"): _get_accounts,
    ("GET", "/admin/actions"): _get_actions,
    ("POST", "/admin/actions"): _post_action,
    ("GET", "/admin/withdrawn"): _get_withdrawn,
    ("POST", "/admin/withdrawn"): _post_withdrawn,
    ("POST", "/admin/reset"): _post_reset,
    ("GET", "/admin/live"): _get_live,
    ("POST", "/admin/live"): _post_live,
}


def _engines(exchange: Exchange, request: Request) -> list[Engine]:
    market = request.value("market")
    return [engine for name, engine in exchange.engines.items() if market in (None, name)]


def _text(number: Decimal | None) -> str | None:
    return None if number is None else plain(number)


def order_record(engine: Engine, order: SimOrder) -> dict[str, Any]:
    """An order in the neutral form: decimals as strings, times as ISO 8601 UTC."""
    ticket = order.ticket
    return {
        "market": engine.feed.market.name,
        "seq": order.seq,
        "venue_id": order.venue_id,
        "client_id": ticket.client_id,
        "symbol": ticket.symbol,
        "side": ticket.side.value,
        "type": ticket.kind.value,
        "time_in_force": ticket.force.value,
        "qty": _text(ticket.qty),
        "notional": _text(ticket.funds),
        "limit_price": _text(ticket.limit_price),
        "state": order.state.value,
        "filled_qty": plain(order.filled_qty),
        "filled_funds": plain(order.filled_funds),
        "avg_price": _text(order.avg_price),
        "fee": plain(order.fee),
        "fills": len(order.fills),
        "submitted_at": order.submitted_at.isoformat(),
        "updated_at": order.updated_at.isoformat(),
    }


def fill_records(engine: Engine) -> list[dict[str, Any]]:
    """All executions of a market in the order in which they happened, in the neutral form."""
    rows = []
    for seq, (venue_id, fill) in enumerate(engine.fill_log, 1):
        ticket = engine.orders[venue_id].ticket
        rows.append(
            {
                "market": engine.feed.market.name,
                "seq": seq,
                "fill_id": fill.fill_id,
                "venue_id": venue_id,
                "client_id": ticket.client_id,
                "symbol": ticket.symbol,
                "side": ticket.side.value,
                "qty": plain(fill.qty),
                "price": plain(fill.price),
                "funds": plain(fill.price * fill.qty),
                "fee": plain(fill.fee),
                "at": fill.at.isoformat(),
            }
        )
    return rows
