"""Which bar fills an order, and at what price."""

from __future__ import annotations

from decimal import Decimal

import pytest

from quant_pipeline.core.values import OrderState, Side
from quant_pipeline.exchange.engine import Engine
from quant_pipeline.exchange.orders import Force, RefusalReason, RefusedError
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY
from quant_pipeline_tests.exchange.makers import Row, engine_of, flat_minutes, ticket, utc

OPEN = "2025-03-03 14:30"
PRICES = [100.0, 101.0, 102.0, 103.0, 104.0]


@pytest.fixture
def rising() -> Engine:
    return engine_of(US_EQUITY, {"AAPL": flat_minutes(OPEN, PRICES)})


def test_market_order_fills_at_the_open_of_the_first_bar_that_opens_after_it(rising: Engine) -> None:
    order = rising.submit(ticket("a", "AAPL", Side.BUY, qty="10"), utc("2025-03-03 14:30:20"))
    rising.advance(utc("2025-03-03 14:30:59"))
    assert rising.orders[order.venue_id].state is OrderState.ACCEPTED
    rising.advance(utc("2025-03-03 14:31"))
    filled = rising.orders[order.venue_id]
    assert (filled.state, filled.avg_price, filled.updated_at) == (
        OrderState.FILLED,
        Decimal(101),
        utc("2025-03-03 14:31"),
    )


def test_market_order_at_the_very_opening_of_a_bar_fills_at_that_open(rising: Engine) -> None:
    order = rising.submit(ticket("a", "AAPL", Side.BUY, qty="10"), utc("2025-03-03 14:31"))
    rising.advance(utc("2025-03-03 14:31"))
    assert rising.orders[order.venue_id].avg_price == Decimal(101)


def test_market_order_at_night_waits_for_the_next_opening() -> None:
    rows = flat_minutes("2025-02-28 20:59", [100.0]) + flat_minutes(OPEN, [110.0, 111.0])
    engine = engine_of(US_EQUITY, {"AAPL": rows})
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="1"), utc("2025-03-01 03:00"))
    engine.advance(utc("2025-03-03 14:29:59"))
    assert engine.orders[order.venue_id].is_open
    engine.advance(utc("2025-03-03 20:00"))
    assert engine.orders[order.venue_id].avg_price == Decimal(110)
    assert engine.orders[order.venue_id].updated_at == utc(OPEN)


@pytest.mark.parametrize(("side", "price"), [(Side.BUY, "101.03"), (Side.SELL, "100.97")])
def test_half_the_spread_goes_against_the_taker_and_away_to_the_next_tick(side: Side, price: str) -> None:
    engine = engine_of(US_EQUITY, {"AAPL": flat_minutes(OPEN, [101.0] * 5)}, half_spread_bp="2.5")
    engine.submit(ticket("hold", "AAPL", Side.BUY, qty="10"), utc(OPEN))
    engine.advance(utc(OPEN))
    order = engine.submit(ticket("a", "AAPL", side, qty="10"), utc("2025-03-03 14:31"))
    engine.advance(utc("2025-03-03 14:32"))
    assert engine.orders[order.venue_id].avg_price == Decimal(price)


def test_a_fractional_order_by_value_buys_nine_decimals(rising: Engine) -> None:
    order = rising.submit(ticket("a", "AAPL", Side.BUY, funds="1000"), utc(OPEN))
    rising.advance(utc("2025-03-03 14:31"))
    assert rising.orders[order.venue_id].filled_qty == Decimal(10)
    second = rising.submit(ticket("b", "AAPL", Side.BUY, funds="1000"), utc("2025-03-03 14:31"))
    rising.advance(utc("2025-03-03 14:31"))
    assert rising.orders[second.venue_id].filled_qty == Decimal("9.900990099")
    assert rising.orders[second.venue_id].state is OrderState.FILLED


def _dip() -> list[Row]:
    """Opens at 100, touches 97 within the third minute, closes at 100."""
    rows = flat_minutes(OPEN, [100.0] * 6)
    at, o, h, _, c, v = rows[2]
    rows[2] = (at, o, h, 97.0, c, v)
    return rows


