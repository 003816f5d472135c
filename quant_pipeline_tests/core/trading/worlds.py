"""Random worlds for the trading kernel, drawn from a seed, with many values right on an edge."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from quant_pipeline.core.trading.decisions import BarInputs
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.trading.shadow import ShadowBars
from quant_pipeline.core.values import Reason

HOUR_NS = 3_600_000_000_000
START_NS = 1_700_000_000_000_000_000
NAN = float("nan")


@dataclass(frozen=True)
class World:
    """Everything that a roll needs."""

    bars: ShadowBars
    params: TradingParams
    cash: float


def draw_params(rng: Generator) -> TradingParams:
    """Rules of a made-up market: shares in dollars with rounded fees, or coins in won bought by amount."""
    coins = bool(rng.random() < 0.4)
    common = {
        "max_exposure": float(rng.choice([0.3, 0.8, 1.0])),
        "max_positions": int(rng.choice([1, 2, 3, 7])),
        "max_position": float(rng.choice([0.1, 0.25, 0.5, 1.0])),
        "stop_loss": float(rng.choice([-0.05, -0.02, -1.0])),
        "take_profit": float(rng.choice([0.1, 0.03, 5.0])),
        "take_profit_fraction": float(rng.choice([1.0, 0.5, 0.1])),
        "sell_fraction": float(rng.choice([1.0, 0.5, 0.3])),
        "max_daily_loss": float(rng.choice([-0.02, -0.005, -1.0])),
        "halt_hours": float(rng.choice([1.0, 24.0])),
        "max_daily_trades": int(rng.choice([1, 3, 50])),
        "vote_abstains": bool(rng.random() < 0.2),
        "rebalance_factor": float(rng.choice([1.0, 1.5, 3.0])),
        "slippage": float(rng.choice([0.0, 0.0005, 0.02])),
        "expiry_bars": int(rng.choice([1, 2, 4])),
    }
    if coins:
        rate = float(rng.choice([0.0, 0.0005]))
        return TradingParams(
            **common,
            min_notional=float(rng.choice([0.0, 5000.0])),
            qty_decimals=8,
            buys_by_notional=True,
            money_decimals=0,
            buy_rate=rate,
            sell_rate=rate,
        )
    return TradingParams(
        **common,
        min_notional=float(rng.choice([0.0, 1.0, 150.0])),
        fee_decimals=2,
        buy_rate=float(rng.choice([0.0, 0.001])),
        sell_rate=float(rng.choice([0.0, 27.8e-6])),
        sell_per_share=float(rng.choice([0.0, 0.000166])),
        sell_per_share_cap=8.3,
    )


def draw_world(seed: int, bars: int, symbols: int, *, events: bool = True) -> World:
    """A world of `bars` x `symbols`; with `events` also splits, dividends, deposits and dated fees."""
    rng = np.random.default_rng(seed)
    params = draw_params(rng)
    shape = (bars, symbols)
    scale = float(rng.choice([5.0, 100.0, 90_000.0]))
    moves = rng.choice([0.002, 0.02, 0.06]) * rng.standard_normal(shape)
    close = np.round(scale * np.exp(np.cumsum(moves, axis=0)), int(rng.integers(0, 4))) + 0.01
    opened = close * np.exp(0.01 * rng.standard_normal(shape)) if rng.random() < 0.8 else close.copy()
    spread = np.abs(0.02 * rng.standard_normal(shape))
    start = START_NS + np.arange(bars, dtype=np.int64) * HOUR_NS
    traded = rng.random(shape) < rng.choice([0.7, 0.97, 1.0])
    return World(
        ShadowBars(
            inputs=_draw_inputs(rng, shape, close, traded),
            open=opened,
            high=np.maximum(opened, close) * (1 + spread),
            low=np.minimum(opened, close) * (1 - spread),
            traded=traded,
            session=1 + np.arange(bars, dtype=np.int64) // int(rng.choice([1, 3, 24])),
            start_ns=start,
            end_ns=start + HOUR_NS,
            paused=rng.random(bars) < rng.choice([0.0, 0.1]),
            **(_draw_events(rng, shape) if events else {}),
        ),
        params,
        cash=float(scale * rng.choice([3, 100, 10_000])),
    )


def _draw_inputs(rng: Generator, shape: tuple[int, int], price: np.ndarray, traded: np.ndarray) -> BarInputs:
    buying = rng.choice([0.2, 0.6])
    vote = rng.choice(np.array([-1, 0, 1], np.int8), shape, p=[0.8 - buying, 0.2, buying])
    bad = rng.choice([int(Reason.BAD_DATA), int(Reason.NOT_OPEN), int(Reason.NO_HISTORY)], shape)
    # Without a trade there is mostly no bar; a vendor that repeats the last close instead is worth a test as well.
    absent = ~traded & (rng.random(shape) < 0.6)
    status = np.where(absent, int(Reason.NO_BAR), np.where(rng.random(shape) < 0.03, bad, 0))
    latest = np.maximum.accumulate(np.where(traded, np.arange(shape[0])[:, None], -1), axis=0)
    price = np.where(absent | (latest < 0), NAN, np.take_along_axis(price, np.maximum(latest, 0), axis=0))
    expected = vote * rng.choice([0.005, 0.0051, 0.01, 0.02, 0.03], shape)
    expected = np.where(rng.random(shape) < 0.3, rng.choice([-0.02, -0.001, 0.0, 0.004, 0.02, NAN], shape), expected)
    return BarInputs(
        symbols=tuple(f"S{i:02d}" for i in range(shape[1])),
        price=price,
        vote=vote,
        status=status.astype(np.int8),
        expected_return=expected,
        confidence=rng.choice([0.5, 0.7, 0.71, 0.8, 0.9, 1.0, 1.2, NAN], shape, p=[0.05, 0.05, *[0.17] * 5, 0.05]),
        members_usable=rng.choice([0, 1, 2, 4], shape, p=[0.02, 0.03, 0.25, 0.7]),
        has_model=rng.random(shape) < 0.97,
        has_opinion=rng.random(shape) < 0.8,
        vol20=rng.choice([0.0, 0.01, 0.015, 0.03, 0.06, NAN], shape, p=[0.05, 0.3, 0.2, 0.3, 0.1, 0.05]),
    )


def _draw_events(rng: Generator, shape: tuple[int, int]) -> dict[str, np.ndarray]:
    fees = np.zeros((shape[0], 4))
    fees[:, 0] = rng.choice([0.0, 0.0005], shape[0])
    fees[:, 1] = rng.choice([0.0, 27.8e-6], shape[0])
    return {
        "split": rng.choice([1.0, 2.0, 0.1, 1.5], shape, p=[0.97, 0.01, 0.01, 0.01]),
        "dividend": rng.choice([0.0, 0.5], shape, p=[0.97, 0.03]),
        "flow": rng.choice([0.0, 500.0], shape[0], p=[0.95, 0.05]),
        "fees": fees,
    }


def cut(bars: ShadowBars, first: int, last: int) -> ShadowBars:
    """Bars [first, last)."""
    kept = {
        field.name: value[first:last]
        for field in dataclasses.fields(bars)
        if isinstance(value := getattr(bars, field.name), np.ndarray)
    }
    return dataclasses.replace(bars, inputs=rows(bars.inputs, slice(first, last)), **kept)


def rows(inputs: BarInputs, which: slice | int) -> BarInputs:
    """The inputs of some bars, or of one."""
    kept = {
        field.name: value[which]
        for field in dataclasses.fields(inputs)
        if isinstance(value := getattr(inputs, field.name), np.ndarray)
    }
    return dataclasses.replace(inputs, **kept)
