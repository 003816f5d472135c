"""Stored rows of bars, signals, predictions and features as the (T, S) arrays that the decision kernel takes."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from quant_pipeline.core.bars import validate_bars
from quant_pipeline.core.trading.decisions import BarInputs
from quant_pipeline.core.trading.shadow import ShadowBars
from quant_pipeline.core.values import Reason
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.timing import bar_closes, session_column
from quant_pipeline.storage.bar_quality import BarQuality

_ORDINAL_OF_EPOCH = date(1970, 1, 1).toordinal()
_STATUS = {"ok": 0, Reason.NO_HISTORY.code: int(Reason.NO_HISTORY), Reason.BAD_DATA.code: int(Reason.BAD_DATA)}


@dataclass(frozen=True, slots=True)
class Grid:
    """Decision bars of a market as arrays: T bar starts (ascending) by S symbols (sorted)."""

    symbols: tuple[str, ...]
    ts: NDArray[np.datetime64]
    sessions: NDArray[np.datetime64]
    closes_at: NDArray[np.datetime64]
    bars: ShadowBars
    score: NDArray[np.float64]
    p_up: NDArray[np.float64]
    model: NDArray[np.object_]

    def rows_of(self, session: date) -> NDArray[np.intp]:
        """The positions of a session's bars."""
        return np.flatnonzero(self.sessions == np.datetime64(session))


def make_grid(
    market: MarketSettings,
    symbols: Sequence[str],
    bars: pd.DataFrame,
    signals: pd.DataFrame,
    predictions: pd.DataFrame,
    features: pd.DataFrame,
    *,
    distrusted: Collection[tuple[str, date]] = (),
    quality: Sequence[BarQuality] = (),
) -> Grid:
    """Put everything that was known at each bar's close side by side.

    A symbol without a bar gets `no_bar`, one whose bar breaks a rule, whose (symbol, session) is `distrusted` or whose
    session is `bad` in `quality` gets `bad_data`, one without a signal `no_history`.
    """
    names = tuple(sorted(symbols))
    ts = np.unique(bars["ts"].to_numpy(dtype="datetime64[ns]"))
    series = pd.Series(pd.DatetimeIndex(ts, tz="UTC"))
    ends = bar_closes(market, series, market.decision_interval)
    price = _Pivot(bars, ts, names)
    voted, opined, described = (_Pivot(frame, ts, names) for frame in (signals, predictions, features))
    days = session_column(series)
    broken = _broken(bars, price) | _distrusted(distrusted, names, days) | _held(quality, names, days, ends)
    # A price that cannot be is none: nothing fills on it, and holdings keep their last value.
    traded = price.present & ~broken
    status = np.where(voted.present, voted.coded("status", _STATUS), int(Reason.NO_HISTORY)).astype(np.int8)
    status = np.where(broken, int(Reason.BAD_DATA), status).astype(np.int8)
    status = np.where(price.present, status, int(Reason.NO_BAR)).astype(np.int8)
    opinion = opined.texts("status")
    inputs = BarInputs(
        symbols=names,
        price=np.where(traded, price.floats("close"), np.nan),
        vote=np.nan_to_num(voted.floats("vote")).astype(np.int8),
        status=status,
        expected_return=opined.floats("expected_return"),
        confidence=opined.floats("confidence"),
        members_usable=np.nan_to_num(opined.floats("members_usable")).astype(np.int64),
        has_model=opined.present & (opinion != Reason.NO_MODEL.code),
        has_opinion=opined.present & (opinion == "ok"),
        vol20=described.floats("volatility_20d"),
    )
    shadow = ShadowBars(
        inputs=inputs,
        open=price.floats("open"),
        high=price.floats("high"),
        low=price.floats("low"),
        traded=traded,
        session=days.astype(np.int64) + _ORDINAL_OF_EPOCH,
        start_ns=ts.astype(np.int64),
        end_ns=ends.astype(np.int64),
    )
    return Grid(
        names, ts, days, ends, shadow, voted.floats("score"), opined.floats("p_up"), opined.texts("model_version_id")
    )


