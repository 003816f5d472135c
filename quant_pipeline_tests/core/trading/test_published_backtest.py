"""The simulated book repeats published trade lists of another engine: size, price, commission and final equity.

That engine sizes an entry with all its cash at the price of the fill, ours at the close of the decision, and then cuts
it to what cash can pay. So a bar that decides an entry is given a low close here, which makes the cut decide the size.
"""

from __future__ import annotations

import csv
import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from quant_pipeline.core.trading.decisions import BarInputs
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowBars, roll_shadow
from quant_pipeline.core.trading.state import BookState

DAY_NS = 86_400_000_000_000


@dataclass(frozen=True)
class Published:
    """Bars, settings and the trades of a published run."""

    open: np.ndarray
    close: np.ndarray
    cash: float
    commission: float
    equity: float
    trades: list[dict[str, str]]


def published(folder: Path, name: str) -> Published:
    run = json.loads((folder / "golden" / "backtest" / f"{name}.json").read_text())
    with gzip.open(folder / run["data"].split(" ")[0], "rt") as source:
        bars = [{key.lower(): value for key, value in row.items()} for row in csv.DictReader(source)]
    with (folder / "golden" / "backtest" / f"{name}_trades.csv").open() as source:
        trades = list(csv.DictReader(source))
    opened, close = (np.array([float(bar[column]) for bar in bars]) for column in ("open", "close"))
    return Published(opened, close, run["cash"], run["commission"], run["stats"]["Equity Final [$]"], trades)


def crossings(close: np.ndarray) -> np.ndarray:
    """+1 where the mean of 20 closes crosses above that of 50, -1 where it crosses below, else 0."""
    total = np.concatenate([[0.0], np.cumsum(close)])

    def mean(length: int) -> np.ndarray:
        return np.concatenate([np.full(length - 1, np.nan), (total[length:] - total[:-length]) / length])

    gap = mean(20) - mean(50)
    before = np.concatenate([[np.nan], gap[:-1]])
    return np.where((before < 0) & (gap > 0), 1, np.where((before > 0) & (gap < 0), -1, 0)).astype(np.int8)


def bars_of(run: Published) -> ShadowBars:
    """The run as bars of one symbol: the vote is the crossing, the opinion always agrees, the last open closes."""
    count = len(run.close)
    vote = crossings(run.close)
    vote[:50] = 0  # that engine starts when both means have a value before
    vote[count - 1] = 0
    vote[count - 2] = -1  # finalize: what is open is sold at the open of the last bar
    close = run.close.copy()
    entering = np.flatnonzero(vote[:-1] > 0)
    close[entering] = 0.5 * np.minimum(run.open[entering + 1], close[entering])
    fees = np.full((count, 4), [run.commission, run.commission, 0.0, 0.0])
    fees[entering, 0] = 0.0  # all cash is wanted; what the fee leaves of it is decided at the fill
    column = np.ones((count, 1))
    start = DAY_NS * np.arange(1, count + 1, dtype=np.int64)
    opened = run.open.reshape(-1, 1)
    close = close.reshape(-1, 1)
    return ShadowBars(
        inputs=BarInputs(
            symbols=("X",),
            price=close,
            vote=vote.reshape(-1, 1),
            status=np.zeros((count, 1), np.int8),
            expected_return=0.02 * vote.reshape(-1, 1),
            confidence=column,
            members_usable=np.full((count, 1), 4),
            has_model=column.astype(bool),
            has_opinion=column.astype(bool),
            vol20=0.01 * column,
        ),
        open=opened,
        high=np.maximum(opened, close),
        low=np.minimum(opened, close),
        traded=column.astype(bool),
        session=np.arange(1, count + 1),
        start_ns=start,
        end_ns=start + DAY_NS,
        fees=fees,
    )


@pytest.mark.parametrize("name", ["MSFT_daily_long_only_20_50", "KRW-ETH_1h_long_only_20_50"])
def test_every_published_trade_and_the_final_equity_to_the_cent(test_data: Path, name: str) -> None:
    run = published(test_data, name)
    params = TradingParams(
        max_exposure=1.0,
        max_position=1.0,
        stop_loss=-1.0,
        take_profit=1e6,
        max_daily_loss=-1.0,
        slippage=0.0,
    )
    result = roll_shadow(bars_of(run), BookState(cash=run.cash), params)
    fills = result.fills
    bought, sold = fills.side > 0, fills.side < 0
    assert fills.bar[bought].tolist() == [int(trade["EntryBar"]) for trade in run.trades]
    assert fills.bar[sold].tolist() == [int(trade["ExitBar"]) for trade in run.trades]
    assert fills.lots[bought].tolist() == [int(trade["Size"]) for trade in run.trades]
    assert fills.lots[sold].tolist() == fills.lots[bought].tolist()
    assert fills.price[bought].tolist() == [float(trade["EntryPrice"]) for trade in run.trades]
    assert fills.price[sold].tolist() == [float(trade["ExitPrice"]) for trade in run.trades]
    commission = fills.fee[bought] + fills.fee[sold]
    np.testing.assert_allclose(commission, [float(trade["Commission"]) for trade in run.trades], rtol=1e-9)
    profit = fills.realised[bought] + fills.realised[sold]
    np.testing.assert_allclose(profit, [float(trade["PnL"]) for trade in run.trades], rtol=1e-9, atol=0.005)
    assert result.equity[-1] == pytest.approx(run.equity, abs=0.005)
