"""Upbit's request budgets and how its answers report them. Waiting is done by the limiter.

Budgets are per second and per group: quotations are counted per IP address, the rest per account. The `min` of the
header is a dummy. Going on after 429 leads to 418 and a block whose length grows, so a 418 holds everything of its
group back for a minute.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from quant_pipeline.venues.budgets import Announcement, Budget

WINDOW = 1.0
PENALTY = 60.0
PLACEHOLDER = "group=default; min=1; sec=1"
"""What pyupbit is shown when the header is missing or odd: it would turn a good answer into None."""

QUOTATIONS = {group: Budget(10, WINDOW) for group in ("candles", "ticker", "orderbook", "market", "default")}
"""Budgets of public requests until the first answer."""

ACCOUNT = {"default": Budget(30, WINDOW), "order": Budget(8, WINDOW)}
"""Budgets of one account until the first answer. Orders have their own, so nothing else makes them wait."""

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


def announced(status: int, headers: Mapping[str, str]) -> Announcement:
    """What an answer says about its group. The limit itself is in no header, only what is left of it."""
    retry_after = headers.get("Retry-After", "")
    stated = float(retry_after) if retry_after.isdigit() else None
    pause = {418: PENALTY, 429: WINDOW}.get(status, 0.0)
    if pause and stated is not None:
        pause = stated
    return Announcement(remaining=remaining(headers), resets_in=WINDOW, pause=pause)
