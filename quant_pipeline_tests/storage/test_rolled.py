"""What rolling the shadow book leaves behind."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.equity import equity_curve
from quant_pipeline.storage.rolled import RolledEquity, RolledState, put_rolled
from quant_pipeline.storage.shadow import get_shadow_state, shadow_state_hashes
from quant_pipeline_tests.storage.builders import AT, MARKET, SESSION, later

_NEXT = date(2024, 5, 2)
_FIRST = RolledState(SESSION, b"one", "h1", RolledEquity(AT, Decimal("40.5"), Decimal(100)))
_SECOND = RolledState(_NEXT, b"two", "h2", None)


def test_states_and_equity_are_stored_together(database: Database) -> None:
    put_rolled(database, MARKET, "shadow", [_FIRST, _SECOND])
    assert shadow_state_hashes(database, MARKET, SESSION, _NEXT) == {SESSION: "h1", _NEXT: "h2"}
    curve = equity_curve(database, MARKET, "shadow", AT, later(1))
    assert curve[["cash", "positions_value", "equity"]].to_numpy().tolist() == [[40.5, 59.5, 100.0]]


def test_rolling_again_replaces(database: Database) -> None:
    put_rolled(database, MARKET, "shadow", [_FIRST])
    again = RolledEquity(AT, Decimal(1), Decimal(2))
    put_rolled(database, MARKET, "shadow", [replace(_FIRST, state=b"1", content_hash="h", equity=again)])
    assert get_shadow_state(database, MARKET, SESSION) == b"1"
    assert equity_curve(database, MARKET, "shadow", AT, later(1))["equity"].tolist() == [2.0]


def test_unsound_equity_stores_nothing(database: Database) -> None:
    broken = replace(_FIRST, equity=RolledEquity(AT, Decimal(0), Decimal("NaN")))
    with pytest.raises(ValueError, match="NaN"):
        put_rolled(database, MARKET, "shadow", [_SECOND, broken])
    assert get_shadow_state(database, MARKET, _NEXT) is None
    put_rolled(database, MARKET, "shadow", [])
