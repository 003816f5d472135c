"""Verdicts of sessions whose own bars stayed, but rest on a jump that is none any more, or on one that is new.

A jump makes the sessions after it doubtful. A corrected bar, or a split that one learns of late, lifts or makes it: these
sessions are then to be judged again. Judging itself belongs to `quality.py`.
"""

from __future__ import annotations

from collections.abc import Collection
from datetime import date, datetime, timedelta

from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.actions import DISTRUST_SESSIONS, distrusted, has_actions, jumps_before
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.quality import JUMP
from quant_pipeline.steps.tables import Key
from quant_pipeline.storage.bar_quality import judged_before_split, read_quality

_REACH = DISTRUST_SESSIONS + 1
"""Sessions from a changed bar on that may rest on a jump from or to it."""


def outdated_verdicts(
    desk: Desk, market: MarketSettings, changed: Collection[Key], before: date, now: datetime
) -> frozenset[Key]:
    """The (session, symbol) before `before` whose verdict says of a jump what is not so now.

    Looked at are sessions up to a month after `changed` ones, and verdicts that are older than a split that one knows.
    """
    if not has_actions(market):
        return frozenset()
    asked = set(judged_before_split(desk.db, market.name, market.symbols, JUMP, days=3 * DISTRUST_SESSIONS))
    asked |= {(day, symbol) for session, symbol in changed for day in _after(market, session)}
    asked = {key for key in asked if market.history_start <= key[0] < before and key[1] in market.symbols}
    if not asked:
        return frozenset()
    sessions = sorted({session for session, _ in asked})
    jumps = jumps_before(desk, market, sessions, closed_by=now)
    doubtful = {(session, symbol) for symbol, session in distrusted(market, jumps, sessions)}
    rows = read_quality(desk.db, market.name, market.symbols, sessions[0], sessions[-1])
    said = {(row.session, row.symbol): JUMP in row.rules.split(",") for row in rows}
    return frozenset(key for key in asked if key in said and said[key] != (key in doubtful))


def _after(market: MarketSettings, session: date) -> tuple[date, ...]:
    last = session + timedelta(days=2 * _REACH)
    return calendar.sessions(market.market.calendar, session, last)[: _REACH + 1]
