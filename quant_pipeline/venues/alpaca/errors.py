"""What a failed call of alpaca-py means, as the desk's own errors. Which calls are made is decided elsewhere.

Codes and texts: recorded answers, and Alpaca's documentation. `40010001` is Alpaca's general "unprocessable request":
a client order id that was used before is told from other cases by the text.
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
    cause_text,
)

if TYPE_CHECKING:
    from alpaca.common.exceptions import APIError

    from quant_pipeline.core.values import OrderRequest

NOT_FOUND = "40410000"
_REFUSALS = frozenset({400, 403, 404, 422})


def read_error(error: APIError, asked: str) -> VenueError:
    """The error for a call that changes nothing. `asked` says what was asked for, for the text."""
    status, code, message = facts(error)
    common = _common(status, code, message, asked)
    if common is not None:
        return common
    if status is not None and 400 <= status < 500 and message is not None:
        if status == 403 and "subscription" in message:
            return BadRequest(f"{asked}: {message}; this account's plan does not have the feed, use feed 'iex'")
        if "invalid symbol" in message or "not found for" in message:
            return UnknownSymbol(asked, message)
        return BadRequest(f"{asked}: Alpaca answered {status} ({code or 'no code'}): {message}")
    return VenueUnavailable(f"{asked}: Alpaca answered {status}: {cause_text(error)}")


def submit_error(error: APIError, request: OrderRequest) -> VenueError:
    """The error for an order. Only Alpaca's own readable refusal counts as one; everything else leaves a doubt."""
    status, code, message = facts(error)
    asked = f"order {request.client_id}"
    common = _common(status, code, message, asked)
    if common is not None:
        return common
    if status not in _REFUSALS or message is None:
        return OrderInDoubt(f"{asked}: Alpaca answered {status}: {cause_text(error)}")
    if "client_order_id" in message:
        return DuplicateOrder(request.client_id)
    if "asset" in message and ("not found" in message or "could not find" in message):
        return UnknownSymbol(request.symbol, message)
    return OrderRejected(code or str(status), message)


def _common(status: int | None, code: str | None, message: str | None, asked: str) -> VenueError | None:
    if status == 429:
        return RateLimited(None, asked)
    if status == 401 or (status == 403 and code is None and message is not None and "subscription" not in message):
        return AuthenticationFailed(
            f"{asked}: Alpaca refused the keys ({message}); check key, secret, and that they belong to this address"
        )
    return None


def facts(error: APIError) -> tuple[int | None, str | None, str | None]:
    """HTTP status, Alpaca's code, Alpaca's message; the last two are None when the body is not Alpaca's.

    alpaca-py's own properties parse the body each time and fail on HTML or on a missing key.
    """
    try:
        body = json.loads(str(error))
    except ValueError:
        return error.status_code, None, None
    if not isinstance(body, dict) or not isinstance(body.get("message"), str):
        return error.status_code, None, None
    code = body.get("code")
    return error.status_code, None if code is None else str(code), body["message"]