def test_resting_limit_fills_at_its_price_when_a_bar_touches_it_and_not_before_that_bar_has_closed() -> None:
    engine = engine_of(US_EQUITY, {"AAPL": _dip()})
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="5", limit="98"), utc(OPEN))
    engine.advance(utc("2025-03-03 14:32:30"))
    assert engine.orders[order.venue_id].is_open
    engine.advance(utc("2025-03-03 14:33"))
    assert engine.orders[order.venue_id].avg_price == Decimal(98)
    assert engine.orders[order.venue_id].updated_at == utc("2025-03-03 14:33")


def test_limit_never_touched_expires_with_its_session_and_releases_its_cash() -> None:
    engine = engine_of(US_EQUITY, {"AAPL": _dip()})
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="5", limit="90"), utc(OPEN))
    assert engine.account.available == Decimal(100000 - 450)
    engine.advance(utc("2025-03-03 20:59:59"))
    assert engine.orders[order.venue_id].is_open
    engine.advance(utc("2025-03-04 02:00"))
    closed = engine.orders[order.venue_id]
    assert (closed.state, closed.updated_at) == (OrderState.EXPIRED, utc("2025-03-03 21:00"))
    assert engine.account.available == Decimal(100000)


def test_marketable_limit_takes_the_open_but_never_worse_than_its_limit() -> None:
    engine = engine_of(US_EQUITY, {"AAPL": flat_minutes(OPEN, [100.0] * 4)}, half_spread_bp="100")
    cheap = engine.submit(ticket("a", "AAPL", Side.BUY, qty="1", limit="100.40"), utc(OPEN))
    ample = engine.submit(ticket("b", "AAPL", Side.BUY, qty="1", limit="105"), utc(OPEN))
    engine.advance(utc("2025-03-03 14:31"))
    assert engine.orders[cheap.venue_id].avg_price == Decimal("100.40")
    assert engine.orders[ample.venue_id].avg_price == Decimal(101)


@pytest.mark.parametrize("force", [Force.IOC, Force.FOK])
def test_immediate_limit_out_of_reach_is_cancelled_at_the_next_open(force: Force) -> None:
    engine = engine_of(US_EQUITY, {"AAPL": _dip()})
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="5", limit="99", force=force), utc(OPEN))
    engine.advance(utc("2025-03-03 14:35"))
    assert engine.orders[order.venue_id].state is OrderState.CANCELED
    assert engine.account.cash == engine.account.available == Decimal(100000)


def test_post_only_is_cancelled_when_it_would_take_and_rests_otherwise() -> None:
    engine = engine_of(KRW_CRYPTO, {"KRW-BTC": flat_minutes(OPEN, [90_000_000.0, 89_000_000.0, 90_000_000.0])})
    engine.account.cash = Decimal(10**9)
    taker = ticket("a", "KRW-BTC", Side.BUY, qty="1", limit="91000000", force=Force.POST_ONLY)
    maker = ticket("b", "KRW-BTC", Side.BUY, qty="1", limit="89000000", force=Force.POST_ONLY)
    taken, rested = engine.submit(taker, utc(OPEN)), engine.submit(maker, utc(OPEN))
    engine.advance(utc("2025-03-03 14:33"))
    assert engine.orders[taken.venue_id].state is OrderState.CANCELED
    assert engine.orders[rested.venue_id].avg_price == Decimal(89_000_000)


def test_participation_spreads_an_order_over_bars_and_leaves_fok_unfilled() -> None:
    engine = engine_of(US_EQUITY, {"AAPL": flat_minutes(OPEN, PRICES, volume=40)}, max_participation="0.25")
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="25"), utc(OPEN))
    all_or_none = engine.submit(ticket("b", "AAPL", Side.BUY, qty="25", limit="110", force=Force.FOK), utc(OPEN))
    engine.advance(utc("2025-03-03 14:31"))
    part = engine.orders[order.venue_id]
    assert (part.state, part.filled_qty) == (OrderState.PARTIALLY_FILLED, Decimal(20))
    engine.advance(utc("2025-03-03 14:32"))
    whole = engine.orders[order.venue_id]
    assert [(fill.qty, fill.price) for fill in whole.fills] == [
        (Decimal(10), Decimal(100)),
        (Decimal(10), Decimal(101)),
        (Decimal(5), Decimal(102)),
    ]
    assert whole.state is OrderState.FILLED
    assert engine.orders[all_or_none.venue_id].state is OrderState.CANCELED


