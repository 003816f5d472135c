"""Bar frames: their shape, their sanity and their resampling.

Here belongs what can be said about bars from the bars alone. Market calendars, adjustment and storage live elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.core.values import BAR_COLUMNS

_INTERVAL_SECONDS = {"1m": 60, "5m": 300, "15m": 900, "1h": 3600, "4h": 14400, "1d": 86400}
_PRICES = ("open", "high", "low", "close")
_TS_DTYPE = "datetime64[ns, UTC]"

type BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Violation:
    """One broken rule of one bar (or of the whole frame, then `symbol` is empty and `ts` is None).

    `rule` is a stable code; `value` shows the offending values as text, ready for a message.
    """

    symbol: str
    ts: pd.Timestamp | None
    rule: str
    value: str


def empty_bars() -> pd.DataFrame:
    """A bar frame without rows, with the column types that every bar frame has."""
    columns: dict[str, pd.Series] = {
        "symbol": pd.Series([], dtype=object),
        "ts": pd.Series([], dtype=_TS_DTYPE),
    }
    columns.update({name: pd.Series([], dtype=np.float64) for name in BAR_COLUMNS[2:]})
    return pd.DataFrame(columns)


def interval_seconds(interval: str) -> int:
    """Seconds of one bar of `interval` ("1m", "5m", "15m", "1h", "4h", "1d").

    Raises:
        ValueError: the interval is not one of those.
    """
    seconds = _INTERVAL_SECONDS.get(interval)
    if seconds is None:
        msg = f"unknown bar interval {interval!r}; use one of {', '.join(_INTERVAL_SECONDS)}"
        raise ValueError(msg)
    return seconds


def bar_close(ts: datetime, interval: str, *, always_open: bool = False) -> datetime:
    """When the bar that starts at `ts` is closed and its values are known (same zone as `ts`).

    A daily bar closes 24 hours later only on a market that never closes (`always_open`); for the others the
    market's calendar knows, and asking here is an error.
    """
    return ts + _bar_length(interval, always_open=always_open)


def bar_closes(ts: pd.Series, interval: str, *, always_open: bool = False) -> pd.Series:
    """`bar_close` for a column of bar starts."""
    return ts + pd.Timedelta(_bar_length(interval, always_open=always_open))


def _bar_length(interval: str, *, always_open: bool) -> timedelta:
    if interval == "1d" and not always_open:
        msg = (
            "the close of a '1d' bar depends on the market: take it from the market's calendar, "
            "or pass always_open=True for a market that trades around the clock"
        )
        raise ValueError(msg)
    return timedelta(seconds=interval_seconds(interval))


def validate_bars(frame: pd.DataFrame) -> list[Violation]:
    """Every broken rule of a bar frame; an empty list means the frame is sound.

    Rules of the frame: `missing_column`, `wrong_type` (when one of these is found nothing else is checked).
    `missing_key` is a row without symbol or ts, of which nothing else is checked.
    Rules of a bar: `not_finite`, `price_not_positive`, `low_above_body` (low > open or close), `high_below_body`,
    `negative_volume`, `duplicate` (symbol and ts seen before), `unsorted` (stands before its predecessor).
    """
    shape = list(_shape_violations(frame))
    if shape or frame.empty:
        return shape
    keyless = frame["symbol"].isna().to_numpy() | frame["ts"].isna().to_numpy()
    found = [Violation("", None, "missing_key", f"row {row}") for row in np.flatnonzero(keyless).tolist()]
    keyed = frame[~keyless] if found else frame
    for rule, mask, columns in _bar_rules(keyed):
        found.extend(_violations(keyed, rule, mask, columns))
    return found


def _shape_violations(frame: pd.DataFrame) -> Iterator[Violation]:
    for name in BAR_COLUMNS:
        if name not in frame.columns:
            yield Violation("", None, "missing_column", name)
        elif name == "ts" and str(frame["ts"].dtype) != _TS_DTYPE:
            yield Violation("", None, "wrong_type", f"ts is {frame['ts'].dtype}, expected {_TS_DTYPE}")
        elif name not in {"symbol", "ts"} and frame[name].dtype != np.float64:
            yield Violation("", None, "wrong_type", f"{name} is {frame[name].dtype}, expected float64")


def _bar_rules(frame: pd.DataFrame) -> Iterator[tuple[str, BoolArray, tuple[str, ...]]]:
    """(rule, rows that break it, columns to show). Comparisons with NaN are false, so `not_finite` stands alone."""
    o, h, l, c = (frame[name].to_numpy() for name in _PRICES)  # noqa: E741 - the usual names of a bar
    volume = frame["volume"].to_numpy()
    prices = np.column_stack((o, h, l, c))
    finite: BoolArray = np.isfinite(prices).all(axis=1) & np.isfinite(volume)
    yield "not_finite", ~finite, (*_PRICES, "volume")
    yield "price_not_positive", np.asarray((prices <= 0).any(axis=1)), _PRICES
    yield "low_above_body", (l > o) | (l > c), _PRICES
    yield "high_below_body", (h < o) | (h < c), _PRICES
    yield "negative_volume", volume < 0, ("volume",)
    symbol = frame["symbol"].to_numpy(dtype=object)
    ts = frame["ts"].to_numpy(dtype="datetime64[ns]")
    yield "duplicate", frame.duplicated(["symbol", "ts"]).to_numpy(), ("ts",)
    unsorted = np.zeros(len(frame), dtype=bool)
    unsorted[1:] = (symbol[1:] < symbol[:-1]) | ((symbol[1:] == symbol[:-1]) & (ts[1:] < ts[:-1]))
    yield "unsorted", unsorted, ("ts",)


def _violations(frame: pd.DataFrame, rule: str, mask: BoolArray, columns: tuple[str, ...]) -> Iterator[Violation]:
    for position in np.flatnonzero(mask):
        row = frame.iloc[int(position)]
        value = " ".join(f"{name}={row[name]}" for name in columns)
        yield Violation(str(row["symbol"]), row["ts"], rule, value)


def resample(
    frame: pd.DataFrame, from_interval: str, to_interval: str, *, until: datetime | None = None
) -> pd.DataFrame:
    """Aggregate bars to a longer interval on the UTC grid, closed and stamped on the left.

    Open is the first, high the highest, low the lowest, close the last, volume the sum. A bucket without bars stays
    absent. Feeds that print minutes without a trade (volume 0, last price repeated) would otherwise set the open of a
    bucket, so such rows count only in buckets where nothing traded. With `until` (aware), buckets that end later
    are left out, which keeps the forming bar away. "1d" means UTC days and fits only a market that never closes.

    Raises:
        ValueError: an interval is unknown, the target is not a whole multiple of the source, or `until` has no zone.
    """
    source, target = interval_seconds(from_interval), interval_seconds(to_interval)
    if target < source or target % source:
        msg = f"cannot resample {from_interval} bars to {to_interval}: the target must be a whole multiple"
        raise ValueError(msg)
    if frame.empty:
        return empty_bars()
    bucket = frame["ts"].dt.floor(pd.Timedelta(seconds=target))
    if until is not None:
        if until.tzinfo is None:
            msg = f"until={until} has no time zone; pass an aware time"
            raise ValueError(msg)
        closed = (bucket + pd.Timedelta(seconds=target)) <= pd.Timestamp(until)
        frame, bucket = frame[closed], bucket[closed]
    if target == source or frame.empty:
        return frame.loc[:, list(BAR_COLUMNS)].reset_index(drop=True)
    return _aggregate(frame, bucket)


def _aggregate(frame: pd.DataFrame, bucket: pd.Series) -> pd.DataFrame:
    keyed = frame.assign(ts=bucket)
    traded = keyed["volume"].to_numpy() > 0
    any_traded = pd.Series(traded, index=keyed.index).groupby([keyed["symbol"], keyed["ts"]]).transform("any")
    counted = keyed[traded | ~any_traded.to_numpy()]
    grouped = counted.groupby(["symbol", "ts"], sort=True, observed=True)
    bars: pd.DataFrame = grouped.agg(
        open=("open", "first"),
        high=("high", "max"),
        low=("low", "min"),
        close=("close", "last"),
        volume=("volume", "sum"),
    )
    return bars.reset_index()[list(BAR_COLUMNS)]
