"""Cash flows and the balance."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderState
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.errors import LedgerConflictError
from quant_pipeline.storage.ledger import CashFlow, cash, cash_flows, record_cash, record_order
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, fill, later, planned, report


def test_balance_is_flows_and_fills_up_to_a_time(database: Database) -> None:
    assert cash(database, MARKET, BOOK) == 0
    record_cash(database, MARKET, BOOK, AT, Decimal("1000.10"), "opening", "start")
    record_cash(database, MARKET, BOOK, later(10), Decimal("-0.10"), "withdrawal", "w1")
    asked = planned(database, "a")
    record_order(database, "a", report(asked, OrderState.FILLED, fill("f", "10", "50", "1", minutes=5)), later(20))
    assert cash(database, MARKET, BOOK) == Decimal("499.00")
    assert cash(database, MARKET, BOOK, at=later(4)) == Decimal("1000.10")
    assert cash(database, MARKET, BOOK, at=later(5)) == Decimal("499.10")
    assert cash(database, MARKET, BOOK, at=later(-1)) == 0
    assert cash(database, "krw_crypto", BOOK) == 0


def test_flow_is_recorded_once(database: Database) -> None:
    assert record_cash(database, MARKET, BOOK, AT, Decimal(100), "deposit", "d1")
    assert not record_cash(database, MARKET, BOOK, later(1), Decimal("100.00"), "deposit", "d1")
    assert record_cash(database, MARKET, BOOK, later(1), Decimal(100), "dividend", "d1")
    assert cash(database, MARKET, BOOK) == 200
    with pytest.raises(LedgerConflictError, match="with 100, not 101"):
        record_cash(database, MARKET, BOOK, AT, Decimal(101), "deposit", "d1")


def test_flows_of_a_span_are_listed_oldest_first(database: Database) -> None:
    record_cash(database, MARKET, BOOK, later(1), Decimal(2), "deposit", "b")
    record_cash(database, MARKET, BOOK, AT, Decimal(1), "opening", "a")
    record_cash(database, MARKET, BOOK, later(2), Decimal(3), "deposit", "c")
    found = cash_flows(database, MARKET, BOOK, AT, later(2))
    assert found == (
        CashFlow(MARKET, BOOK, AT, Decimal(1), "opening", "a"),
        CashFlow(MARKET, BOOK, later(1), Decimal(2), "deposit", "b"),
    )


def test_amount_and_time_must_be_sound(database: Database) -> None:
    with pytest.raises(ValueError, match="amount=NaN"):
        record_cash(database, MARKET, BOOK, AT, Decimal("NaN"), "deposit", "d")
    with pytest.raises(ValueError, match="no time zone"):
        record_cash(database, MARKET, BOOK, AT.replace(tzinfo=None), Decimal(1), "deposit", "d")
