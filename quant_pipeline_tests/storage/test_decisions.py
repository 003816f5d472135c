"""Decisions: append-only, exact, newest version first."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from quant_pipeline.core.values import Book, Origin
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions, decision_frame, latest_decisions
from quant_pipeline.storage.decisions import decision as read_decision
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, SESSION, decision, later


def test_decision_comes_back_exactly(database: Database) -> None:
    sound = decision(price=Decimal("0.00000001"), qty=Decimal("12345678901234567890.123456789"), score=0.1 + 0.2)
    bare = decision(
        symbol="MSFT", action=0, vote=0, reason="hold_vote", score=None, expected_return=None, p_up=None,
        confidence=None, members_usable=None, model_version_id=None, price=None, qty=None, notional=None, equity=None,
        inputs={},
    )  # fmt: skip
    assert append_decisions(database, [sound, bare]) == 2
    assert read_decision(database, sound.id) == sound
    assert read_decision(database, bare.id) == bare
    assert read_decision(database, "nobody") is None


def test_first_row_of_an_id_stays(database: Database) -> None:
    first = decision()
    append_decisions(database, [first])
    assert append_decisions(database, [replace(first, qty=Decimal(99)), other := decision(symbol="MSFT")]) == 1
    assert read_decision(database, first.id) == first
    assert read_decision(database, other.id) == other
    assert append_decisions(database, []) == 0


def test_latest_is_the_highest_version_of_each_bar(database: Database) -> None:
    first, second = decision(version=1), decision(version=2, origin="backfill")
    hourly = decision(bar_ts=first.bar_ts + timedelta(hours=1))
    msft, other_book = decision(symbol="MSFT"), decision(book="shadow")
    next_day = decision(session=SESSION + timedelta(days=1))
    append_decisions(database, [second, first, next_day, msft, other_book, hourly])
    assert latest_decisions(database, MARKET, BOOK, SESSION, SESSION) == (second, hourly, msft)
    both = latest_decisions(database, MARKET, BOOK, SESSION, SESSION + timedelta(days=1))
    assert both == (second, hourly, msft, next_day)
    live = latest_decisions(database, MARKET, BOOK, SESSION, SESSION, origin=Origin.LIVE)
    assert live == (first, hourly, msft)
    assert latest_decisions(database, MARKET, Book.SHADOW, SESSION, SESSION) == (other_book,)


def test_equal_versions_are_ordered_by_time(database: Database) -> None:
    early, late = decision(), decision(decided_at=later(1))
    append_decisions(database, [late, early])
    assert latest_decisions(database, MARKET, BOOK, SESSION, SESSION) == (late,)


def test_frame_has_the_same_rows_as_numbers(database: Database) -> None:
    append_decisions(
        database, [decision(version=1, qty=Decimal(1)), decision(version=2, qty=Decimal("2.5")), decision(symbol="B")]
    )
    frame = decision_frame(database, MARKET, BOOK, SESSION, SESSION)
    assert frame["symbol"].tolist() == ["AAPL", "B"]
    assert frame["qty"].tolist() == [2.5, 5.0]
    assert str(frame["bar_ts"].dtype) == "datetime64[ns, UTC]"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"price": Decimal("NaN")}, "price=NaN"),
        ({"score": float("inf")}, "score=Infinity"),
        ({"decided_at": AT.replace(tzinfo=None)}, "decided_at=.* no time zone"),
    ],
)
def test_unsound_decision_is_refused_with_all_others(database: Database, changes: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        append_decisions(database, [decision(), decision(symbol="B", **changes)])
    assert latest_decisions(database, MARKET, BOOK, SESSION, SESSION) == ()


def test_many_decisions_at_once(database: Database) -> None:
    rows = [decision(symbol=f"S{n:05d}") for n in range(20_000)]
    assert append_decisions(database, rows) == 20_000
    assert list(latest_decisions(database, MARKET, BOOK, SESSION, SESSION)) == rows
