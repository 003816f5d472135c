"""The performance step: what each session earned in the shadow book and in the broker's book."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import date, timedelta
from decimal import Decimal

import numpy as np
import pandas as pd

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.values import Book
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import decisions
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    StepResult,
    read_step,
    write_step,
)
from quant_pipeline.steps.timing import session_span, session_starts
from quant_pipeline.storage.equity import equity_curve
from quant_pipeline.storage.fills import fills_between
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline.storage.version_marks import newest_version

STEP = "performance"
_LOOK_BACK, _LOOK_AHEAD = timedelta(days=14), timedelta(days=7)
COLUMNS = ("equity_start", "equity_end", "day_return", "trades", "volume", "fees", "realised")


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """One row for each book and session; `symbol` names the book. A book without equity in a session has no row."""
    after = newest_version(desk.db)
    books = (Book.SHADOW, market.broker_book)
    inputs = current_inputs(desk, market, sessions)
    frames = [_book_rows(desk, market, book, sessions) for book in books]
    frame = pd.concat(frames, ignore_index=True)
    return write_step(
        desk,
        market.name,
        STEP,
        frame,
        sessions=sessions,
        inputs=inputs,
        code_hash=desk.core_hash,
        settings_hash="",
        context=RunContext(context.now, context.run_id, context.origin, context.tick),
        numbers=_numbers(frame),
        made=Made(after),
    )


def current_inputs(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[Key, str]:
    """What `run` would note as the inputs of `sessions` now; the broker's book is marked by ticks, not recomputed."""
    name = market.market.calendar
    before = {session: calendar.previous_session(name, session) for session in sessions}
    states = shadow_state_hashes(desk.db, market.name, before[sessions[0]], sessions[-1])
    found: dict[Key, str] = {}
    for session in sessions:
        rolled = (states.get(before[session], ""), states.get(session, ""))
        found[session, Book.SHADOW] = combine_hashes(str(session), *rolled)
        found[session, market.broker_book] = combine_hashes(str(session))
    return found


def _book_rows(desk: Desk, market: MarketSettings, book: Book, sessions: Sequence[date]) -> pd.DataFrame:
    closing = _closing_equity(desk, market, book, sessions)
    before = next((closing[day] for day in sorted(closing, reverse=True) if day < sessions[0]), market.capital)
    trades = _trades(desk, market, book, sessions)
    rows = []
    for day in (session for session in sorted(sessions) if session in closing):
        rows.append(
            {
                "symbol": str(book),
                "ts": pd.Timestamp(session_starts(day)),
                "equity_start": before,
                "equity_end": closing[day],
                "day_return": closing[day] / before - 1.0,
                **trades.get(day, {"trades": 0, "volume": 0.0, "fees": 0.0, "realised": 0.0}),
            }
        )
        before = closing[day]
    frame = pd.DataFrame(rows, columns=["symbol", "ts", *COLUMNS])
    kinds = {name: np.float64 for name in COLUMNS if name != "trades"} | {"trades": np.int64}
    return frame.astype(kinds).assign(ts=pd.to_datetime(frame["ts"], utc=True).astype("datetime64[ns, UTC]"))


def _closing_equity(desk: Desk, market: MarketSettings, book: Book, sessions: Sequence[date]) -> dict[date, float]:
    """The last mark of each session, also of those shortly before: it may come when the session's UTC day is over."""
    start, end = session_span(sessions[0], sessions[-1])
    curve = equity_curve(desk.db, market.name, book, start - _LOOK_BACK, end + _LOOK_AHEAD)
    last = curve.groupby("session")["equity"].last()
    return {date.fromisoformat(str(day)): float(value) for day, value in zip(last.index, last, strict=True)}


def _trades(
    desk: Desk, market: MarketSettings, book: Book, sessions: Sequence[date]
) -> dict[date, dict[str, int | float]]:
    if book is Book.SHADOW:
        return _shadow_trades(desk, market, sessions)
    totals: dict[date, dict[str, int | float]] = {}
    for fill in fills_between(desk.db, market.name, book, *session_span(sessions[0], sessions[-1])):
        row = totals.setdefault(fill.at.date(), {"trades": 0, "volume": 0.0, "fees": 0.0, "realised": float("nan")})
        row["trades"] += 1
        row["volume"] += float(fill.qty * fill.price)
        row["fees"] += float(fill.fee)
    return totals


def _shadow_trades(desk: Desk, market: MarketSettings, sessions: Sequence[date]) -> dict[date, dict[str, int | float]]:
    fills = read_step(desk, market.name, decisions.FILLS, sessions)
    if fills.empty:
        return {}
    scale = float(Decimal(10) ** market.market.qty_decimals)
    value = fills["lots"].to_numpy(dtype=np.float64) / scale * fills["price"].to_numpy(dtype=np.float64)
    grouped = fills.assign(volume=value, day=fills["ts"].dt.date).groupby("day")
    return {
        date.fromisoformat(str(day)): {
            "trades": len(rows),
            "volume": float(rows["volume"].sum()),
            "fees": float(rows["fee"].sum()),
            "realised": float(rows["realised"].sum()),
        }
        for day, rows in grouped
    }


def _numbers(frame: pd.DataFrame) -> dict[date, dict[str, Number]]:
    numbers: dict[date, dict[str, Number]] = {}
    columns = (frame[name].tolist() for name in ("symbol", "ts", "day_return", "equity_end", "trades"))
    for book, at, earned, equity, trades in zip(*columns, strict=True):
        numbers.setdefault(at.date(), {}).update(
            {f"{book}_return": float(earned), f"{book}_equity": float(equity), f"{book}_trades": int(trades)}
        )
    return numbers
