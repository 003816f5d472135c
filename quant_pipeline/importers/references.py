"""Lean factor and map files into storage: dated corporate actions, and since when a ticker means its company."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

import numpy as np
import pandas as pd

from quant_pipeline.importers.actions import Action, TickerSpan, actions_of, read_factor_file, read_map_file
from quant_pipeline.importers.companies import are_own, first_own_day
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.formats.lean import FACTOR_ROW, MAP_ROW
from quant_pipeline.importers.grid import INTERVALS
from quant_pipeline.importers.naming import normal_symbol, stem
from quant_pipeline.markets.market import US_EQUITY
from quant_pipeline.storage import ticker_spans
from quant_pipeline.storage.bars import delete_bars, read_bars
from quant_pipeline.storage.corporate_actions import CorporateAction, record_actions
from quant_pipeline.storage.coverage import forget_coverage
from quant_pipeline.storage.database import Database

SOURCE = "lean"
_LARGEST = 1_000_000
_BEGINNING, _END = datetime(1900, 1, 1, tzinfo=UTC), datetime(2200, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Reference:
    """A factor file (then `actions`) or a map file (then `spans`) of one share; `rows` counts its lines."""

    path: Path
    symbol: str
    format: str
    rows: int
    actions: tuple[Action, ...] = ()
    spans: tuple[TickerSpan, ...] = ()


@dataclass(frozen=True, slots=True)
class Recorded:
    """What storing a reference changed: new statements, and stored bars that turned out to be of another company."""

    added: int
    bars_removed: int = 0


def is_reference(path: Path) -> bool:
    """Whether a file looks like a Lean factor or map file, by its first line."""
    try:
        if path.suffix.lower() != ".csv" or not path.is_file() or path.stat().st_size > _LARGEST:
            return False
        with path.open("rb") as file:
            first = file.readline(200).decode("utf-8", "replace").strip()
    except OSError:
        return False  # reading it as a price file says what is wrong
    return FACTOR_ROW.fullmatch(first) is not None or MAP_ROW.fullmatch(first) is not None


def read_reference(path: Path, *, market: str | None = None, symbol: str | None = None) -> Reference:
    """Read a file of which `is_reference` holds; the symbol is the file's name unless it is given.

    Raises:
        ImportRefused: it cannot be understood, its name is no ticker, or it is asked for as another market's.
    """
    if market not in (None, US_EQUITY.name):
        problem = f"Lean factor and map files are of stocks, not of {market}"
        raise ImportRefused(path, problem, remedy="Leave --market out or pass us_equity.")
    name = normal_symbol(symbol if symbol is not None else stem(path.name))
    if name is None:
        raise ImportRefused(
            path, "the file's name is no ticker", remedy="Name it like aapl.csv, or pass --symbol.", value=path.name
        )
    with path.open("rb") as file:
        is_map = MAP_ROW.fullmatch(file.readline(200).decode("utf-8", "replace").strip()) is not None
    if is_map:
        spans = read_map_file(path)
        if not spans:
            raise ImportRefused(path, "a map file has two rows at least", remedy="Fetch the file again.")
        return Reference(path, name, "lean_map", len(spans) + 1, spans=spans)
    factors = read_factor_file(path)
    last = factors[-1]
    if last.price != 1 or last.split != 1:
        raise ImportRefused(
            path,
            f"the last row ({last.until}) has the factors {last.price} and {last.split}, today's must be 1",
            remedy="Fetch the whole factor file; a part of it would give wrong ratios.",
        )
    return Reference(path, name, "lean_factors", len(factors), actions=actions_of(name, factors))


def store_reference(db: Database, reference: Reference, *, at: datetime) -> Recorded:
    """Record what a reference says, as known since `at` (aware); what is known already stays as it is.

    A map file also removes bars that were stored before it and are of another company; they stay in the revisions.
    """
    if reference.format == "lean_factors":
        return Recorded(record_actions(db, (_action(one, at) for one in reference.actions)))
    spans = [
        ticker_spans.TickerSpan(US_EQUITY.name, reference.symbol, span.ticker, span.first, span.last, SOURCE, at)
        for span in reference.spans
    ]
    added = ticker_spans.record_spans(db, spans)
    return Recorded(added, sum(_remove_others(db, spans, interval, at) for interval in INTERVALS))


def _action(action: Action, at: datetime) -> CorporateAction:
    return CorporateAction(
        market=US_EQUITY.name,
        symbol=action.symbol,
        ex_date=action.ex_date,
        kind=action.kind,
        ratio=action.ratio,
        amount=action.amount,
        currency=US_EQUITY.currency if action.amount is not None else None,
        source=SOURCE,
        known_at=at,
    )


def _remove_others(db: Database, spans: list[ticker_spans.TickerSpan], interval: str, at: datetime) -> int:
    """Remove stored bars of other companies, and the coverage of sessions before the first bar that is left."""
    market, symbol = US_EQUITY, spans[0].symbol
    bars = read_bars(db, market.name, interval, [symbol], _BEGINNING, _END, with_origin=True)
    kept = are_own(bars, {symbol: spans}, market.calendar)
    if kept.all():
        return 0
    change = delete_bars(db, market.name, interval, bars.loc[~kept, ["symbol", "ts"]], at=at)
    first_left = _first_session(bars.loc[kept, "ts"]) or first_own_day(symbol, spans)
    forget_coverage(db, market.name, symbol, interval, before=first_left)
    return change.deleted


def _first_session(ts: pd.Series) -> date | None:
    if ts.empty:
        return None
    first: date = ts.min().to_numpy().astype("datetime64[D]").astype(np.object_)
    return first
