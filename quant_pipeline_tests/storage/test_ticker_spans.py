"""Ticker spans: the newest list of a symbol counts, the same list again is no news, lists are whole."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ticker_spans import TickerSpan, read_spans, record_spans
from quant_pipeline_tests.storage.builders import AT, MARKET, later

_OLD = TickerSpan(MARKET, "META", "FB", date(2012, 5, 18), date(2022, 6, 8), "lean", AT)
_NEW = replace(_OLD, ticker="META", first_day=date(2022, 6, 9), last_day=date(2050, 12, 31))


def test_the_same_list_again_adds_nothing(database: Database) -> None:
    assert record_spans(database, [_OLD, _NEW]) == 2
    assert record_spans(database, [replace(span, known_at=later(1)) for span in (_OLD, _NEW)]) == 0
    assert read_spans(database, MARKET) == {"META": (_OLD, _NEW)}
    assert read_spans(database, MARKET, ["AAPL"]) == read_spans(database, "krw_crypto") == {}


def test_another_list_replaces_the_old_one_as_a_whole(database: Database) -> None:
    record_spans(database, [_OLD, _NEW])
    only = replace(_NEW, first_day=date(2022, 6, 10), known_at=later(1))
    assert record_spans(database, [only]) == 1
    assert read_spans(database, MARKET, ["META"]) == {"META": (only,)}


@pytest.mark.parametrize("spans", [[], [_OLD, replace(_NEW, symbol="X")], [_OLD, replace(_NEW, known_at=later(1))]])
def test_a_list_that_is_not_one_symbols_is_refused(database: Database, spans: list[TickerSpan]) -> None:
    with pytest.raises(ValueError, match="not the list of one symbol"):
        record_spans(database, spans)
