"""What must hold for every book in every world, and that rolling is the same however it is cut."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from quant_pipeline.core.trading.decisions import decide
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowResult, roll_shadow
from quant_pipeline.core.trading.state import BookState, state_from_bytes, state_hash, state_to_bytes
from quant_pipeline.core.trading.views import book_view
from quant_pipeline.core.values import Action, Reason, Side
from quant_pipeline_tests.core.trading.building import BUY, PROPERTY, book, inputs
from quant_pipeline_tests.core.trading.worlds import World, cut, draw_world, rows

SEED = st.integers(0, 2**32 - 1)
WORLDS = st.builds(draw_world, SEED, st.integers(1, 60), st.integers(1, 7))
TINY = 1e-9


def rolled(world: World) -> ShadowResult:
    return roll_shadow(world.bars, BookState(cash=world.cash), world.params)


def tables(result: ShadowResult) -> list[np.ndarray]:
    """All arrays of a result except those that name a bar by its index."""
    fills, drops = result.fills, result.drops
    made = [result.action, result.reason, result.lots, result.notional, result.pair, result.equity, result.cash]
    made += [result.exposure, result.holdings, result.halted_until_ns]
    made += [fills.symbol, fills.side, fills.lots, fills.price, fills.fee, fills.realised, fills.reason]
    return [*made, fills.decided_ns, drops.symbol, drops.side, drops.reason, drops.decided_ns]


@settings(PROPERTY, max_examples=150)
@given(WORLDS, st.integers(0, 60), st.integers(0, 60))
def test_rolling_in_pieces_gives_the_same_bytes(world: World, one: int, other: int) -> None:
    length = len(world.bars.start_ns)
    edges = sorted({0, min(one, length), min(other, length), length})
    state, pieces = BookState(cash=world.cash), []
    for first, last in pairwise(edges):
        piece = roll_shadow(cut(world.bars, first, last), state, world.params)
        state = state_from_bytes(state_to_bytes(piece.state))
        pieces.append((first, piece))
    whole = rolled(world)
    assert state_to_bytes(state) == state_to_bytes(whole.state)
    for k, table in enumerate(tables(whole)):
        assert np.concatenate([tables(piece)[k] for _, piece in pieces]).tobytes() == table.tobytes()
    assert np.concatenate([first + piece.fills.bar for first, piece in pieces]).tolist() == whole.fills.bar.tolist()
    assert np.concatenate([first + piece.drops.bar for first, piece in pieces]).tolist() == whole.drops.bar.tolist()


@PROPERTY
@given(WORLDS)
def test_rolling_twice_gives_the_same_bytes_and_changes_no_argument(world: World) -> None:
    before = [table.tobytes() for table in (world.bars.open, world.bars.inputs.price, world.bars.inputs.confidence)]
    one, two = rolled(world), rolled(world)
    assert [a.tobytes() for a in tables(one)] == [b.tobytes() for b in tables(two)]
    after = [table.tobytes() for table in (world.bars.open, world.bars.inputs.price, world.bars.inputs.confidence)]
    assert before == after


@PROPERTY
@given(WORLDS, st.integers(1, 3))
def test_a_symbol_that_is_added_later_restates_nobody(world: World, where: int) -> None:
    plain = rolled(world)
    symbols = world.bars.inputs.symbols
    name = ["A", "S00a", "Z"][where - 1]
    at = sorted([*symbols, name]).index(name)

    def widen(table: np.ndarray | None, value: float) -> np.ndarray | None:
        return None if table is None else np.insert(table, at, value, axis=1)

    old = world.bars.inputs
    wide_inputs = replace(
        old,
        symbols=tuple(sorted([*symbols, name])),
        price=widen(old.price, np.nan),
        vote=widen(old.vote, 0),
        status=widen(old.status, int(Reason.NO_HISTORY)),
        expected_return=widen(old.expected_return, np.nan),
        confidence=widen(old.confidence, np.nan),
        members_usable=widen(old.members_usable, 0),
        has_model=widen(old.has_model, 0),
        has_opinion=widen(old.has_opinion, 0),
        vol20=widen(old.vol20, np.nan),
    )
    wide = replace(
        world.bars,
        inputs=wide_inputs,
        open=widen(world.bars.open, np.nan),
        high=widen(world.bars.high, np.nan),
        low=widen(world.bars.low, np.nan),
        traded=widen(world.bars.traded, 0),
        split=widen(world.bars.split, 1.0),
        dividend=widen(world.bars.dividend, 0.0),
    )
    result = roll_shadow(wide, BookState(cash=world.cash), world.params)
    assert state_hash(result.state) == state_hash(plain.state)
    assert np.delete(result.reason, at, axis=1).tobytes() == plain.reason.tobytes()
    assert result.equity.tobytes() == plain.equity.tobytes()


@PROPERTY
@given(WORLDS)
def test_cash_is_never_negative_and_fills_add_up(world: World) -> None:
    result = rolled(world)
    assert (result.cash >= 0.0).all()
    scale = 10.0**world.params.qty_decimals
    fills = result.fills
    value = fills.lots / scale * fills.price
    paid = np.where(fills.side > 0, value + fills.fee, fills.fee - value)
    flows = 0.0 if world.bars.flow is None else world.bars.flow.sum()
    if world.bars.split is None or (world.bars.split == 1.0).all():
        before = np.vstack([np.zeros((1, result.holdings.shape[1]), np.int64), result.holdings[:-1]])
        flows += float((before / scale * world.bars.dividend).sum())
        np.testing.assert_allclose(result.cash[-1], world.cash + flows - paid.sum(), rtol=1e-9, atol=1e-6)


@PROPERTY
@given(SEED, st.integers(1, 60), st.integers(1, 7))
def test_equity_is_cash_and_holdings_and_also_the_start_and_every_result(seed: int, bars: int, symbols: int) -> None:
    world = draw_world(seed, bars, symbols, events=False)
    result = rolled(world)
    close = world.bars.inputs.price.copy()
    close[~world.bars.traded] = np.nan
    scale = 10.0**world.params.qty_decimals
    mark = np.zeros(symbols)
    for t in range(bars):
        mark = np.where(world.bars.traded[t], close[t], mark)
        held = float((result.holdings[t] / scale * mark).sum())
        np.testing.assert_allclose(result.equity[t], result.cash[t] + held, rtol=1e-12)
    state = result.state
    unrealised = sum(h.lots / scale * (h.last_price - h.avg_price) for h in state.holdings)
    np.testing.assert_allclose(result.equity[-1], world.cash + state.realised + unrealised, rtol=1e-9)
    np.testing.assert_allclose(result.fills.realised.sum(), state.realised, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(result.fills.fee.sum(), state.fees, rtol=1e-9, atol=1e-6)


@PROPERTY
@given(WORLDS)
def test_limits_hold_where_an_entry_is_decided(world: World) -> None:
    result, params = rolled(world), world.params
    scale = 10.0**params.qty_decimals
    for t, i in np.argwhere(result.action == Action.BUY):
        equity = result.equity[t]
        assert result.exposure[t] <= params.max_exposure * equity * (1 + TINY)
        held = result.holdings[t, i] / scale * world.bars.inputs.price[t, i]
        assert held + result.notional[t, i] <= params.max_position * equity * (1 + TINY)
        assert result.notional[t, i] >= params.min_notional
    for side, reason in ((1, Reason.BUY_SIGNAL), (-1, Reason.SELL_SIGNAL)):
        done = (result.action == side) & (result.reason != Reason.REBALANCE_OUT)
        assert (result.reason[done] == reason).all()
    if params.min_notional == 0.0:
        assert ((result.holdings > 0).sum(axis=1) <= params.max_positions).all()


@PROPERTY
@given(WORLDS)
def test_nothing_is_entered_while_halted_or_paused(world: World) -> None:
    result, bars = rolled(world), world.bars
    blocked = bars.paused | (bars.end_ns < result.halted_until_ns)
    assert not (result.action[blocked] == Action.BUY).any()
    assert not (result.reason[blocked] == Reason.REBALANCE_OUT).any()
    for t in result.fills.bar[result.fills.side > 0]:
        assert t > 0
        assert not blocked[t - 1]


@PROPERTY
@given(WORLDS)
def test_a_halt_lasts_exactly_its_hours_and_only_a_loss_starts_one(world: World) -> None:
    result, bars = rolled(world), world.bars
    length = round(world.params.halt_hours * 3_600_000_000_000)
    before = 0
    for end, until in zip(bars.end_ns.tolist(), result.halted_until_ns.tolist(), strict=True):
        if until != before:
            assert until == end + length
            assert end >= before
        before = until


@PROPERTY
@given(WORLDS)
def test_every_symbol_of_every_bar_has_a_reason_and_only_agreement_acts(world: World) -> None:
    result, known = rolled(world), world.bars.inputs
    assert set(np.unique(result.reason)) <= {int(reason) for reason in Reason}
    acting = (result.action != Action.NONE) & (result.reason != Reason.REBALANCE_OUT)
    assert (known.status[acting] == 0).all()
    assert (known.members_usable[acting] >= 2).all()
    assert (known.confidence[acting] > world.params.min_confidence).all()
    assert known.has_model[acting].all()
    sign = np.sign(known.expected_return[acting])
    assert (sign == result.action[acting]).all()
    if not world.params.vote_abstains:
        assert (known.vote[acting] == result.action[acting]).all()
    given_up = result.reason == Reason.REBALANCE_OUT
    assert (known.members_usable[given_up] >= 2).all()
    assert known.has_opinion[given_up].all()
    assert (given_up.sum(axis=1) <= 1).all()
    assert ((result.pair >= 0) == given_up).all()


@PROPERTY
@given(WORLDS)
def test_fewer_than_two_members_never_trade(world: World) -> None:
    lonely = replace(world.bars.inputs, members_usable=np.minimum(world.bars.inputs.members_usable, 1))
    result = roll_shadow(replace(world.bars, inputs=lonely), BookState(cash=world.cash), world.params)
    assert not result.action.any()
    assert len(result.fills.bar) == 0


@PROPERTY
@given(WORLDS)
def test_every_decision_ends_as_one_fill_or_one_drop_or_still_waits(world: World) -> None:
    result = rolled(world)
    assume(world.bars.split is None or (world.bars.split == 1.0).all())  # a split can turn an order into nothing
    ends = world.bars.end_ns.tolist()
    decided = [(ends[t], int(i), int(result.action[t, i])) for t, i in np.argwhere(result.action != 0)]
    planned = [(ends[t], int(result.pair[t, i]), 1) for t, i in np.argwhere(result.pair >= 0)]
    fills, drops = result.fills, result.drops
    made = [(int(d), int(i), int(s)) for d, i, s in zip(fills.decided_ns, fills.symbol, fills.side, strict=True) if d]
    ended = [(int(d), int(i), int(s)) for d, i, s in zip(drops.decided_ns, drops.symbol, drops.side, strict=True)]
    position = {name: i for i, name in enumerate(result.symbols)}
    open_orders = [(o.decided_ns, position[o.symbol], 1 if o.side is Side.BUY else -1) for o in result.state.pending]
    plan = result.state.rebalance
    open_plans = [] if plan is None else [(plan.decided_ns, position[plan.into], 1)]
    assert sorted(decided + planned) == sorted(made + ended + open_orders + open_plans)


@PROPERTY
@given(SEED, st.integers(2, 40), st.integers(1, 6))
def test_the_live_decision_equals_the_one_of_the_simulated_book(seed: int, bars: int, symbols: int) -> None:
    """The book is taken at a close just before its decision, shown to `decide`, and must decide the same."""
    world = draw_world(seed, bars, symbols, events=False)
    params = replace(world.params, expiry_bars=1)  # so that nothing waits over a close
    last = bars - 1
    start = BookState(cash=world.cash)
    before = roll_shadow(cut(world.bars, 0, last), start, params).state
    bar = cut(world.bars, last, bars)
    quiet = replace(
        bar.inputs, vote=np.zeros((1, symbols), np.int8), status=np.full((1, symbols), int(Reason.BAD_DATA))
    )
    at_close = roll_shadow(replace(bar, inputs=quiet), before, params)
    state = at_close.state
    view = book_view(state, at_close.symbols, params, now_ns=int(bar.end_ns[0]), paused=bool(bar.paused[0]))
    assert view.equity == at_close.equity[0]
    assert state.pending == ()
    live, simulated = decide(rows(bar.inputs, 0), view, params), roll_shadow(bar, before, params)
    for name in ("action", "reason", "lots", "notional", "pair"):
        assert getattr(live, name).tobytes() == getattr(simulated, name)[0].tobytes()
    assert live.halted_until_ns == simulated.halted_until_ns[0]
    np.testing.assert_allclose(live.exposure, simulated.exposure[0], rtol=1e-12)  # added up in another order


@settings(PROPERTY, max_examples=60)
@given(SEED, st.integers(1, 40), st.integers(2, 6), st.randoms(use_true_random=False))
def test_the_order_of_symbols_matters_only_for_ties(seed: int, bars: int, symbols: int, shuffle: object) -> None:
    world = draw_world(seed, bars, symbols, events=False)
    rng = np.random.default_rng(seed)
    spread = 1e-6 * rng.random((bars, symbols))  # no two expectations are equal
    known = replace(world.bars.inputs, expected_return=world.bars.inputs.expected_return + spread)
    jitter = 1 + 1e-5 * rng.random((bars, symbols))  # no size lies exactly on a lot or a limit
    bars_ = replace(
        world.bars,
        inputs=replace(known, price=known.price * jitter),
        high=np.maximum(world.bars.high, np.nan_to_num(known.price * jitter)),
    )
    order = list(range(symbols))
    shuffle.shuffle(order)  # type: ignore[attr-defined]

    def permuted(table: np.ndarray) -> np.ndarray:
        return table[:, order] if table.ndim == 2 else table

    moved_inputs = replace(
        bars_.inputs,
        **{n: permuted(getattr(bars_.inputs, n)) for n in bars_.inputs.__slots__ if n != "symbols"},
    )
    moved_bars = replace(
        bars_, inputs=moved_inputs, **{n: permuted(getattr(bars_, n)) for n in ("open", "high", "low", "traded")}
    )
    one = roll_shadow(bars_, BookState(cash=world.cash), world.params)
    two = roll_shadow(moved_bars, BookState(cash=world.cash), world.params)
    np.testing.assert_array_equal(one.reason[:, order], two.reason)
    np.testing.assert_array_equal(one.lots[:, order], two.lots)
    np.testing.assert_array_equal(one.holdings[:, order], two.holdings)
    np.testing.assert_allclose(one.equity, two.equity, rtol=1e-12)


CONFIDENCE = st.floats(0.71, 1.2)
VOL = st.floats(0.0, 0.2)


@PROPERTY
@given(CONFIDENCE, CONFIDENCE, VOL, VOL, st.floats(0.01, 50_000.0))
def test_an_entry_grows_with_confidence_and_shrinks_with_volatility(
    one: float, other: float, calm: float, wild: float, price: float
) -> None:
    unsure, sure = sorted((one, other))
    calm, wild = sorted((calm, wild))
    params = TradingParams(slippage=0.0, qty_decimals=8)

    def size(confidence: float, vol: float) -> int:
        decided = decide(inputs(1, vote=BUY, price=price, confidence=confidence, vol20=vol), book(1), params)
        return int(decided.lots[0])

    assert size(unsure, wild) <= size(sure, wild) <= size(sure, calm)
    assert size(unsure, wild) <= size(unsure, calm) <= size(sure, calm)
