"""The simulated book shown as any other book, so that the same checks and reports read it."""

from __future__ import annotations

import numpy as np

from quant_pipeline.core.trading.decisions import BookView
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.state import BookState
from quant_pipeline.core.values import Side


def book_view(
    state: BookState, symbols: tuple[str, ...], params: TradingParams, *, now_ns: int, paused: bool = False
) -> BookView:
    """The state as a `BookView` over `symbols` at `now_ns` (UTC epoch ns), marked at the last prices.

    Raises:
        ValueError: the state speaks of a symbol that is not among `symbols`.
    """
    missing = [symbol for symbol in state.symbols if symbol not in symbols]
    if missing:
        msg = f"the book holds or orders {', '.join(missing)}, which is not among {', '.join(symbols)}; add it"
        raise ValueError(msg)
    index = {symbol: i for i, symbol in enumerate(symbols)}
    lots, selling = np.zeros(len(symbols), np.int64), np.zeros(len(symbols), np.int64)
    average, mark, buying = (np.zeros(len(symbols)) for _ in range(3))
    for held in state.holdings:
        i = index[held.symbol]
        lots[i], average[i], mark[i] = held.lots, held.avg_price, held.last_price
    for order in state.pending:
        if order.side is Side.BUY:
            buying[index[order.symbol]] = order.notional
        else:
            selling[index[order.symbol]] = order.lots
    return BookView(
        symbols=symbols,
        lots=lots,
        avg_price=average,
        mark_price=mark,
        pending_buy_notional=buying,
        pending_sell_lots=selling,
        cash=state.cash,
        equity=state.equity(params.qty_decimals),
        day_start_equity=state.day_start_equity,
        day_flows=state.day_flows,
        trades_today=state.trades_today,
        halted_until_ns=state.halted_until_ns,
        now_ns=now_ns,
        paused=paused,
        rebalance_into=None if state.rebalance is None else state.rebalance.into,
    )
