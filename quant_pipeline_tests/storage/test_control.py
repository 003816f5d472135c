"""The trading switch."""

from __future__ import annotations

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ledger import (
    ALL_MARKETS,
    Control,
    ControlState,
    control,
    control_history,
    control_state,
    set_control_state,
)
from quant_pipeline_tests.storage.builders import AT, MARKET, later


def _turn(db: Database, market: str, state: ControlState, minutes: float = 0) -> None:
    set_control_state(db, market, state, actor="me", note=f"{state} {market}", at=later(minutes))


def test_switch_never_turned_is_running(database: Database) -> None:
    assert control_state(database, MARKET) is ControlState.RUNNING
    assert control(database, MARKET) is None


def test_last_turn_counts_and_history_keeps_all(database: Database) -> None:
    for minutes, state in enumerate((ControlState.PAUSED, ControlState.RUNNING, ControlState.DRAINING)):
        _turn(database, MARKET, state, minutes)
    assert control_state(database, MARKET) is ControlState.DRAINING
    assert control_state(database, "krw_crypto") is ControlState.RUNNING
    assert [turn.state for turn in control_history(database, MARKET)] == ["draining", "running", "paused"]
    newest = Control(MARKET, ControlState.DRAINING, "me", "draining us_equity", later(2))
    assert control_history(database, MARKET, limit=1) == (newest,)


def test_turn_with_an_older_clock_still_counts_as_the_last(database: Database) -> None:
    _turn(database, MARKET, ControlState.RUNNING, 10)
    _turn(database, MARKET, ControlState.HALTED, 0)
    assert control_state(database, MARKET) is ControlState.HALTED


@pytest.mark.parametrize(
    ("own", "desk", "expected"),
    [
        ("running", "halted", "halted"),
        ("halted", "running", "halted"),
        ("paused", "draining", "draining"),
        ("paused", "paused", "paused"),
        ("running", "running", "running"),
    ],
)
def test_stricter_of_market_and_desk_is_in_force(database: Database, own: str, desk: str, expected: str) -> None:
    _turn(database, MARKET, ControlState(own))
    _turn(database, ALL_MARKETS, ControlState(desk))
    assert control_state(database, MARKET) == expected
    found = control(database, MARKET)
    assert found is not None
    assert found.note.startswith(expected)


def test_desk_switch_stops_markets_that_were_never_turned(database: Database) -> None:
    _turn(database, ALL_MARKETS, ControlState.HALTED)
    assert control_state(database, "new_market") is ControlState.HALTED


def test_state_that_does_not_exist_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="asleep"):
        set_control_state(database, MARKET, "asleep", actor="me", note="", at=AT)  # type: ignore[arg-type]
