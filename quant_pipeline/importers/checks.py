"""Whether rows can be bars: finite numbers, sane prices, one row for one time. Times are judged elsewhere."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd

from quant_pipeline.importers.columns import BAR_FIELDS
from quant_pipeline.importers.judge import ROW_REMEDY, Judge

_PRICES = ("open", "high", "low", "close")


def check_values(frame: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """Leave only rows whose numbers can be a bar: finite, prices above zero, low <= open, close <= high, volume >= 0.

    Args:
        frame: columns open, high, low, close, volume, row.
        judge: decides what a bad row does.

    Raises:
        ImportRefused: a row fails and bad rows are not to be skipped.
    """
    for name in BAR_FIELDS:
        frame = judge.drop(frame, ~np.isfinite(_values(frame, name)), name, f"{name} is not a finite number")
    for name in _PRICES:
        frame = judge.drop(frame, _values(frame, name) <= 0, name, f"{name} is not above zero")
    frame = judge.drop(frame, _values(frame, "volume") < 0, "volume", "volume is below zero")
    body_top = np.maximum(_values(frame, "open"), _values(frame, "close"))
    frame = judge.drop(frame, _values(frame, "high") < body_top, "high", "high is below open or close")
    body_bottom = np.minimum(_values(frame, "open"), _values(frame, "close"))
    return judge.drop(frame, _values(frame, "low") > body_bottom, "low", "low is above open or close")


def drop_duplicates(frame: pd.DataFrame, judge: Judge) -> tuple[pd.DataFrame, int]:
    """Leave one row for each symbol and bar start.

    Rows that say the same about one time are counted and dropped; rows that contradict each other cannot both be
    right, and none of them is kept.

    Args:
        frame: columns symbol, ts, open, high, low, close, volume, row.
        judge: decides what contradicting rows do.

    Returns:
        The frame sorted by (symbol, ts), and the number of rows dropped for saying the same.

    Raises:
        ImportRefused: rows contradict each other and bad rows are not to be skipped; their lines are named.
    """
    frame = frame.sort_values(["symbol", "ts", "row"], kind="stable").reset_index(drop=True)
    same_time = frame.duplicated(["symbol", "ts"], keep=False).to_numpy()
    if not same_time.any():
        return frame, 0
    same_row = frame.duplicated(["symbol", "ts", *BAR_FIELDS], keep="first").to_numpy()
    single = frame.loc[~same_row].reset_index(drop=True)
    conflicting = single.duplicated(["symbol", "ts"], keep=False).to_numpy()
    if not conflicting.any():
        return single, int(same_row.sum())
    # Repetitions of a contradicting row fall with it, so the counts still add up to the rows read.
    key = pd.MultiIndex.from_frame(frame[["symbol", "ts"]])
    torn = np.asarray(key.isin(pd.MultiIndex.from_frame(single.loc[conflicting, ["symbol", "ts"]])))
    kept = judge.drop(frame, torn, "time", _conflict(frame, torn, judge), ROW_REMEDY)
    repeated = kept.duplicated(["symbol", "ts"], keep="first").to_numpy()
    return kept.loc[~repeated].reset_index(drop=True), int(repeated.sum())


def _conflict(frame: pd.DataFrame, torn: npt.NDArray[np.bool_], judge: Judge) -> str:
    first = frame.loc[torn].sort_values("row").iloc[0]
    same = frame.loc[torn & (frame["symbol"] == first["symbol"]).to_numpy() & (frame["ts"] == first["ts"]).to_numpy()]
    lines = judge.lines(sorted(same["row"]))
    unit = judge.source.unit
    return f"{unit}s {', '.join(str(line) for line in lines)} give different values for one time"


def _values(frame: pd.DataFrame, name: str) -> npt.NDArray[np.float64]:
    return frame[name].to_numpy(dtype=np.float64)
