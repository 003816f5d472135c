from __future__ import annotations

import pytest

from quant_pipeline.core.trading.risk import risk_snapshot
from quant_pipeline.core.trading.state import BookState, Holding, PendingOrder, RebalancePlan
from quant_pipeline.core.trading.views import book_view
from quant_pipeline.core.values import Reason, Side
from quant_pipeline_tests.core.trading.building import HOUR_NS, NOW_NS, PLAIN

STATE = BookState(
    cash=80_000.0,
    day_start_equity=100_000.0,
    trades_today=2,
    halted_until_ns=NOW_NS + HOUR_NS,
    holdings=(Holding("B", 100, 90.0, 110.0),),
    pending=(
        PendingOrder("A", Side.BUY, 50, 5_000.0, Reason.BUY_SIGNAL, 1, NOW_NS),
        PendingOrder("B", Side.SELL, 40, 0.0, Reason.SELL_SIGNAL, 1, NOW_NS),
    ),
    rebalance=RebalancePlan("C", "B", 0.02, 0.9, 0.01, 1, NOW_NS),
)


def test_the_simulated_book_is_read_like_a_brokers() -> None:
    view = book_view(STATE, ("A", "B", "C"), PLAIN, now_ns=NOW_NS, paused=True)
    assert view.lots.tolist() == [0, 100, 0]
    assert view.pending_buy_notional.tolist() == [5_000.0, 0.0, 0.0]
    assert view.pending_sell_lots.tolist() == [0, 40, 0]
    assert (view.equity, view.paused, view.rebalance_into) == (91_000.0, True, "C")
    seen = risk_snapshot(view, PLAIN)
    assert (seen.exposure, seen.positions, seen.trades_today) == (16_000.0, 2, 2)
    assert seen.halted_until_ns == NOW_NS + HOUR_NS


def test_a_view_without_a_held_symbol_is_refused() -> None:
    with pytest.raises(ValueError, match="holds or orders B, C"):
        book_view(STATE, ("A",), PLAIN, now_ns=NOW_NS)
