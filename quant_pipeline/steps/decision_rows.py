"""Decisions of the kernel as append-only rows: ids from what they were made of, versions only when something differs."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import numpy as np

from quant_pipeline.core.identity import combine_hashes, decision_id
from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.core.values import Book, Origin, Reason
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.grids import Grid
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.decisions import Decision

_CENT_PLACES = 8


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the kernel said about one symbol at one bar."""

    action: int
    reason: int
    lots: int
    notional: float
    pair: str | None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row stands: positions in the grid."""

    row: int
    column: int


def decision_row(
    desk: Desk,
    market: MarketSettings,
    book: Book,
    grid: Grid,
    place: Place,
    outcome: Outcome,
    *,
    equity: float,
    params: TradingParams,
    inputs: Mapping[str, Any],
    latest: Mapping[tuple[str, datetime], tuple[int, str]],
    settings_hash: str,
    context: RunContext,
) -> Decision:
    """One row. A broker book decides each bar once, so its rows are named by bar alone.

    Shadow rows are named by all that was said and by the book before the session, not by data versions: those of a
    session in progress grow with every bar, and a bar decided before would become another decision each time. The row
    keeps the versions of the run that said it first.
    """
    x = grid.bars.inputs
    symbol = grid.symbols[place.column]
    at = place.row, place.column
    starts = _moment(grid.ts[place.row])
    model = str(grid.model[at]) or None
    said: dict[str, Any] = {
        "action": int(outcome.action),
        "reason": Reason(outcome.reason).code,
        "vote": int(x.vote[at]),
        "score": _number(grid.score[at]),
        "expected_return": _number(x.expected_return[at]),
        "p_up": _number(grid.p_up[at]),
        "confidence": _number(x.confidence[at]),
        "members_usable": int(x.members_usable[at]) if x.has_opinion[at] else None,
        "model_version_id": model,
        "price": _exact(x.price[at]),
        "qty": _quantity(outcome.lots, params),
        "notional": _exact(outcome.notional) if outcome.action else None,
        "equity": _exact(equity),
    }
    content = combine_hashes(*(f"{k}={v}" for k, v in said.items()), f"book={inputs.get('book', '')}")
    known = latest.get((symbol, starts))
    version, key = _version(market, book, symbol, starts, content, known)
    return Decision(
        id=key,
        market=market.name,
        book=book,
        symbol=symbol,
        session=date.fromisoformat(str(grid.sessions[place.row])),
        bar_ts=starts,
        bar_close=_moment(grid.closes_at[place.row]),
        origin=context.origin,
        version=version,
        settings_hash=settings_hash,
        code_hash=desk.core_hash,
        platform_hash=desk.platform_hash,
        inputs=dict(inputs) if outcome.pair is None else {**inputs, "pair": outcome.pair},
        decided_at=context.now,
        run_id=context.run_id,
        **said,
    )


def _version(
    market: MarketSettings,
    book: Book,
    symbol: str,
    starts: datetime,
    content: str,
    known: tuple[int, str] | None,
) -> tuple[int, str]:
    """Version and id: those of the stored row when nothing differs, else the next version."""
    if book is not Book.SHADOW:
        return 1, decision_id(market.name, book, symbol, starts, "", Origin.LIVE, 1)
    version = 1 if known is None else known[0]
    key = decision_id(market.name, book, symbol, starts, content, "", version)
    if known is None or key == known[1]:
        return version, key
    return version + 1, decision_id(market.name, book, symbol, starts, content, "", version + 1)


def _moment(value: np.datetime64) -> datetime:
    seconds = int(value.astype("datetime64[us]").astype(np.int64))
    return datetime.fromtimestamp(seconds // 1_000_000, UTC)


def _number(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def _exact(value: float) -> Decimal | None:
    return round(Decimal(float(value)), _CENT_PLACES) if math.isfinite(value) else None


def _quantity(lots: int, params: TradingParams) -> Decimal | None:
    return Decimal(int(lots)) / params.qty_scale if lots else None