def cut(grid: Grid, rows: NDArray[np.intp]) -> ShadowBars:
    """The bars at the given positions."""
    whole, x = grid.bars, grid.bars.inputs
    inputs = BarInputs(
        symbols=x.symbols,
        price=x.price[rows],
        vote=x.vote[rows],
        status=x.status[rows],
        expected_return=x.expected_return[rows],
        confidence=x.confidence[rows],
        members_usable=x.members_usable[rows],
        has_model=x.has_model[rows],
        has_opinion=x.has_opinion[rows],
        vol20=x.vol20[rows],
    )
    return ShadowBars(
        inputs=inputs,
        open=whole.open[rows],
        high=whole.high[rows],
        low=whole.low[rows],
        traded=whole.traded[rows],
        session=whole.session[rows],
        start_ns=whole.start_ns[rows],
        end_ns=whole.end_ns[rows],
    )


class _Pivot:
    """One frame with `symbol` and `ts` laid out on the grid; what is absent is NaN or None."""

    def __init__(self, frame: pd.DataFrame, ts: NDArray[np.datetime64], symbols: tuple[str, ...]) -> None:
        self._frame = frame
        self._shape = (len(ts), len(symbols))
        row: NDArray[np.intp] = np.empty(0, np.intp)
        column: NDArray[np.intp] = np.empty(0, np.intp)
        if not frame.empty:
            column = pd.Index(symbols).get_indexer(pd.Index(frame["symbol"].to_numpy(dtype=object)))
            row = pd.Index(ts).get_indexer(pd.Index(frame["ts"].to_numpy(dtype="datetime64[ns]")))
        self._rows: NDArray[np.intp] = np.flatnonzero((column >= 0) & (row >= 0))
        self._at = (row[self._rows], column[self._rows])
        self.present = np.zeros(self._shape, np.bool_)
        self.present[self._at] = True

    def floats(self, name: str) -> NDArray[np.float64]:
        """A numeric column; NaN where there is no row."""
        values = np.full(self._shape, np.nan)
        if len(self._rows):
            values[self._at] = self._frame[name].to_numpy(dtype=np.float64)[self._rows]
        return values

    def texts(self, name: str) -> NDArray[np.object_]:
        """A text column; "" where there is no row."""
        values = np.full(self._shape, "", dtype=object)
        if len(self._rows):
            values[self._at] = self._frame[name].to_numpy(dtype=object)[self._rows]
        return values

    def coded(self, name: str, codes: dict[str, int]) -> NDArray[np.int8]:
        """A text column as numbers.

        Raises:
            KeyError: a text without a code.
        """
        values = np.zeros(self._shape, np.int8)
        if len(self._rows):
            texts = self._frame[name].to_numpy(dtype=object)[self._rows]
            values[self._at] = [codes[str(item)] for item in texts]
        return values

    def marked(self, keys: set[tuple[str, pd.Timestamp]]) -> NDArray[np.bool_]:
        """Which cells belong to the given (symbol, ts) pairs."""
        flags = np.zeros(self._shape, np.bool_)
        if keys and len(self._rows):
            found = [key in keys for key in zip(self._frame["symbol"], self._frame["ts"], strict=True)]
            flags[self._at] = np.array(found, np.bool_)[self._rows]
        return flags


def _broken(bars: pd.DataFrame, layout: _Pivot) -> NDArray[np.bool_]:
    return layout.marked({(v.symbol, v.ts) for v in validate_bars(bars) if v.ts is not None})


def _distrusted(
    pairs: Collection[tuple[str, date]], symbols: tuple[str, ...], sessions: NDArray[np.datetime64]
) -> NDArray[np.bool_]:
    flags = np.zeros((len(sessions), len(symbols)), np.bool_)
    place = {symbol: column for column, symbol in enumerate(symbols)}
    for symbol, session in pairs:
        if symbol in place:
            flags[sessions == np.datetime64(session), place[symbol]] = True
    return flags


def _held(
    quality: Sequence[BarQuality], names: tuple[str, ...], days: NDArray[np.datetime64], ends: NDArray[np.datetime64]
) -> NDArray[np.bool_]:
    """The cells of sessions that are bad, from the bar on that holds `since`."""
    flags = np.zeros((len(days), len(names)), np.bool_)
    place = {symbol: column for column, symbol in enumerate(names)}
    for row in quality:
        if row.status == "bad" and row.symbol in place:
            from_start = np.datetime64("1678-01-01", "ns") if row.since is None else _naive(row.since)
            flags[(days == np.datetime64(row.session)) & (ends > from_start), place[row.symbol]] = True
    return flags


def _naive(at: datetime) -> np.datetime64:
    return np.datetime64(at.astimezone(UTC).replace(tzinfo=None), "ns")
