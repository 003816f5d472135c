"""Money and holdings are conserved whatever is sent, and time taken in steps gives what one step gives."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.values import Side
from quant_pipeline.exchange.engine import Engine, exact_money
from quant_pipeline.exchange.orders import Force, Kind, RefusedError, Ticket
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, Market
from quant_pipeline.markets.rules import round_price
from quant_pipeline_tests.exchange.makers import engine_of, flat_minutes, utc

START = utc("2025-03-03 14:30")
CASH = "1000000"
SYMBOLS = {US_EQUITY.name: ("AAPL", "KO"), KRW_CRYPTO.name: ("KRW-ETH", "KRW-XRP")}
WAVE = [1000.0, 1004.0, 997.0, 1011.0, 990.0, 1003.0, 1020.0, 985.0, 1001.0, 996.0] * 3


@dataclass(frozen=True)
class Step:
    """Wait some seconds, then send an order (or cancel an older one)."""

    wait: int
    symbol: int
    side: Side
    force: Force
    by_funds: bool
    amount: Decimal
    limit_away: int | None
    cancels: int | None


steps = st.builds(
    Step,
    wait=st.integers(0, 400),
    symbol=st.integers(0, 1),
    side=st.sampled_from(Side),
    force=st.sampled_from((Force.DAY, Force.GTC, Force.IOC, Force.FOK, Force.POST_ONLY)),
    by_funds=st.booleans(),
    amount=st.decimals("0.00000001", "700", places=8),
    limit_away=st.none() | st.integers(-15, 15),
    cancels=st.none() | st.integers(0, 12),
)
markets = st.sampled_from((US_EQUITY, KRW_CRYPTO))
shares = st.sampled_from((None, "0.01", "0.5"))


def _ticket(number: int, step: Step, market: Market) -> Ticket:
    limit = None if step.limit_away is None else round_price(market, Decimal(1000 + step.limit_away))
    by_funds = step.by_funds and step.side is Side.BUY and limit is None
    return Ticket(
        f"order-{number}",
        SYMBOLS[market.name][step.symbol],
        step.side,
        Kind.MARKET if limit is None else Kind.LIMIT,
        step.force,
        qty=None if by_funds else step.amount,
        funds=step.amount * 1000 if by_funds else None,
        limit_price=limit,
        wire={"ord_type": "limit", "named": "yes"},
    )


def _new_engine(market: Market, share: str | None) -> Engine:
    rows = {symbol: flat_minutes("2025-03-03 14:30", WAVE, volume=300.0) for symbol in SYMBOLS[market.name]}
    return engine_of(market, rows, cash=CASH, half_spread_bp="5", max_participation=share)


def _assert_conserved(engine: Engine) -> None:
    """Every balance is the sum of the fills, every lock the sum of what open orders bind."""
    account, orders = engine.account, engine.orders.values()
    with exact_money():
        cash, fees = Decimal(CASH), Decimal(0)
        held: dict[str, Decimal] = {}
        for venue_id, fill in engine.fill_log:
            ticket = engine.orders[venue_id].ticket
            sign = 1 if ticket.side is Side.BUY else -1
            cash -= sign * fill.price * fill.qty + fill.fee
            fees += fill.fee
            held[ticket.symbol] = held.get(ticket.symbol, Decimal(0)) + sign * fill.qty
        assert account.cash == cash
        assert account.fees_paid == fees
        assert account.locked == sum((o.reserved for o in orders if o.is_open), Decimal(0)) >= 0
        for symbol in SYMBOLS[engine.feed.market.name]:
            holding = account.holding(symbol)
            assert holding.qty == held.get(symbol, Decimal(0))
            bound = sum((o.reserved_qty for o in orders if o.is_open and o.ticket.symbol == symbol), Decimal(0))
            assert 0 <= holding.locked == bound <= holding.qty
        for order in orders:
            assert order.filled_qty == sum((fill.qty for fill in order.fills), Decimal(0))
            assert order.is_open or order.reserved == order.reserved_qty == 0
            assert order.ticket.qty is None or order.filled_qty <= order.ticket.qty
            assert order.ticket.funds is None or order.filled_funds <= order.ticket.funds


def _run(engine: Engine, todo: list[Step], *, pause: timedelta | None) -> datetime:
    """Send all steps; between them move the clock at once, or in many small steps of `pause`."""
    now, sent = START, 0
    for step in todo:
        target = now + timedelta(seconds=step.wait)
        while pause is not None and now + pause < target:
            now += pause
            engine.advance(now)
        now = target
        engine.advance(now)
        if step.cancels is not None:
            known = list(engine.orders)
            if step.cancels < len(known):
                engine.cancel(known[step.cancels], now)
            continue
        sent += 1
        try:
            engine.submit(_ticket(sent, step, engine.feed.market), now)
        except RefusedError:
            continue
    return now


@given(markets, shares, st.lists(steps, max_size=15))
@settings(max_examples=150, deadline=None)
def test_balances_are_the_sum_of_the_fills_and_locks_of_the_open_orders(
    market: Market, share: str | None, todo: list[Step]
) -> None:
    engine = _new_engine(market, share)
    now = _run(engine, todo, pause=None)
    _assert_conserved(engine)
    engine.advance(now + timedelta(days=3))
    _assert_conserved(engine)


@given(markets, shares, st.lists(steps, max_size=12), st.integers(7, 90))
@settings(max_examples=100, deadline=None)
def test_many_small_steps_of_the_clock_give_what_one_step_gives(
    market: Market, share: str | None, todo: list[Step], seconds: int
) -> None:
    in_one, in_many = _new_engine(market, share), _new_engine(market, share)
    _run(in_one, todo, pause=None)
    _run(in_many, todo, pause=timedelta(seconds=seconds))
    assert in_one.fill_log == in_many.fill_log
    assert in_one.account == in_many.account
    assert [(o.state, o.updated_at, o.fills) for o in in_one.orders.values()] == [
        (o.state, o.updated_at, o.fills) for o in in_many.orders.values()
    ]
