"""What a failed answer of Upbit means, as the desk's own errors. Branching is on `error.name`, not on the status alone.

On quotation endpoints `name` is an integer, on the others a word. Only a refusal with a word, in Upbit's own form,
counts as a refusal of an order.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from quant_pipeline.venues.errors import (
    AuthenticationFailed,
    BadRequest,
    DuplicateOrder,
    OrderInDoubt,
    OrderRejected,
    RateLimited,
    UnknownSymbol,
    VenueError,
    VenueUnavailable,
)

if TYPE_CHECKING:
    from quant_pipeline.core.values import OrderRequest

ORDER_NOT_FOUND = "order_not_found"
_REFUSALS = frozenset({400, 403, 404, 409, 422})
_UNKNOWN_MARKET = frozenset({"notfoundmarket", "market_does_not_exist", "invalid_market"})


def read_error(status: int, body: str, asked: str, *, symbol: str = "") -> VenueError:
    """The error for a call that changes nothing. `asked` says what was asked for; `symbol` names it for a 404."""
    name, message = facts(body)
    common = _common(status, name, message, asked)
    if common is not None:
        return common
    if symbol and message is not None and (status == 404 or name in _UNKNOWN_MARKET):
        return UnknownSymbol(symbol, message)
    if 400 <= status < 500 and message is not None:
        return BadRequest(f"{asked}: Upbit answered {status} ({name}): {message}")
    return VenueUnavailable(f"{asked}: Upbit answered {status}: {_short(body)}")


def submit_error(status: int, body: str, request: OrderRequest) -> VenueError:
    """The error for an order. Anything that is not Upbit's own readable refusal leaves a doubt."""
    name, message = facts(body)
    asked = f"order {request.client_id}"
    common = _common(status, name, message, asked)
    if common is not None:
        return common
    if status not in _REFUSALS or message is None or name is None or name.isdigit():
        return OrderInDoubt(f"{asked}: Upbit answered {status}: {_short(body)}")
    if "identifier" in name:
        return DuplicateOrder(request.client_id)
    if name in _UNKNOWN_MARKET:
        return UnknownSymbol(request.symbol, message)
    return OrderRejected(name, message)


def _common(status: int, name: str | None, message: str | None, asked: str) -> VenueError | None:
    if status == 429:
        return RateLimited(None, asked)
    if status == 418:
        return RateLimited(None, f"{asked}: Upbit blocks this client for going on after 429")
    if message is not None and (status == 401 or name == "out_of_scope"):
        return AuthenticationFailed(
            f"{asked}: Upbit refused the keys ({name}: {message}); check access key, secret, address list and scopes"
        )
    return None


def facts(body: str) -> tuple[str | None, str | None]:
    """Upbit's error name (an integer as its digits) and message; None when the body is not Upbit's."""
    try:
        answer = json.loads(body)
    except ValueError:
        return None, None
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return None, None
    name, message = error.get("name"), error.get("message")
    return None if name is None else str(name), None if name is None and message is None else str(message)


def _short(body: str) -> str:
    return " ".join(body.split())[:200] or "(empty body)"
