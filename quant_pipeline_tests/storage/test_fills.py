"""Fills: booked once, whatever is reported how often; fees that executions do not carry; totals without executions."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from decimal import Decimal
from fractions import Fraction
from itertools import count
from threading import Barrier, Thread

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_pipeline.core.values import Fill, OrderRequest, OrderState, Side, VenueOrder
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.ledger import (
    LedgerPosition,
    apply_fill,
    cash,
    cash_flows,
    fills_between,
    fills_of,
    order,
    positions,
    record_cash,
    record_order,
)
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, fill, later, planned, report

_books = count()


def _position(db: Database, symbol: str = "AAPL", book: str = BOOK) -> LedgerPosition:
    (found,) = [one for one in positions(db, MARKET, book, include_flat=True) if one.symbol == symbol]
    return found


def test_buy_and_sale_move_position_and_cash(database: Database) -> None:
    record_cash(database, MARKET, BOOK, AT, Decimal(10_000), "opening", "start")
    buy, sale = planned(database, "buy"), planned(database, "sale", side=Side.SELL)
    record_order(database, "buy", report(buy, OrderState.FILLED, fill("1", "10", "100", "1")), later(1))
    assert cash(database, MARKET, BOOK) == Decimal(8999)
    held = _position(database)
    assert (held.qty, held.avg_price, held.realised_pnl, held.fees) == (10, 100, 0, 1)
    assert held.opened_at == later(1)
    record_order(database, "sale", report(sale, OrderState.CANCELED, fill("2", "4", "110", "0.5", 2)), later(2))
    assert cash(database, MARKET, BOOK) == Decimal("9438.5")
    held = _position(database)
    assert (held.qty, held.avg_price, held.realised_pnl, held.fees) == (6, 100, 40, Decimal("1.5"))


def test_position_that_was_sold_off_keeps_only_its_profit(database: Database) -> None:
    buy, sale = planned(database, "buy", qty=Decimal(3)), planned(database, "sale", side=Side.SELL, qty=Decimal(3))
    record_order(database, "buy", report(buy, OrderState.FILLED, fill("1", "3", "10.01")), later(1))
    for number, qty in enumerate(("1", "1", "1")):
        apply_fill(database, "sale", fill(str(number), qty, "11", minutes=2), at=later(2))
    assert record_order(database, "sale", report(sale, OrderState.FILLED, *_fills_as_reported(database)), later(3))
    assert positions(database, MARKET, BOOK) == ()
    flat = _position(database)
    assert (flat.qty, flat.avg_price, flat.realised_pnl, flat.opened_at) == (0, 0, Decimal("2.97"), None)


def _fills_as_reported(db: Database) -> list[Fill]:
    return [Fill(one.fill_id, one.qty, one.price, one.fee, one.at) for one in fills_of(db, "sale")]


def test_sale_beyond_what_the_ledger_saw_bought_is_booked_and_visible(database: Database) -> None:
    sale = planned(database, "sale", side=Side.SELL)
    record_order(database, "sale", report(sale, OrderState.FILLED, fill("1", "10", "100")), later(1))
    short = _position(database)
    assert (short.qty, short.avg_price, short.realised_pnl) == (-10, 100, 0)
    buy = planned(database, "buy", qty=Decimal(15))
    record_order(database, "buy", report(buy, OrderState.FILLED, fill("2", "15", "90", minutes=2)), later(2))
    held = _position(database)
    assert (held.qty, held.avg_price, held.realised_pnl, held.opened_at) == (5, 90, 100, later(2))


def test_total_without_executions_waits_for_them(database: Database) -> None:
    """The answer to a POST may say that something was filled before the executions can be asked for."""
    asked = planned(database, "a")
    early = replace(report(asked, OrderState.PARTIALLY_FILLED), filled_qty=Decimal(4), avg_price=Decimal(100))
    assert record_order(database, "a", early, later(1)) is OrderState.PARTIALLY_FILLED
    assert fills_of(database, "a") == ()
    record_order(
        database, "a", report(asked, OrderState.FILLED, fill("f1", "4", "99"), fill("f2", "6", "101")), later(2)
    )
    assert [(one.fill_id, one.derived) for one in fills_of(database, "a")] == [("f1", False), ("f2", False)]


def test_terminal_total_beyond_the_executions_is_booked_as_derived_and_only_once(database: Database) -> None:
    asked = planned(database, "a")
    known = fill("f1", "4", "100", "0.4")
    ended = replace(
        report(asked, OrderState.FILLED, known), filled_qty=Decimal(10), avg_price=Decimal("100.6"), fee=Decimal(1)
    )
    record_order(database, "a", ended, later(1))
    record_order(database, "a", ended, later(2))
    late = report(asked, OrderState.FILLED, known, fill("f2", "6", "101", "0.6"), minutes=3)
    record_order(database, "a", late, later(3))
    booked = fills_of(database, "a")
    assert sorted((one.fill_id, one.qty, one.price, one.fee, one.derived) for one in booked) == [
        ("f1", 4, 100, Decimal("0.4"), False),
        ("total:10", 6, 101, Decimal("0.6"), True),
    ]
    assert _position(database).qty == 10


def test_terminal_total_without_executions_and_price_is_refused(database: Database) -> None:
    asked = planned(database, "a")
    blind = replace(report(asked, OrderState.FILLED), filled_qty=Decimal(10))
    with pytest.raises(ValueError, match="order a ended with 10 filled and neither executions nor a price"):
        record_order(database, "a", blind, later(1))
    found = order(database, "a")
    assert found is not None
    assert found.state is OrderState.PENDING


def test_fee_that_executions_do_not_carry_is_booked_once_and_follows_the_venue(database: Database) -> None:
    record_cash(database, MARKET, BOOK, AT, Decimal(10_000), "opening", "start")
    asked = planned(database, "a")
    one = fill("f1", "10", "100")
    for minute, fee in ((1, "2"), (1, "2"), (2, "2.5"), (3, "2.25")):
        told = replace(report(asked, OrderState.FILLED, one, minutes=minute), fee=Decimal(fee))
        record_order(database, "a", told, later(minute))
    stale = replace(report(asked, OrderState.FILLED, one, minutes=1), fee=Decimal(2))
    record_order(database, "a", stale, later(9))
    found = order(database, "a")
    assert found is not None
    assert found.fee == Decimal("2.25")
    assert cash(database, MARKET, BOOK) == Decimal("8997.75")
    assert _position(database).fees == Decimal("2.25")
    corrections = [flow.amount for flow in cash_flows(database, MARKET, BOOK, AT, later(60))][1:]
    assert corrections == [Decimal(-2), Decimal("-0.5"), Decimal("0.25")]


def test_fills_of_a_span_are_those_that_happened_in_it(database: Database) -> None:
    asked = planned(database, "a")
    two = (fill("f1", "4", "100", minutes=1), fill("f2", "6", "100", minutes=2))
    record_order(database, "a", report(asked, OrderState.FILLED, *two), later(3))
    assert [one.fill_id for one in fills_between(database, MARKET, BOOK, later(1), later(2))] == ["f1"]
    assert fills_between(database, MARKET, "live", AT, later(60)) == ()


@pytest.mark.parametrize("spoilt", [{"qty": Decimal("NaN")}, {"price": Decimal("Infinity")}, {"fee": Decimal("NaN")}])
def test_fill_that_is_no_number_is_refused(database: Database, spoilt: dict) -> None:
    planned(database, "a")
    with pytest.raises(ValueError, match="is not a finite number"):
        apply_fill(database, "a", replace(fill("f", "1", "1"), **spoilt), at=later(1))


def test_same_report_from_several_processes_is_booked_once(database: Database) -> None:
    asked = planned(database, "a")
    told = report(asked, OrderState.FILLED, fill("f1", "4", "100", "1"), fill("f2", "6", "101", "1"))
    barrier, errors = Barrier(4), []

    def record() -> None:
        barrier.wait(30)
        try:
            record_order(database, "a", told, later(1))
        except Exception as error:  # noqa: BLE001 - reported by the test itself
            errors.append(error)

    threads = [Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert _position(database).qty == 10
    assert _position(database).fees == 2


def test_orders_of_one_symbol_filled_at_once_lose_nothing(database: Database) -> None:
    ids = [f"o{number}" for number in range(8)]
    asked = {client_id: planned(database, client_id) for client_id in ids}
    barrier, errors = Barrier(4), []

    def record(part: list[str]) -> None:
        barrier.wait(30)
        try:
            for client_id in part:
                told = report(asked[client_id], OrderState.FILLED, fill("f", "10", "100"))
                record_order(database, client_id, told, later(1))
        except Exception as error:  # noqa: BLE001 - reported by the test itself
            errors.append(error)

    threads = [Thread(target=record, args=(ids[number::4],)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert _position(database).qty == 80


@dataclass
class _Reference:
    """The ledger in memory, slowly and with fractions: every fill once, in the order in which it was first told."""

    cash: Fraction = Fraction(0)
    qty: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    cost: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    realised: dict[str, Fraction] = field(default_factory=lambda: defaultdict(Fraction))
    seen: set[tuple[str, str]] = field(default_factory=set)

    def tell(self, told: VenueOrder) -> None:
        for one in told.fills:
            if (told.client_id, one.fill_id) in self.seen:
                continue
            self.seen.add((told.client_id, one.fill_id))
            # Share by share of the smallest lot that all quantities are multiples of.
            lot = Fraction(1, 100)
            for _ in range(int(Fraction(one.qty) / lot)):
                self._lot(told.symbol, lot if told.side is Side.BUY else -lot, Fraction(one.price))
            sign = -1 if told.side is Side.BUY else 1
            self.cash += sign * Fraction(one.qty) * Fraction(one.price) - Fraction(one.fee)

    def _lot(self, symbol: str, lot: Fraction, price: Fraction) -> None:
        held = self.qty[symbol]
        if held * lot >= 0:
            self.cost[symbol] += lot * price
        else:
            average = self.cost[symbol] / held
            self.realised[symbol] += -lot * (price - average)
            self.cost[symbol] += lot * average
        self.qty[symbol] += lot


@dataclass(frozen=True)
class _Script:
    """Orders with their executions, and which (order, how many executions) each report tells, in what order."""

    sides: tuple[tuple[str, Side], ...]
    fills: tuple[tuple[Fill, ...], ...]
    reports: tuple[tuple[int, int], ...]


@st.composite
def _scripts(draw: st.DrawFn) -> _Script:
    cents = st.integers(1, 400).map(lambda n: Decimal(n) / 100)
    sides = tuple(draw(st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from(Side)), min_size=1, max_size=4)))
    fills = []
    for _ in sides:
        count_of = draw(st.integers(1, 4))
        fills.append(
            tuple(Fill(f"f{n}", draw(cents), draw(cents) * 1000, draw(cents) - 2, later(n)) for n in range(count_of))
        )
    pairs = st.integers(0, len(sides) - 1).flatmap(lambda o: st.tuples(st.just(o), st.integers(0, len(fills[o]))))
    reports = draw(st.lists(pairs, max_size=12))  # doubled, and shorter ones after longer ones
    last = draw(st.permutations([(number, len(one)) for number, one in enumerate(fills)]))
    return _Script(sides, tuple(fills), (*reports, *last))


def _report(script: _Script, asked: list[OrderRequest], number: int, told: int) -> VenueOrder:
    fills = script.fills[number]
    state = OrderState.FILLED if told == len(fills) else OrderState.PARTIALLY_FILLED if told else OrderState.ACCEPTED
    return report(asked[number], state, *fills[:told], minutes=told)


@given(script=_scripts())
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_ledger_equals_the_slow_reference_for_any_reports(database: Database, script: _Script) -> None:
    book = f"book-{next(_books)}"
    record_cash(database, MARKET, book, AT, Decimal(1_000_000), "opening", "start")
    reference = _Reference(cash=Fraction(1_000_000))
    asked = []
    for number, (symbol, side) in enumerate(script.sides):
        total = sum((one.qty for one in script.fills[number]), Decimal(0))
        asked.append(planned(database, f"{book}-{number}", book=book, symbol=symbol, side=side, qty=total))
    for number, told in script.reports:
        sent = _report(script, asked, number, told)
        record_order(database, sent.client_id, sent, later(told))
        reference.tell(sent)

    assert Fraction(cash(database, MARKET, book)) == reference.cash
    found = {one.symbol: one for one in positions(database, MARKET, book, include_flat=True)}
    assert {symbol: Fraction(one.qty) for symbol, one in found.items()} == dict(reference.qty)
    for symbol, one in found.items():
        assert abs(Fraction(one.realised_pnl) - reference.realised[symbol]) < Fraction(1, 10**9)
        assert abs(Fraction(one.avg_price) * Fraction(one.qty) - reference.cost[symbol]) < Fraction(1, 10**8)
    # Nothing is lost to rounding: cash moved by what positions gained and cost, less fees.
    fees = sum((one.fees for one in found.values()), Decimal(0))
    assert fees == sum((one.fee for fills in script.fills for one in fills), Decimal(0))
    for number, fills in enumerate(script.fills):
        stored = order(database, asked[number].client_id)
        assert stored is not None
        assert stored.state is OrderState.FILLED
        assert stored.filled_qty == sum((one.qty for one in fills), Decimal(0))
