"""Alpaca's corporate actions endpoint: the exchange's splits and dividends as the data API writes them."""

from __future__ import annotations

import uuid
from datetime import date
from typing import Any

from quant_pipeline.exchange.actions import ScriptedAction
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.markets.calendar import NEW_YORK

MOST = 1000
"""Rows of a page, and how many there are without a limit."""
_TYPES = (
    "forward_split", "reverse_split", "unit_split", "stock_dividend", "cash_dividend", "spin_off", "cash_merger",
    "stock_merger", "stock_and_cash_merger", "redemption", "name_change", "worthless_removal", "rights_distribution",
)  # fmt: skip


def corporate_action_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoint, bound to an exchange."""

    def answer(request: Request, _names: dict[str, str]) -> Reply:
        return corporate_actions(exchange, request)

    return (route("GET", "/v1/corporate-actions", answer, "data"),)


def corporate_actions(exchange: Exchange, request: Request) -> Reply:
    """Actions processed from `start` to `end` (both included, default: today) of `symbols`, by type, in pages.

    Every action here is processed on its ex-date.
    """
    today = exchange.now().astimezone(NEW_YORK).date()
    symbols = {s for s in (request.value("symbols") or "").split(",") if s}
    types = {s for s in (request.value("types") or "").split(",") if s} or set(_TYPES)
    limit, token = request.value("limit") or str(MOST), request.value("page_token") or "0"
    try:
        start, end = (date.fromisoformat(request.value(name) or today.isoformat()) for name in ("start", "end"))
    except ValueError as wrong:
        return json_reply(400, {"message": f"invalid date: {wrong}"})
    if not types <= set(_TYPES):
        return json_reply(400, {"message": f"invalid types: {', '.join(sorted(types - set(_TYPES)))}"})
    if not (limit.isdigit() and 1 <= int(limit) <= MOST and token.isdigit()):
        return json_reply(400, {"message": f"invalid limit or page_token: {limit}, {token}"})
    listed = [a for a in exchange.actions.all() if a.hidden_until is None or a.hidden_until <= today]
    rows = [_row(exchange, a) for a in listed if start <= a.ex_date <= end and (not symbols or a.symbol in symbols)]
    chosen = [(kind, row) for kind, row in rows if kind in types]
    if request.value("sort") == "desc":
        chosen.reverse()
    first, past = int(token), int(token) + int(limit)
    page: dict[str, list[dict[str, Any]]] = {}
    for kind, row in chosen[first:past]:
        page.setdefault(f"{kind}s", []).append(row)
    following = str(past) if past < len(chosen) else None
    return json_reply(200, {"corporate_actions": page, "next_page_token": following})


def _row(exchange: Exchange, action: ScriptedAction) -> tuple[str, dict[str, Any]]:
    """The type of an action and its row."""
    day = action.ex_date.isoformat()
    common = {"id": exchange.us.identifier("action", action.key), "symbol": action.symbol}
    dates = {"process_date": day, "ex_date": day, "record_date": day, "payable_date": day}
    cusip = uuid.uuid5(uuid.NAMESPACE_OID, action.symbol).hex[:9].upper()
    if action.ratio is None:
        rate = float(action.amount or 0)
        return "cash_dividend", {**common, "cusip": cusip, "rate": rate, "special": False, "foreign": False, **dates}
    rates = {"new_rate": action.ratio.numerator, "old_rate": action.ratio.denominator}
    if action.ratio > 1:
        return "forward_split", {**common, "cusip": cusip, **rates, **dates}
    return "reverse_split", {**common, "old_cusip": cusip, "new_cusip": cusip[::-1], **rates, **dates}
