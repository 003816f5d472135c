"""A dialect as one function from request to reply: admin, then limits, keys, the endpoint, and a line in the log."""

from __future__ import annotations

import json
from collections.abc import Awaitable
from email.utils import format_datetime
from typing import TYPE_CHECKING

from quant_pipeline.exchange.admin import admin_reply
from quant_pipeline.exchange.alpaca import words as alpaca_words
from quant_pipeline.exchange.alpaca.account import account_routes
from quant_pipeline.exchange.alpaca.auth import check_keys
from quant_pipeline.exchange.alpaca.corporate_actions import corporate_action_routes
from quant_pipeline.exchange.alpaca.data import data_routes
from quant_pipeline.exchange.alpaca.orders import order_routes
from quant_pipeline.exchange.alpaca.reference import reference_routes
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Answer, Handler, Reply, Request, json_reply, later
from quant_pipeline.exchange.limits import Admission, Allowance, Limiter
from quant_pipeline.exchange.routing import Route, find_route
from quant_pipeline.exchange.upbit import words as upbit_words
from quant_pipeline.exchange.upbit.auth import TokenCheck
from quant_pipeline.exchange.upbit.candles import candle_routes
from quant_pipeline.exchange.upbit.quotation import quotation_routes
from quant_pipeline.exchange.upbit.trading import trading_routes
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY

if TYPE_CHECKING:
    from quant_pipeline.exchange.live.market import LiveMarket

_QUOTATION_GROUPS = ("market", "candles", "ticker", "orderbook")
_ID_PARAMETERS = ("client_order_id", "identifier")


def alpaca_handler(exchange: Exchange) -> Handler:
    """What answers on Alpaca's port."""
    config = exchange.config
    routes = (
        *order_routes(exchange),
        *account_routes(exchange),
        *reference_routes(exchange),
        *data_routes(exchange),
        *corporate_action_routes(exchange),
    )
    limiter = Limiter(
        {
            "trading": Allowance(config.alpaca_trading_per_minute, 60.0),
            "data": Allowance(config.alpaca_data_per_minute, 60.0),
        }
    )

    def answer(request: Request) -> Answer:
        found = find_route(routes, request)
        group = "data" if request.path.startswith(("/v2/stocks", "/v1/corporate-actions")) else "trading"
        refused = check_keys(request, config.alpaca_key, config.alpaca_secret, data=group == "data")
        if refused is not None:
            return refused
        admission = limiter.admit(group)
        headers = {
            "X-RateLimit-Limit": str(admission.limit),
            "X-RateLimit-Remaining": str(admission.remaining),
            "X-RateLimit-Reset": str(int(admission.resets_at)),
        }
        if not admission.allowed:
            message: dict[str, object] = {"code": 42910000, "message": "rate limit exceeded"}
            return json_reply(429, {"message": "too many requests."} if group == "data" else message, headers)
        if found is None:
            return _with(alpaca_words.error(404, 40410000, "endpoint not found."), headers)
        live = exchange.live.get(US_EQUITY.name) if group == "data" else None
        return _with(_call(found, request, live), headers)

    return _logged(exchange, "alpaca", answer)


def upbit_handler(exchange: Exchange) -> Handler:
    """What answers on Upbit's port."""
    config = exchange.config
    private = trading_routes(exchange)
    routes = (*candle_routes(exchange), *quotation_routes(exchange), *private)
    quotation = Allowance(config.upbit_quotation_per_second, 1.0)
    limiter = Limiter(
        {
            **dict.fromkeys(_QUOTATION_GROUPS, quotation),
            "default": Allowance(config.upbit_exchange_per_second, 1.0),
            "order": Allowance(config.upbit_order_per_second, 1.0),
            "order-test": Allowance(config.upbit_order_per_second, 1.0),
            "order-cancel-all": Allowance(1, 2.0),
        },
        block_after=config.upbit_block_after,
    )
    tokens = TokenCheck(config.upbit_access_key, config.upbit_secret_key)

    def answer(request: Request) -> Answer:
        found = find_route(routes, request)
        if found is None:
            return upbit_words.quotation_error(404, "no Route matched with those values")
        chosen = found[0]
        public = chosen.group in _QUOTATION_GROUPS
        refused = None if public else tokens.refuse(request)
        if refused is not None:
            return refused
        admission = limiter.admit(chosen.group)
        headers = {"Remaining-Req": f"group={chosen.group}; min={admission.limit * 60}; sec={admission.remaining}"}
        if not admission.allowed:
            return _with(_too_many(admission, public=public), headers)
        live = exchange.live.get(KRW_CRYPTO.name) if public else None
        return _with(_call(found, request, live), headers)

    return _logged(exchange, "upbit", answer)


def _call(found: tuple[Route, dict[str, str]], request: Request, live: LiveMarket | None) -> Answer:
    """The endpoint's answer, or in a dry run the venue's. What wraps an endpoint, such as injected faults, belongs here."""
    chosen, names = found
    if live is not None and live.takes(request):
        return live.answer(request)
    return chosen.endpoint(request, names)


def _too_many(admission: Admission, *, public: bool) -> Reply:
    status, message = 429, upbit_words.MESSAGES["too_many_requests"]
    if admission.blocked_for > 0:
        status, message = 418, f"Too many API requests. Blocked for {admission.blocked_for:.0f} seconds."
    if public:
        return upbit_words.quotation_error(status, message)
    return upbit_words.error(status, "too_many_requests", message)


def _with(answer: Answer, headers: dict[str, str]) -> Answer:
    def add(reply: Reply) -> Reply:
        return Reply(reply.status, reply.body, {**reply.headers, **headers}, reply.content_type)

    return add(answer) if isinstance(answer, Reply) else later(answer, add)


def _logged(exchange: Exchange, dialect: str, answer: Handler) -> Handler:
    """The dialect with the admin API beside it and every other request in the log, failed ones too."""

    def log(request: Request, status: int) -> dict[str, str]:
        """A line in the log; the headers that every answer has."""
        at = exchange.clock.now()
        exchange.log.add(dialect, request.method, request.path, status, at, _client_id(request))
        # Upbit has no clock endpoint: clients take the venue's time from this header.
        return {"Date": format_datetime(at, usegmt=True)}

    async def wait(request: Request, awaited: Awaitable[Reply]) -> Reply:
        try:
            reply = await awaited
        except Exception:
            log(request, 500)
            raise
        return Reply(reply.status, reply.body, {**reply.headers, **log(request, reply.status)}, reply.content_type)

    def handle(request: Request) -> Answer:
        if request.path == "/admin" or request.path.startswith("/admin/"):
            return admin_reply(exchange, request)
        try:
            given = answer(request)
        except Exception:
            log(request, 500)
            raise
        return _with(given, log(request, given.status)) if isinstance(given, Reply) else wait(request, given)

    return handle


def _client_id(request: Request) -> str | None:
    """The idempotency key that a request names, in its query or its JSON body."""
    for name in _ID_PARAMETERS:
        value = request.value(name)
        if value:
            return value
    if not request.body.startswith(b"{"):
        return None
    try:
        content = json.loads(request.body)
    except ValueError:
        return None
    found = next((content.get(name) for name in _ID_PARAMETERS if content.get(name)), None)
    return found if isinstance(found, str) else None
