"""Corporate actions and what was known of them when."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from decimal import Decimal

import pytest

from quant_pipeline.storage.corporate_actions import CorporateAction, read_actions, record_actions
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.storage.builders import AT, MARKET, later

_SPLIT = CorporateAction(MARKET, "NVDA", date(2024, 6, 10), "split", Decimal(10), None, None, "alpaca", AT)
_DIVIDEND = CorporateAction(MARKET, "AAPL", date(2024, 5, 10), "dividend", None, Decimal("0.25"), "USD", "alpaca", AT)
_YEAR = (date(2024, 1, 1), date(2024, 12, 31))


def test_actions_come_back_by_symbol_and_date(database: Database) -> None:
    assert record_actions(database, [_SPLIT, _DIVIDEND]) == 2
    assert read_actions(database, MARKET, None, *_YEAR) == (_DIVIDEND, _SPLIT)
    assert read_actions(database, MARKET, ["NVDA"], *_YEAR) == (_SPLIT,)
    assert read_actions(database, MARKET, None, date(2024, 5, 11), date(2024, 6, 9)) == ()


def test_same_statement_again_adds_nothing(database: Database) -> None:
    record_actions(database, [_SPLIT])
    assert record_actions(database, [replace(_SPLIT, known_at=later(1), ratio=Decimal("10.0"))]) == 0


def test_corrected_action_replaces_and_the_old_one_is_still_known_as_of_then(database: Database) -> None:
    corrected = replace(_SPLIT, ratio=Decimal(4), known_at=later(10))
    record_actions(database, [_SPLIT])
    assert record_actions(database, [corrected]) == 1
    assert read_actions(database, MARKET, None, *_YEAR) == (corrected,)
    assert read_actions(database, MARKET, None, *_YEAR, as_of=later(9)) == (_SPLIT,)
    assert read_actions(database, MARKET, None, *_YEAR, as_of=later(-1)) == ()


def test_ratio_that_is_no_number_is_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="ratio=NaN"):
        record_actions(database, [replace(_SPLIT, ratio=Decimal("NaN"))])
