"""Fetching splits and dividends of shares from a venue into storage: when it is asked, and for which days."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from quant_pipeline.core.anchor import required_history
from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.indicators.compute import max_warmup
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, record_versions
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.versions import current_versions
from quant_pipeline.venues.errors import VenueError
from quant_pipeline.venues.protocols import AnnouncedAction

STEP = "corporate_actions"
ANNOUNCED_AHEAD = timedelta(days=30)
"""How far after the last session ex-dates are asked for: an action known early is in force on time."""


@dataclass(frozen=True, slots=True)
class CollectedActions:
    """How many actions were new or corrected; `problem` says why a tick could not ask, "" otherwise."""

    recorded: int = 0
    problem: str = ""


def collect_actions(
    desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext
) -> CollectedActions:
    """Ask for the actions of everything that bars of `sessions` are compared with, and record what is new.

    A range asks once. Ticks ask until one was answered in their session: a split is known before its first exit is
    judged. A tick that gets no answer goes on and says so, because stops must be judged; a split that it does not know
    of then stops the symbol's orders as an unexplained jump.

    Raises:
        VenueError: a range got no answer.
    """
    source = desk.venue(market).actions
    if source is None or (context.tick and _asked(desk, market, sessions[-1])):
        return CollectedActions()
    symbols = market.symbols if context.symbols is None else context.symbols
    try:
        found = source.actions(symbols, _first_day(market, sessions[0]), sessions[-1] + ANNOUNCED_AHEAD)
    except VenueError as error:
        if not context.tick:
            raise
        return CollectedActions(problem=str(error))
    recorded = record_actions(desk.db, [_row(market, action, context) for action in found])
    if context.symbols is None:
        _remember(desk, market, sessions[-1], found, context)
    return CollectedActions(recorded)


def _first_day(market: MarketSettings, session: date) -> date:
    """The oldest day whose bars take part in anything about `session`: windows, and the rows that models learn from."""
    warmup = max(max_warmup(), FEATURE_SET.warmup_bars(market.bars_per_day))
    per_year = market.market.sessions_per_year
    reached = required_history(session, warmup, market.decision_interval, sessions_per_year=per_year)
    return min(reached, market.history_start)


def _asked(desk: Desk, market: MarketSettings, session: date) -> bool:
    return (session, "") in current_versions(desk.db, market.name, STEP, [session])


def _remember(
    desk: Desk, market: MarketSettings, session: date, found: Sequence[AnnouncedAction], context: RunContext
) -> None:
    """Keep what the venue said in a session as a data version of it."""
    said = combine_hashes(*(f"{a.symbol}|{a.ex_date}|{a.kind}|{a.ratio}|{a.amount}" for a in found))
    record_versions(desk, market.name, STEP, {(session, ""): said}, {(session, ""): said}, "", "", context)


def _row(market: MarketSettings, action: AnnouncedAction, context: RunContext) -> CorporateAction:
    return CorporateAction(
        market=market.name,
        symbol=action.symbol,
        ex_date=action.ex_date,
        kind=action.kind,
        ratio=action.ratio,
        amount=action.amount,
        currency=action.currency,
        source=market.market.venue,
        known_at=context.now,
    )
