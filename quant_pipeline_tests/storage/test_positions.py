"""The arithmetic of one fill: nothing is lost to rounding."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.values import Side
from quant_pipeline.storage.positions import Holding, after_fill
from quant_pipeline_tests.storage.builders import AT, BOOK, MARKET, later

_EMPTY = Holding(MARKET, BOOK, "A", *[Decimal(0)] * 5, None, AT)
_QTY = st.integers(1, 10**12).map(lambda n: Decimal(n).scaleb(-9))
_PRICE = st.integers(0, 10**12).map(lambda n: Decimal(n).scaleb(-8))


@given(st.lists(st.tuples(st.sampled_from(Side), _QTY, _PRICE), max_size=30))
def test_profit_less_cost_is_exactly_what_was_received_less_what_was_paid(fills: list) -> None:
    holding, received, held = _EMPTY, Decimal(0), Decimal(0)
    for side, qty, price in fills:
        before = holding
        holding = after_fill(holding, side, qty, price, Decimal(1), later(1))
        signed = qty if side is Side.BUY else -qty
        if before.qty * holding.qty < 0:  # turned: what is held now was opened at this price
            assert holding.avg_price == price
        received -= signed * price
        held += signed
        assert holding.qty == held
        assert holding.realised_pnl - holding.cost == received
        assert (holding.opened_at is None) == (held == 0)
        if held == 0:
            assert (holding.cost, holding.avg_price) == (0, 0)
        else:
            assert holding.cost * held >= 0
    assert holding.fees == len(fills)


@given(st.lists(st.tuples(_QTY, _PRICE), min_size=1, max_size=10))
def test_average_lies_between_the_prices_paid(fills: list) -> None:
    holding = _EMPTY
    for qty, price in fills:
        holding = after_fill(holding, Side.BUY, qty, price, Decimal(0), AT)
    prices = [price for _, price in fills]
    assert min(prices) - Decimal("1e-12") <= holding.avg_price <= max(prices) + Decimal("1e-12")
    assert holding.realised_pnl == 0


def test_time_of_opening_stays_until_the_position_is_closed_or_turned() -> None:
    first = after_fill(_EMPTY, Side.BUY, Decimal(2), Decimal(1), Decimal(0), later(1))
    more = after_fill(first, Side.BUY, Decimal(1), Decimal(1), Decimal(0), later(2))
    less = after_fill(more, Side.SELL, Decimal(2), Decimal(1), Decimal(0), later(3))
    turned = after_fill(less, Side.SELL, Decimal(2), Decimal(1), Decimal(0), later(4))
    assert [one.opened_at for one in (first, more, less, turned)] == [later(1), later(1), later(1), later(4)]


def test_a_tiny_rest_never_costs_less_than_nothing() -> None:
    """Costs are kept to 12 places: what is sold of them is rounded towards zero."""
    tiny = Decimal("1e-9")
    three = after_fill(_EMPTY, Side.BUY, 3 * tiny, Decimal("3e-4"), Decimal(0), later(1))
    less = after_fill(three, Side.SELL, 2 * tiny, Decimal(1), Decimal(0), later(2))
    assert less.qty == tiny
    assert 0 <= less.cost <= three.cost
