"""When and at what price an order meets the bars. Pure: an order, bars and a time in, the next event out. No balances.

An order is matched against bars that open at or after its arrival, never against the one in which it arrived. What it
takes is filled at the open, half a spread against it; what rests is filled at its limit when a later price touches it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_DOWN, Decimal
from enum import StrEnum

import numpy as np

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import DAY
from quant_pipeline.exchange.feed import Feed, exact
from quant_pipeline.exchange.orders import Force, Kind, SimOrder


class EventKind(StrEnum):
    """What happens to an order."""

    FILL = "fill"
    CANCEL = "cancel"
    EXPIRE = "expire"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class Event:
    """The next thing that happens to an order, at `at` (epoch seconds).

    `last` says that nothing more can follow this fill in the same order. `look_from` is where matching goes on.
    """

    kind: EventKind
    at: int
    look_from: int
    price: Decimal = Decimal(0)
    qty: Decimal = Decimal(0)
    last: bool = False


@dataclass(frozen=True, slots=True)
class MatchRules:
    """`qty_decimals` is the venue's lot; `max_participation` caps a fill to a part of a bar's volume (None: none)."""

    qty_decimals: int
    max_participation: Decimal | None = None


def next_event(order: SimOrder, feed: Feed, rules: MatchRules, now: int) -> Event:
    """The first event of an open order up to `now`; `EventKind.NOTHING` with a later `look_from` when there is none."""
    expires = None if order.expires_at is None else int(order.expires_at.timestamp())
    until = now if expires is None else min(now, expires - 1)
    look_from = order.looked_until
    for bars in _windows(feed, order.ticket.symbol, look_from, until):
        event = _first_touch(order, feed, rules, bars, now)
        if event is not None:
            return event
        seen = bars.closes <= now
        look_from = max(look_from, int(bars.closes[seen][-1])) if seen.any() else look_from
    if expires is not None and expires <= now:
        return Event(EventKind.EXPIRE, expires, expires)
    return Event(EventKind.NOTHING, now, look_from)


def _windows(feed: Feed, symbol: str, start: int, until: int) -> Iterator[BarColumns]:
    """The bars that open in [start, until], a day at a time, without empty days."""
    while start <= until:
        stop = min(start + DAY - 1, until)
        bars = feed.matchable(symbol, start, stop)
        if len(bars):
            yield bars
        start = stop + 1


def _first_touch(order: SimOrder, feed: Feed, rules: MatchRules, bars: BarColumns, now: int) -> Event | None:
    """The first event within these bars."""
    ticket = order.ticket
    if ticket.kind is Kind.MARKET or _is_fresh(order):
        event = _arrival(order, feed, rules, bars)
        if event is not None:
            return event
    if ticket.kind is Kind.MARKET or ticket.limit_price is None:
        return None
    limit = float(ticket.limit_price)
    touched = (bars.low <= limit) if ticket.side is Side.BUY else (bars.high >= limit)
    hits = np.flatnonzero(touched & (bars.closes <= now))
    if not len(hits):
        return None
    hit = int(hits[0])
    close = int(bars.closes[hit])
    return _fill(order, rules, ticket.limit_price, float(bars.volume[hit]), at=close, look_from=close)


def _is_fresh(order: SimOrder) -> bool:
    """Whether no bar has been matched since the order arrived."""
    return order.looked_until == arrival_second(order)


def arrival_second(order: SimOrder) -> int:
    """The first whole second at which a bar that opens then still follows the order."""
    stamp = order.submitted_at.timestamp()
    return int(stamp) + (stamp > int(stamp))


def _arrival(order: SimOrder, feed: Feed, rules: MatchRules, bars: BarColumns) -> Event | None:
    """What happens when the order meets the open of the first bar: a fill, a cancel, or (None) it goes on to rest."""
    ticket, at = order.ticket, int(bars.opens[0])
    opening = exact(bars.open[0])
    bid, ask = feed.spread(opening)
    price = ask if ticket.side is Side.BUY else bid
    if ticket.limit_price is not None:
        buys = ticket.side is Side.BUY
        marketable = opening <= ticket.limit_price if buys else opening >= ticket.limit_price
        if not marketable:
            return Event(EventKind.CANCEL, at, at) if ticket.force in (Force.IOC, Force.FOK) else None
        if ticket.force is Force.POST_ONLY:
            return Event(EventKind.CANCEL, at, at)
        price = min(price, ticket.limit_price) if buys else max(price, ticket.limit_price)
    return _fill(order, rules, price, float(bars.volume[0]), at=at, look_from=at + 1)


def _fill(order: SimOrder, rules: MatchRules, price: Decimal, volume: float, *, at: int, look_from: int) -> Event:
    """A fill at `price` of what is wanted, or of what the bar's volume allows."""
    lot = Decimal(1).scaleb(-rules.qty_decimals)
    ticket = order.ticket
    if ticket.qty is not None:
        wanted = ticket.qty - order.filled_qty
    else:
        wanted = (((ticket.funds or Decimal(0)) - order.filled_funds) / price).quantize(lot, ROUND_DOWN)
    allowed = wanted
    if rules.max_participation is not None:
        allowed = min(wanted, (Decimal(repr(volume)) * rules.max_participation).quantize(lot, ROUND_DOWN))
    if allowed <= 0 or (ticket.force is Force.FOK and allowed < wanted):
        stays = allowed < wanted and ticket.force not in (Force.IOC, Force.FOK)
        return Event(EventKind.NOTHING if stays else EventKind.CANCEL, at, look_from)
    return Event(EventKind.FILL, at, look_from, price, allowed, last=allowed == wanted or ticket.force is Force.IOC)
