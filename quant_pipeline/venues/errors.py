"""Everything that can go wrong between us and an exchange, as types. What to do about it belongs to the caller.

Texts name the value and the remedy, and never hold a key, a secret or an authorisation header.
"""

# ruff: noqa: N818 - the names say what happened; that they are errors is said by the base class

from __future__ import annotations

_TEXT_LIMIT = 300


class VenueError(Exception):
    """Any failure at, or on the way to, an exchange."""


class OrderRejected(VenueError):
    """The exchange refused the order, in its own words. No order exists from this request."""

    def __init__(self, code: str, message: str) -> None:
        """`code` is the exchange's own error code or name."""
        super().__init__(f"order refused ({code}): {message}")
        self.code = code
        self.message = message


class DuplicateOrder(VenueError):
    """The exchange already knows an order with this client id: look it up."""

    def __init__(self, client_id: str) -> None:
        """`client_id` is the id that was sent again."""
        super().__init__(f"the exchange already has an order with id {client_id}")
        self.client_id = client_id


class OrderInDoubt(VenueError):
    """The request may have reached the exchange and no readable answer came back: the order may or may not exist."""

    def __init__(self, cause: str) -> None:
        """`cause` says what came instead of an answer."""
        super().__init__(f"the order may or may not exist: {cause}")
        self.cause = cause


class RateLimited(VenueError):
    """The exchange, or our own limiter before it, refused the request for coming too soon. It was not carried out."""

    def __init__(self, retry_after: float | None, message: str = "") -> None:
        """`retry_after` is in seconds, None when unknown."""
        wait = "an unknown time" if retry_after is None else f"{retry_after:.1f} s"
        super().__init__(f"too many requests, wait {wait}{': ' + message if message else ''}")
        self.retry_after = retry_after


class AuthenticationFailed(VenueError):
    """The exchange did not accept the keys, or the keys lack a permission. The request was not carried out."""


class WrongAccount(AuthenticationFailed):
    """The keys belong to another account than the one that the settings name."""


class VenueUnavailable(VenueError):
    """No usable answer to a request that changes nothing: timeout, dropped connection, 5xx, unreadable body."""


class BadRequest(VenueError):
    """The request cannot be right: our own check or the exchange says so. Nothing was sent, or nothing was done."""


class UnknownSymbol(VenueError):
    """The exchange does not know a symbol."""

    def __init__(self, symbol: str, message: str = "") -> None:
        """`symbol` is what was asked for (several are joined with a comma)."""
        super().__init__(f"the exchange does not know {symbol}{': ' + message if message else ''}")
        self.symbol = symbol


class UnknownOrder(VenueError):
    """The exchange does not know the order that should be cancelled."""

    def __init__(self, client_id: str) -> None:
        """`client_id` is the id that was asked for."""
        super().__init__(f"the exchange has no order with id {client_id}")
        self.client_id = client_id


def cause_text(error: BaseException) -> str:
    """The class and text of `error` in one line of at most 300 characters."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}"[:_TEXT_LIMIT]
