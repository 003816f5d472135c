"""Rolling the shadow book over sessions, from the stored state before the first; and storing what came out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quant_pipeline.core.adjust import PriceAction
from quant_pipeline.core.trading.shadow import ShadowBars, ShadowResult, roll_shadow
from quant_pipeline.core.trading.state import BookState, state_from_bytes, state_hash, state_to_bytes
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.grids import Grid, cut
from quant_pipeline.steps.params import trading_params
from quant_pipeline.storage.rolled import RolledEquity, RolledState, put_rolled
from quant_pipeline.storage.shadow import get_shadow_state, last_shadow_session


class MissingSessionError(RuntimeError):
    """A session between the shadow book so far and the first one of a run was never decided, so the book cannot follow."""


@dataclass(frozen=True, slots=True)
class RolledSession:
    """One session of the shadow book: the positions of its bars in the grid, what happened, the state's hash before."""

    session: date
    rows: NDArray[np.intp]
    result: ShadowResult
    opening: BookState
    opening_hash: str


def opening_state(desk: Desk, market: MarketSettings, first: date) -> BookState:
    """The book at the open of `first`: the state after the session before, or the capital where the book begins.

    It begins at the earliest session that was ever decided, which need not be the first partition: a desk starts with
    its recent past, and older sessions are decided when a person asks for them.

    Raises:
        MissingSessionError: earlier sessions were decided, but not the one before; the message names what is missing.
    """
    name = market.market.calendar
    newest = last_shadow_session(desk.db, market.name, first) if first > market.history_start else None
    if newest is None:
        return BookState(cash=market.capital)
    before = calendar.previous_session(name, first)
    stored = get_shadow_state(desk.db, market.name, before)
    if stored is None:
        msg = (
            f"the shadow book of {market.name} has no state after {before}, so {first} cannot follow it; "
            f"materialize {market.name}/decisions from {calendar.next_session(name, newest)} to {before} first"
        )
        raise MissingSessionError(msg)
    return state_from_bytes(stored)


def roll_sessions(
    market: MarketSettings,
    grid: Grid,
    sessions: Sequence[date],
    opening: BookState,
    actions: Sequence[PriceAction] = (),
) -> Iterator[RolledSession]:
    """Roll session by session, each from the state that the one before left. Nothing is stored here.

    `grid` must have every symbol of the `opening` state. Each of `actions` takes effect before the first bar from its
    ex-date on.
    """
    state = opening
    for session in sessions:
        rows = grid.rows_of(session)
        before, before_hash = state, state_hash(state)
        bars = _with_actions(cut(grid, rows), actions, state.session, session)
        result = roll_shadow(bars, state, trading_params(market, session))
        state = result.state
        yield RolledSession(session, rows, result, before, before_hash)


def _with_actions(bars: ShadowBars, actions: Sequence[PriceAction], rolled: int, session: date) -> ShadowBars:
    """The bars of `session` with what happened since session `rolled` (date ordinal) before the first of them."""
    due = [a for a in actions if rolled < a.ex_date.toordinal() <= session.toordinal()]
    if not due or not len(bars.start_ns):
        return bars
    place = {symbol: column for column, symbol in enumerate(bars.inputs.symbols)}
    split, dividend = np.ones(bars.open.shape), np.zeros(bars.open.shape)
    for action in sorted(a for a in due if a.symbol in place):
        column = place[action.symbol]
        if action.kind == "split":
            split[0, column] *= action.value
        else:
            dividend[0, column] += action.value
    return replace(bars, split=split, dividend=dividend)


def store_rolled(desk: Desk, market: MarketSettings, grid: Grid, rolled: Sequence[RolledSession]) -> None:
    """Store state and closing equity of each session, all together."""
    rows = [
        RolledState(part.session, state_to_bytes(part.result.state), state_hash(part.result.state), _equity(grid, part))
        for part in rolled
    ]
    put_rolled(desk.db, market.name, Book.SHADOW, rows)


def _equity(grid: Grid, part: RolledSession) -> RolledEquity | None:
    if not len(part.rows):
        return None
    closes = pd.Timestamp(grid.closes_at[part.rows[-1]], tz="UTC").to_pydatetime()
    cash, equity = (Decimal(repr(float(values[-1]))) for values in (part.result.cash, part.result.equity))
    return RolledEquity(closes, cash, equity)
