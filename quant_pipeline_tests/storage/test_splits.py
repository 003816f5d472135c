"""Splits in the ledger: holdings multiplied once, nothing gained or lost."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from quant_pipeline.core.values import Side
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.intents import Intent, IntentStatus, intent
from quant_pipeline.storage.ledger import LedgerPosition, apply_fill, cash, positions
from quant_pipeline.storage.splits import PositionSplit, after_split, apply_split, position_splits, split_fraction
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, fill, later, planned, stored_intent

EX_DATE = date(2024, 5, 3)
OPEN = AT + timedelta(days=1)
WHOLE = Decimal(1)


def bought(database: Database, qty: str, price: str, *, minutes: float = 1, side: Side = Side.BUY) -> None:
    """A fill of AAPL in the book."""
    name = f"o-{side}-{qty}-{minutes}"
    planned(database, name, side=side, qty=Decimal(qty))
    apply_fill(database, name, fill(f"f-{name}", qty, price, minutes=minutes), at=later(minutes))


def split(
    database: Database, ratio: str = "4", ex_date: date = EX_DATE, *, lot: Decimal = WHOLE
) -> PositionSplit | None:
    days = (ex_date - EX_DATE).days
    return apply_split(
        database,
        MARKET,
        BOOK,
        "AAPL",
        ex_date,
        Decimal(ratio),
        effective=OPEN + timedelta(days=days),
        at=later(2000),
        lot=lot,
    )


def held(database: Database) -> LedgerPosition:
    (position,) = positions(database, MARKET, BOOK)
    return position


def test_a_split_multiplies_what_is_held_and_keeps_its_cost(database: Database) -> None:
    bought(database, "10", "400")
    before, money = held(database), cash(database, MARKET, BOOK)
    entry = split(database)
    assert entry is not None
    assert (entry.qty_before, entry.qty_change) == (10, 30)
    after = held(database)
    assert (after.qty, after.avg_price) == (40, 100)
    assert after.qty * after.avg_price == before.qty * before.avg_price
    assert (after.opened_at, after.realised_pnl, after.fees) == (before.opened_at, before.realised_pnl, before.fees)
    assert cash(database, MARKET, BOOK) == money


def test_a_split_is_applied_once_also_when_another_ratio_is_known_later(database: Database) -> None:
    bought(database, "10", "400")
    assert split(database) is not None
    assert split(database) is split(database, "7") is None
    assert held(database).qty == 40
    assert [entry.ratio for entry in position_splits(database, MARKET, BOOK)] == [4]


def test_what_was_bought_or_sold_after_the_split_is_in_new_units_already(database: Database) -> None:
    bought(database, "10", "400")
    bought(database, "5", "100", minutes=24 * 60 + 5)
    bought(database, "8", "100", minutes=24 * 60 + 9, side=Side.SELL)
    entry = split(database)
    assert entry is not None
    assert (entry.qty_before, entry.qty_change) == (10, 30)
    assert held(database).qty == 10 * 4 + 5 - 8


def test_two_splits_follow_one_another_whatever_is_known_first(database: Database) -> None:
    bought(database, "10", "400")
    split(database, "2")
    split(database, "3", EX_DATE + timedelta(days=4))
    assert held(database).qty == 60


def test_a_book_without_the_share_has_no_entry(database: Database) -> None:
    bought(database, "10", "400", minutes=24 * 60 + 5)
    assert split(database) is None
    assert held(database).qty == 10
    assert position_splits(database, MARKET, BOOK) == ()


def test_a_fraction_of_a_share_is_kept_to_nine_decimals(database: Database) -> None:
    bought(database, "10", "30")
    split(database, str(Decimal(1) / 3))
    assert held(database).qty == Decimal("3.333333333")
    assert held(database).avg_price == pytest.approx(Decimal(90), abs=Decimal("1e-6"))


def planned_intent(database: Database, qty: str, *, minutes: float = 1, **changes: object) -> Intent:
    return stored_intent(database, qty=Decimal(qty), created_at=later(minutes), expires_at=later(9000), **changes)


def test_intents_that_were_not_sent_are_restated_and_those_made_after_the_split_are_not(database: Database) -> None:
    old = planned_intent(database, "10")
    new = planned_intent(database, "10", minutes=24 * 60 + 5)
    sent = planned_intent(database, "10", status=IntentStatus.SENT)
    other = planned_intent(database, "10", symbol="MSFT")
    assert split(database) is not None
    split(database)
    found = {one.id: intent(database, one.id) for one in (old, new, sent, other)}
    quantities = {key: one.qty for key, one in found.items() if one is not None}
    assert quantities == {old.id: 40, new.id: 10, sent.id: 10, other.id: 10}


def test_an_intent_of_less_than_a_lot_is_given_up_and_others_are_cut_to_whole_lots(database: Database) -> None:
    small, large = planned_intent(database, "3"), planned_intent(database, "17")
    split(database, "0.1")
    gone, kept = intent(database, small.id), intent(database, large.id)
    assert gone is not None
    assert kept is not None
    assert (gone.status, gone.reason, gone.qty) == (IntentStatus.CANCELLED, "split_left_nothing", 3)
    assert (kept.status, kept.qty) == (IntentStatus.OPEN, 1)


@pytest.mark.parametrize("ratio", ["0", "-4", "NaN"])
def test_a_ratio_that_cannot_be_is_refused_by_name(database: Database, ratio: str) -> None:
    bought(database, "10", "400")
    with pytest.raises(ValueError, match="split of AAPL on 2024-05-03 has ratio"):
        split(database, ratio)
    assert held(database).qty == 10


def test_an_entry_stays_as_it_is(database: Database) -> None:
    bought(database, "10", "400")
    split(database)
    for sql in ("UPDATE position_splits SET ratio = 5", "DELETE FROM position_splits"):
        with pytest.raises(SQLAlchemyError, match="append-only"), database.begin() as connection:
            connection.execute(text(sql))


@given(st.integers(1, 10**15), st.fractions(Fraction(1, 50), 100, max_denominator=50))
def test_no_share_is_made_and_less_than_a_billionth_is_lost(units: int, ratio: Fraction) -> None:
    qty = Decimal(units).scaleb(-9)
    stored = Decimal(ratio.numerator) / Decimal(ratio.denominator)
    assert split_fraction(stored) == ratio
    exact = Fraction(qty) * ratio
    assert 0 <= exact - Fraction(after_split(qty, stored)) < Fraction(1, 10**9)
