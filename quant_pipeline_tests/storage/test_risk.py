"""Risk state: survives, is not lifted by a straggler, and its events stay."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ledger import RiskEvent, RiskState, put_risk_state, risk_events, risk_state
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, SESSION, later

_STATE = RiskState(MARKET, BOOK, SESSION, Decimal(1000), Decimal("-5.5"), Decimal(999), None, None, "", AT)
_HALTED = replace(_STATE, tripped_at=later(5), halted_until=later(1445), reason="daily_loss", updated_at=later(5))
_TRIPPED = RiskEvent(MARKET, BOOK, later(5), "halt", "critical", {"loss": -0.021, "limit": -0.02})


def test_state_survives_with_its_events(database: Database) -> None:
    assert risk_state(database, MARKET, BOOK) is None
    assert put_risk_state(database, _STATE)
    assert put_risk_state(database, _HALTED, events=[_TRIPPED])
    assert risk_state(database, MARKET, BOOK) == _HALTED
    assert risk_state(database, MARKET, "live") is None
    assert risk_events(database, MARKET, BOOK, AT, later(10)) == (_TRIPPED,)
    assert risk_events(database, MARKET, BOOK, AT, later(5)) == ()


def test_straggler_cannot_lift_a_halt_nor_report_an_event(database: Database) -> None:
    put_risk_state(database, _HALTED)
    late = replace(_STATE, updated_at=later(4))
    assert not put_risk_state(database, late, events=[_TRIPPED])
    assert risk_state(database, MARKET, BOOK) == _HALTED
    assert risk_events(database, MARKET, BOOK, AT, later(60)) == ()


def test_state_without_its_event_is_not_stored(database: Database) -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        put_risk_state(database, _HALTED, events=[replace(_TRIPPED, detail={"loss": float("nan")})])
    assert risk_state(database, MARKET, BOOK) is None


def test_reading_changes_nothing(database: Database) -> None:
    put_risk_state(database, _STATE)
    assert [risk_state(database, MARKET, BOOK) for _ in range(3)] == [_STATE] * 3
