"""Equity over time."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ledger import equity_curve, record_equity
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, SESSION, later


def test_curve_has_the_recorded_points_in_order(database: Database) -> None:
    for minutes, value in ((10, "101.5"), (0, "100"), (20, "99")):
        record_equity(database, MARKET, BOOK, later(minutes), SESSION, Decimal(40), Decimal(value) - 40, Decimal(value))
    curve = equity_curve(database, MARKET, BOOK, AT, later(20))
    assert curve["equity"].tolist() == [100.0, 101.5]
    assert curve["positions_value"].tolist() == [60.0, 61.5]
    assert curve["at"].tolist() == [pd.Timestamp(AT), pd.Timestamp(later(10))]
    assert str(curve["at"].dtype) == "datetime64[ns, UTC]"
    assert curve["session"].tolist() == [SESSION, SESSION]
    assert equity_curve(database, MARKET, "live", AT, later(20)).empty


def test_same_time_again_replaces_the_point(database: Database) -> None:
    for value in (1, 2):
        record_equity(database, MARKET, BOOK, AT, SESSION, Decimal(value), Decimal(0), Decimal(value))
    assert equity_curve(database, MARKET, BOOK, AT, later(1))["equity"].tolist() == [2.0]


def test_equity_that_is_no_number_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="equity=NaN"):
        record_equity(database, MARKET, BOOK, AT, SESSION, Decimal(1), Decimal(0), Decimal("NaN"))
