"""The trading switch: one row says what a market may do, its history who turned it and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from quant_pipeline.storage.sql import insert_statement, select_list, values_of

if TYPE_CHECKING:
    from quant_pipeline.storage.database import Database

ALL_MARKETS = "*"
"""The market name under which the switch of the whole desk is kept."""


class ControlState(StrEnum):
    """What a market may do, from everything to nothing.

    `paused` sends no entries, `draining` also closes what it can, `halted` sends no orders at all.
    """

    RUNNING = "running"
    PAUSED = "paused"
    DRAINING = "draining"
    HALTED = "halted"


_SEVERITY = tuple(ControlState)


@dataclass(frozen=True, slots=True)
class Control:
    """One turn of the switch: which market (`*` for all), to what, by whom, why and when (aware)."""

    market: str
    state: ControlState
    actor: str
    note: str
    at: datetime


_SELECT = f"SELECT {select_list(Control)} FROM control_state"


def control_state(db: Database, market: str) -> ControlState:
    """What the market may do now: the stricter of its own switch and the desk's. A switch never turned is `running`."""
    found = control(db, market)
    return found.state if found is not None else ControlState.RUNNING


def control(db: Database, market: str) -> Control | None:
    """The turn of the switch in force for a market, or None if neither its own nor the desk's was ever turned."""
    sql = f"SELECT DISTINCT ON (market) {select_list(Control)} FROM control_state WHERE market = ANY(:markets)"
    with db.begin() as connection:
        rows = connection.execute(
            text(f"{sql} ORDER BY market, id DESC"), {"markets": [market, ALL_MARKETS]}
        ).mappings()
        turns = [Control(**(dict(row) | {"state": ControlState(row["state"])})) for row in rows]
    return max(turns, key=lambda turn: (_SEVERITY.index(turn.state), turn.market == market), default=None)


def set_control_state(db: Database, market: str, state: ControlState, *, actor: str, note: str, at: datetime) -> None:
    """Turn the switch of a market, or with `ALL_MARKETS` that of the desk; the same state again is recorded too."""
    values = values_of(Control(market, ControlState(state), actor, note, at))
    with db.begin() as connection:
        connection.execute(text(insert_statement("control_state", tuple(values))), values)


def control_history(db: Database, market: str, *, limit: int = 100) -> tuple[Control, ...]:
    """The last turns of a market's own switch, newest first."""
    sql = text(f"{_SELECT} WHERE market = :market ORDER BY id DESC LIMIT :limit")
    with db.begin() as connection:
        rows = connection.execute(sql, {"market": market, "limit": limit}).mappings()
        return tuple(Control(**(dict(row) | {"state": ControlState(row["state"])})) for row in rows)
