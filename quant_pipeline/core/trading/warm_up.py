"""Compiles the trading kernels ahead of their first use, about 15 seconds of one core; decides nothing."""

from __future__ import annotations

import numpy as np

from quant_pipeline.core.trading.decisions import BarInputs, BookView, decide, review_rebalance_in
from quant_pipeline.core.trading.exits import due_exits
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowBars, roll_shadow
from quant_pipeline.core.trading.state import BookState
from quant_pipeline.core.values import Vote

_SYMBOL = ("A",)


def compile_trading() -> None:
    """Run every kernel once on one bar of one symbol, which compiles it or finds it in numba's cache."""
    params = TradingParams()
    one = np.ones(1)
    roll_shadow(_bars(), BookState(cash=1000.0), params)
    decide(_inputs((1,)), _book(), params)
    review_rebalance_in(_book(), params, _SYMBOL[0], price=1.0, confidence=1.0, vol20=0.01)
    due_exits(_SYMBOL, one, one, np.ones(1, np.int64), np.zeros(1, np.bool_), params)


def _inputs(shape: tuple[int, ...]) -> BarInputs:
    return BarInputs(
        symbols=_SYMBOL,
        price=np.ones(shape),
        vote=np.full(shape, int(Vote.HOLD), np.int8),
        status=np.zeros(shape, np.int8),
        expected_return=np.zeros(shape),
        confidence=np.zeros(shape),
        members_usable=np.zeros(shape, np.int64),
        has_model=np.zeros(shape, np.bool_),
        has_opinion=np.zeros(shape, np.bool_),
        vol20=np.ones(shape),
    )


def _bars() -> ShadowBars:
    flat = np.ones((1, 1))
    return ShadowBars(
        inputs=_inputs((1, 1)),
        open=flat,
        high=flat,
        low=flat,
        traded=np.ones((1, 1), np.bool_),
        session=np.ones(1, np.int64),
        start_ns=np.zeros(1, np.int64),
        end_ns=np.ones(1, np.int64),
    )


def _book() -> BookView:
    return BookView(
        symbols=_SYMBOL,
        lots=np.zeros(1, np.int64),
        avg_price=np.zeros(1),
        pending_buy_notional=np.zeros(1),
        pending_sell_lots=np.zeros(1, np.int64),
        cash=1000.0,
        equity=1000.0,
        day_start_equity=1000.0,
        now_ns=1,
    )
