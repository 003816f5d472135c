"""Training rows from stored features and bars: which sessions, which targets, known when. Nothing is fitted here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta

import numpy as np
import pandas as pd
from numpy.typing import NDArray

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
from quant_pipeline.steps.bar_history import History, histories
from quant_pipeline.steps.decision_bars import decision_bars
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.quality import JUMP
from quant_pipeline.steps.tables import RunContext, read_step
from quant_pipeline.steps.timing import as_dates, bar_closes, session_column
from quant_pipeline.storage.bar_quality import read_quality
from quant_pipeline.storage.versions import current_versions


@dataclass(frozen=True, slots=True)
class TrainingData:
    """Rows of one symbol, or none; `first` and `last` are the sessions they come from.

    `sessions` is how many sessions with bars the symbol has, counted up to the number that is needed.
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

    A symbol with fewer than `least` sessions that have bars (default: `ai.min_training_sessions`) has no samples. Rows
    from before a long hole, of another company or round bars that are not believed are left out.
    """
    least = market.ai.min_training_sessions if least is None else least
    if not sessions:
        return [TrainingData(symbol, None, 0) for symbol in symbols]
    known = histories(desk, market, symbols, sessions[0], sessions[-1], count=least)
    stored = read_step(desk, market.name, features.STEP, sessions)
    raw = decision_bars(desk, market, read_from(market, sessions[0]), sessions[-1], closed_by=context.now)
    if stored.empty or raw.empty:
        return [TrainingData(symbol, None, _count(known[symbol], sessions, least)) for symbol in symbols]
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
    sound &= ~_doubtful(desk, market, rows, known, sessions)
    rows = rows[sound].sort_values(["symbol", "ts"], kind="stable")
    groups = {str(symbol): group for symbol, group in rows.groupby("symbol", sort=True)}
    found = [
        _of_symbol(market, symbol, groups.get(symbol), columns, _count(known[symbol], sessions, least), least)
        for symbol in symbols
    ]
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


def _doubtful(
    desk: Desk, market: MarketSettings, rows: pd.DataFrame, known: Mapping[str, History], sessions: Sequence[date]
) -> NDArray[np.bool_]:
    """Rows whose features or target reach over bars that are not believed, or back into another life of the symbol."""
    days, targets = session_column(rows["ts"]), session_column(rows["target_bar"])
    names = rows["symbol"].to_numpy(dtype=object)
    reach = FEATURE_SET.warmup_days
    doubtful = np.zeros(len(rows), np.bool_)
    for symbol, history in known.items():
        begins = history.start_of_life(sessions[-1], reach)
        if begins is not None:
            doubtful |= (names == symbol) & (days < np.datetime64(begins))
    for verdict in read_quality(desk.db, market.name, list(known), sessions[0], sessions[-1], found_only=True):
        # A jump is judged anew by `_trusted`: its verdict holds for the sessions after it too.
        if verdict.status in ("bad", "broken") and JUMP not in verdict.rules.split(","):
            after = calendar.sessions(
                market.market.calendar, verdict.session, verdict.session + timedelta(days=2 * reach + 10)
            )[reach]
            over = (targets >= np.datetime64(verdict.session)) & (days < np.datetime64(after))
            doubtful |= (names == verdict.symbol) & over
    return doubtful


def _count(history: History, sessions: Sequence[date], least: int) -> int:
    """Sessions with bars up to the last of `sessions` in the life that goes on then; more than `least` do not matter."""
    return min(history.before(sessions[-1] + timedelta(days=1)), least)


def _of_symbol(
    market: MarketSettings, symbol: str, rows: pd.DataFrame | None, columns: list[str], count: int, least: int
) -> TrainingData:
    if rows is None:
        return TrainingData(symbol, None, count)
    days = np.unique(session_column(rows["ts"]))
    first, last = (date.fromisoformat(str(day)) for day in (days[0], days[-1]))
    if count < least:
        return TrainingData(symbol, None, count, first, last)
    samples = Samples(
        x=rows[columns].to_numpy(dtype=np.float64),
        y=rows["y"].to_numpy(dtype=np.float64),
        known_at=bar_closes(market, rows["ts"], market.decision_interval),
        target_at=bar_closes(market, rows["target_bar"], market.decision_interval),
        columns=tuple(columns),
    )
    return TrainingData(symbol, samples, count, first, last)


def samples_hash(samples: Samples) -> str:
    """What identifies training rows: every feature, target and time."""
    columns = {name: samples.x[:, i] for i, name in enumerate(samples.columns)}
    times = {"known_at": samples.known_at.astype("int64"), "target_at": samples.target_at.astype("int64")}
    return content_hash({**columns, **times, "y": samples.y})
