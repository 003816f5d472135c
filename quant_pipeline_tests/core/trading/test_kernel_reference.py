"""The compiled kernel equals a slow, independently written book bit for bit."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.trading.decisions import BookView, decide
from quant_pipeline.core.trading.shadow import ShadowResult, roll_shadow
from quant_pipeline.core.trading.state import BookState
from quant_pipeline_tests.core.trading.building import PROPERTY
from quant_pipeline_tests.core.trading.reference_decide import Desk, Review, Rules, Symbol, Verdict
from quant_pipeline_tests.core.trading.reference_roll import Reference, events_of
from quant_pipeline_tests.core.trading.worlds import HOUR_NS, START_NS, World, draw_world, rows

SEED = st.integers(0, 2**32 - 1)


def same_bits(got: np.ndarray, wanted: list[object]) -> None:
    np.testing.assert_array_equal(got, np.array(wanted, got.dtype).reshape(got.shape), strict=True)


def assert_verdicts(got: object, verdicts: list[Verdict] | list[list[Verdict]]) -> None:
    for name in ("action", "reason", "lots", "notional", "pair"):
        table = [[getattr(v, name) for v in row] if isinstance(row, list) else getattr(row, name) for row in verdicts]
        same_bits(getattr(got, name), table)


def assert_equal(result: ShadowResult, reference: Reference) -> None:
    assert_verdicts(result, reference.verdicts)
    for column, got in enumerate((result.equity, result.cash, result.exposure, result.halted_until_ns)):
        same_bits(got, [row[column] for row in reference.rows])
    ints, floats = events_of(reference)
    filled = ints[:, 3] > 0
    fills, drops = result.fills, result.drops
    whole = (fills.bar, fills.symbol, fills.side, fills.lots, fills.reason, fills.decided_ns)
    for column, got in enumerate(whole):
        same_bits(got, ints[filled, column].tolist())
    for column, got in enumerate((fills.price, fills.fee, fills.realised)):
        same_bits(got, floats[filled, column].tolist())
    for column, got in zip(
        (0, 1, 2, 4, 5), (drops.bar, drops.symbol, drops.side, drops.reason, drops.decided_ns), strict=True
    ):
        same_bits(got, ints[~filled, column].tolist())
    held = {name: slot for name, slot in zip(result.symbols, reference.slots, strict=True) if slot.lots}
    assert {h.symbol: (h.lots, h.avg_price, h.last_price, h.profit_taken) for h in result.state.holdings} == {
        name: (slot.lots, slot.average, slot.last, slot.taken) for name, slot in held.items()
    }
    assert (result.state.cash, result.state.realised, result.state.fees) == (
        reference.cash,
        reference.realised,
        reference.fees_paid,
    )
    assert (result.state.day_start_equity, result.state.day_flows, result.state.trades_today) == (
        reference.day_start,
        reference.day_flows,
        reference.trades,
    )


@settings(PROPERTY, max_examples=150)
@given(seed=SEED, bars=st.integers(1, 60), symbols=st.integers(1, 7))
def test_rolling_a_book(seed: int, bars: int, symbols: int) -> None:
    world = draw_world(seed, bars, symbols)
    result = roll_shadow(world.bars, BookState(cash=world.cash), world.params)
    assert_equal(result, Reference(world.params, world.bars, world.cash).run())


def draw_view(seed: int, world: World) -> BookView:
    """A book in any condition: holdings, orders under way, losses, halts, an exchange."""
    rng = np.random.default_rng(seed)
    names = world.bars.inputs.symbols
    size = len(names)
    price = world.bars.inputs.price[0]
    unit = 10**world.params.qty_decimals
    lots = np.where(rng.random(size) < 0.5, rng.integers(1, 40 * unit, size), 0)
    average = np.where(np.isfinite(price), price, 50.0) * rng.choice([0.9, 1.0, 1.1], size)
    held = float(np.nansum(lots / unit * np.where(np.isfinite(price), price, average)))
    cash = held * float(rng.choice([0.0, 0.1, 0.5, 3.0])) + float(rng.choice([0.0, 5_000.0]))
    equity = held + cash
    return BookView(
        symbols=names,
        lots=lots,
        avg_price=average,
        pending_buy_notional=np.where(rng.random(size) < 0.2, 0.05 * equity, 0.0),
        pending_sell_lots=np.where(rng.random(size) < 0.2, lots // 2, 0),
        cash=cash,
        equity=equity,
        day_start_equity=equity * float(rng.choice([0.9, 1.0, 1.0, 1.02, 1.5])),
        now_ns=START_NS,
        day_flows=float(rng.choice([0.0, -100.0])),
        trades_today=int(rng.choice([0, 1, 2, 49, 50])),
        halted_until_ns=START_NS + int(rng.choice([-1, 0, 0, 0, 1])) * HOUR_NS,
        paused=bool(rng.random() < 0.1),
        rebalance_into=str(rng.choice(names)) if rng.random() < 0.2 else None,
    )


@settings(PROPERTY, max_examples=300)
@given(seed=SEED, symbols=st.integers(1, 12))
def test_deciding_one_bar_of_any_book(seed: int, symbols: int) -> None:
    world = draw_world(seed, 1, symbols, events=False)
    inputs, view = rows(world.bars.inputs, 0), draw_view(seed, world)
    decided = decide(inputs, view, world.params)
    columns = (inputs.price, inputs.vote, inputs.status, inputs.expected_return, inputs.confidence)
    columns += (inputs.members_usable, inputs.has_model, inputs.has_opinion, inputs.vol20)
    items = [Symbol(*(column[i].item() for column in columns)) for i in range(symbols)]
    for i, item in enumerate(items):
        item.lots, item.buying = int(view.lots[i]), float(view.pending_buy_notional[i])
        item.selling = int(view.pending_sell_lots[i])
        item.mark = item.price if item.price > 0 else float(view.avg_price[i])
    into = None if view.rebalance_into is None else view.symbols.index(view.rebalance_into)
    desk = Desk(
        items,
        view.cash,
        view.equity,
        view.day_start_equity,
        view.day_flows,
        view.trades_today,
        view.halted_until_ns,
        view.now_ns,
        view.paused,
        into,
    )
    assert_verdicts(decided, Review(Rules(world.params, world.params.fee_row()), desk).decide())
    assert decided.halted_until_ns == desk.halted_until
    assert decided.trades_today == desk.trades
