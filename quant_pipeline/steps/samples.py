"""Training rows from stored features and bars: which sessions, which targets, known when. Nothing is fitted here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.core.adjust import adjusted
from quant_pipeline.core.anchor import session_days
from quant_pipeline.core.features import FEATURE_SET, target, target_known_at
from quant_pipeline.core.identity import content_hash
from quant_pipeline.core.jumps import Jump
from quant_pipeline.core.models.samples import Samples
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features
from quant_pipeline.steps.actions import adjustment_of, distrusted, jumps_in, read_from
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.steps.timing import as_dates, bar_closes, session_column
from quant_pipeline.storage.versions import current_versions


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows of one symbol, or why there are none; `first` and `last` are the sessions they come from.

    `window_from` is the first session whose bars are behind the features of `first`.
    """

    symbol: str
    samples: Samples | None
    sessions: int
    first: date | None = None
    last: date | None = None
    window_from: date | None = None


def training_sessions(market: MarketSettings, month: date) -> tuple[date, ...]:
    """The sessions a model that serves `month` may learn from: the last ones before it, since the first partition."""
    before = month - timedelta(days=1)
    if before < market.history_start:
        return ()
    listed = calendar.sessions(market.market.calendar, market.history_start, before)
    return listed[-market.ai.training_sessions :]


def training_data(
    desk: Desk,
    market: MarketSettings,
    sessions: Sequence[date],
    symbols: Sequence[str],
    context: RunContext,
    *,
    least: int | None = None,
) -> list[TrainingData]:
    """The rows of each symbol with all features and a target that was known by the close of the last of `sessions`.

    Targets are returns of prices adjusted for splits and dividends, so a dividend counts as earned.

    A symbol with rows of fewer than `least` sessions (default: `ai.min_training_sessions`) has no samples.
    """
    least = market.ai.min_training_sessions if least is None else least
    if not sessions:
        return [TrainingData(symbol, None, 0) for symbol in symbols]
    stored = read_step(desk, market.name, features.STEP, sessions)
    raw = decision_bars(desk, market, read_from(market, sessions[0]), sessions[-1], closed_by=context.now)
    if stored.empty or raw.empty:
        return [TrainingData(symbol, None, 0) for symbol in symbols]
    adjustment = adjustment_of(desk, market, raw, sessions[-1])
    bars = adjusted(raw, session_days(raw, None), adjustment, sessions[-1])
    labelled = bars[["symbol", "ts"]].assign(
        y=target(bars, market.horizon_bars, market.bars_per_day).to_numpy(),
        target_bar=target_known_at(bars, market.horizon_bars, market.bars_per_day).to_numpy(),
    )
    rows = stored.merge(labelled, on=["symbol", "ts"], how="inner")
    rows = _trusted(market, rows, jumps_in(market, raw, adjustment, sessions[0]), sessions)
    columns = list(FEATURE_SET.columns)
    sound = np.isfinite(rows[columns].to_numpy()).all(axis=1) & np.isfinite(rows["y"].to_numpy())
    rows = rows[sound].sort_values(["symbol", "ts"], kind="stable")
    groups = {str(symbol): group for symbol, group in rows.groupby("symbol", sort=True)}
    found = [_of_symbol(market, symbol, groups.get(symbol), columns, least) for symbol in symbols]
    return [_with_window(desk, market, data) for data in found]


def _with_window(desk: Desk, market: MarketSettings, data: TrainingData) -> TrainingData:
    if data.first is None:
        return data
    made = current_versions(desk.db, market.name, features.STEP, [data.first], [data.symbol])
    version = made.get((data.first, data.symbol))
    return data if version is None else replace(data, window_from=version.window_from)


def _trusted(
    market: MarketSettings, rows: pd.DataFrame, jumps: Sequence[Jump], sessions: Sequence[date]
) -> pd.DataFrame:
    """The rows whose features and target rest on no unexplained jump: a split nobody told of is no lesson."""
    if not jumps:
        return rows
    doubtful = distrusted(market, jumps, sessions)
    days = session_column(rows["ts"])
    keys = zip(rows["symbol"].astype(str), as_dates(days), strict=True)
    kept = np.array([key not in doubtful for key in keys], np.bool_)
    targets = session_column(rows["target_bar"])
    for jump in jumps:
        at = np.datetime64(jump.session)
        kept &= ~((rows["symbol"] == jump.symbol).to_numpy() & (days < at) & (targets >= at))
    return rows[kept]


def _of_symbol(
    market: MarketSettings, symbol: str, rows: pd.DataFrame | None, columns: list[str], least: int
) -> TrainingData:
    if rows is None:
        return TrainingData(symbol, None, 0)
    days = np.unique(session_column(rows["ts"]))
    first, last = (date.fromisoformat(str(day)) for day in (days[0], days[-1]))
    if len(days) < least:
        return TrainingData(symbol, None, len(days), first, last)
    samples = Samples(
        x=rows[columns].to_numpy(dtype=np.float64),
        y=rows["y"].to_numpy(dtype=np.float64),
        known_at=bar_closes(market, rows["ts"], market.decision_interval),
        target_at=bar_closes(market, rows["target_bar"], market.decision_interval),
        columns=tuple(columns),
    )
    return TrainingData(symbol, samples, len(days), first, last)


def samples_hash(samples: Samples) -> str:
    """What identifies training rows: every feature, target and time."""
    columns = {name: samples.x[:, i] for i, name in enumerate(samples.columns)}
    times = {"known_at": samples.known_at.astype("int64"), "target_at": samples.target_at.astype("int64")}
    return content_hash({**columns, **times, "y": samples.y})