def test_market_buy_by_amount_ends_as_cancelled_with_a_remainder_too_small_for_a_lot() -> None:
    engine = engine_of(KRW_CRYPTO, {"KRW-BTC": flat_minutes(OPEN, [90_001_000.0] * 3)}, cash="1000000")
    order = engine.submit(ticket("a", "KRW-BTC", Side.BUY, funds="900000", force=Force.REST), utc(OPEN))
    assert engine.account.locked == Decimal(900_450)
    engine.advance(utc("2025-03-03 14:31"))
    ended = engine.orders[order.venue_id]
    assert ended.state is OrderState.CANCELED
    assert ended.filled_qty == Decimal("0.00999988")
    assert ended.fee == Decimal("0.0005") * ended.filled_funds
    assert engine.account.locked == 0
    assert engine.account.cash == Decimal(1_000_000) - ended.filled_funds - ended.fee


def test_absent_minutes_are_passed_over() -> None:
    rows = [row for n, row in enumerate(flat_minutes(OPEN, [200.0, 201.0, 202.0, 203.0])) if n not in (1, 2)]
    engine = engine_of(KRW_CRYPTO, {"KRW-DOGE": rows})
    order = engine.submit(
        ticket("a", "KRW-DOGE", Side.BUY, funds="10000", force=Force.REST), utc("2025-03-03 14:30:30")
    )
    engine.advance(utc("2025-03-03 14:32:59"))
    assert engine.orders[order.venue_id].is_open
    engine.advance(utc("2025-03-03 14:33"))
    assert engine.orders[order.venue_id].avg_price == Decimal(203)


def test_a_standing_order_of_the_other_side_that_it_would_meet_is_refused_on_the_stock_venue(rising: Engine) -> None:
    rising.submit(ticket("hold", "AAPL", Side.BUY, qty="10"), utc(OPEN))
    rising.advance(utc(OPEN))
    resting = rising.submit(ticket("a", "AAPL", Side.SELL, qty="5", limit="120"), utc(OPEN))
    with pytest.raises(RefusedError) as refused:
        rising.submit(ticket("b", "AAPL", Side.BUY, qty="5", limit="121"), utc(OPEN))
    assert refused.value.reason is RefusalReason.WASH_TRADE
    assert refused.value.other_id == resting.venue_id
    assert rising.submit(ticket("c", "AAPL", Side.BUY, qty="5", limit="99"), utc(OPEN)).is_open


def test_an_id_serves_once_also_after_its_order_has_ended(rising: Engine) -> None:
    order = rising.submit(ticket("a", "AAPL", Side.BUY, qty="1", limit="50"), utc(OPEN))
    rising.cancel(order.venue_id, utc(OPEN))
    with pytest.raises(RefusedError) as refused:
        rising.submit(ticket("a", "AAPL", Side.BUY, qty="1"), utc("2025-03-03 14:31"))
    assert refused.value.reason is RefusalReason.DUPLICATE_ID


def test_a_refused_order_uses_up_its_id_on_upbit_only() -> None:
    rows = {"KRW-BTC": flat_minutes(OPEN, [90_000_000.0] * 3)}
    for market, symbol, reasons in (
        (KRW_CRYPTO, "KRW-BTC", [RefusalReason.CASH, RefusalReason.DUPLICATE_ID]),
        (US_EQUITY, "AAPL", [RefusalReason.CASH, RefusalReason.CASH]),
    ):
        engine = engine_of(market, {symbol: rows["KRW-BTC"]}, cash="1000")
        for reason in reasons:
            with pytest.raises(RefusedError) as refused:
                engine.submit(ticket("a", symbol, Side.BUY, funds="2000", force=Force.DAY), utc(OPEN))
            assert refused.value.reason is reason


def test_selling_more_than_what_is_free_is_refused(rising: Engine) -> None:
    rising.submit(ticket("hold", "AAPL", Side.BUY, qty="10"), utc(OPEN))
    rising.advance(utc(OPEN))
    rising.submit(ticket("a", "AAPL", Side.SELL, qty="6", limit="200"), utc(OPEN))
    with pytest.raises(RefusedError) as refused:
        rising.submit(ticket("b", "AAPL", Side.SELL, qty="5", limit="200"), utc(OPEN))
    assert (refused.value.wanted, refused.value.available) == (Decimal(5), Decimal(4))
