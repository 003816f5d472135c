"""Ids of decisions and orders, derived from what they stand for; nothing here is random or counts anything."""

from __future__ import annotations

import re
from datetime import UTC, datetime

from quant_pipeline.core.identity.content import combine_hashes

_DECISION_LENGTH = 32
_MAX_ATTEMPT = 9999
_LEG_CODES = {
    "entry": "en",
    "exit": "ex",
    "stop_loss": "sl",
    "take_profit": "tp",
    "rebalance_out": "ro",
    "rebalance_in": "ri",
}
_CLIENT_ORDER_ID = re.compile(r"(?P<decision>[0-9a-f]{32})-(?P<leg>[a-z]{2})-(?P<attempt>[1-9][0-9]{0,3})")


def decision_id(
    market: str, book: str, symbol: str, bar_ts: datetime, inputs_hash: str, origin: str, version: int
) -> str:
    """Id (32 hex digits) of one decision row: equal inputs give the equal id, any other input another one.

    Raises:
        ValueError: `bar_ts` has no time zone.
    """
    if bar_ts.tzinfo is None:
        msg = f"bar_ts {bar_ts} of {symbol} has no time zone; pass an aware time"
        raise ValueError(msg)
    stamp = bar_ts.astimezone(UTC).isoformat(timespec="microseconds")
    digest = combine_hashes("decision", market, book, symbol, stamp, inputs_hash, origin, str(version))
    return digest[:_DECISION_LENGTH]


def client_order_id(decision: str, leg: str, attempt: int) -> str:
    """Our id of an order at a venue: `<decision>-<leg code>-<attempt>`, at most 40 of [a-z0-9-].

    Fits Alpaca's `client_order_id` (128 characters) and Upbit's `identifier`; both must never be used twice. A doubtful
    order is asked for, and if need be sent again, under the same attempt; a deliberate second try is the next attempt.

    Raises:
        ValueError: the decision is not an id of `decision_id`, the leg is unknown, or the attempt is not 1..9999.
    """
    code = _LEG_CODES.get(leg)
    if code is None:
        msg = f"unknown order leg {leg!r}; use one of {', '.join(_LEG_CODES)}"
        raise ValueError(msg)
    if not 1 <= attempt <= _MAX_ATTEMPT:
        msg = f"attempt {attempt} of order {decision}-{code} is not between 1 and {_MAX_ATTEMPT}"
        raise ValueError(msg)
    client_id = f"{decision}-{code}-{attempt}"
    if _CLIENT_ORDER_ID.fullmatch(client_id) is None:
        msg = f"{decision!r} is not a decision id (32 hex digits)"
        raise ValueError(msg)
    return client_id


def decision_of_order(client_id: str) -> str | None:
    """The decision that a client order id names, or None when the id is not one of ours."""
    match = _CLIENT_ORDER_ID.fullmatch(client_id)
    return None if match is None else match["decision"]
