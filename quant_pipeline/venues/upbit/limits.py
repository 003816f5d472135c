"""Upbit's request budgets and how its answers report them. Waiting is done by the limiter.

Budgets are per second and per group. The `min` of the header is a dummy. Going on after 429 leads to 418 and a block
whose length grows, so a 418 holds everything of its group back for a minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

WINDOW = 1.0
PENALTY = 60.0
PLACEHOLDER = "group=default; min=1; sec=1"
"""What pyupbit is shown when the header is missing or odd: it would turn a good answer into None."""

_HEADER = re.compile(r"group=([a-z\-]+); min=([0-9]+); sec=([0-9]+)")
_GROUPS = {"candles": "candles", "ticker": "ticker", "orderbook": "orderbook", "market": "market"}


def group_of(method: str, path: str) -> str:
    """The budget that a request counts against, in Upbit's words."""
    if method == "POST" and path.startswith("/v1/orders"):
        return "order"
    return _GROUPS.get(path.removeprefix("/v1/").partition("/")[0], "default")


def remaining(headers: Mapping[str, str]) -> int | None:
    """Requests left in this second, None when the header is missing or odd."""
    found = _HEADER.search(headers.get("Remaining-Req", ""))
    return None if found is None else int(found.group(3))


def pause_seconds(status: int, headers: Mapping[str, str]) -> float:
    """How long to hold the group back after an answer."""
    retry_after = headers.get("Retry-After", "")
    stated = float(retry_after) if retry_after.isdigit() else None
    if status == 418:
        return PENALTY if stated is None else stated
    if status == 429:
        return WINDOW if stated is None else stated
    return WINDOW if remaining(headers) == 0 else 0.0
