"""A bar frame as the Arrow rows that are staged for writing, refused when it is not sound. No SQL."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.values import BAR_COLUMNS

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

BAR_VALUES = ("open", "high", "low", "close", "volume")


def bar_rows(frame: pd.DataFrame) -> pa.Table:
    """The frame as Arrow columns in the order of `BAR_COLUMNS`, times in microseconds.

    Raises:
        ValueError: it lacks a column, holds a bar twice, a number that is not finite, or a time that cannot be kept.
    """
    import pyarrow as pa

    missing = [name for name in BAR_COLUMNS if name not in frame.columns]
    if missing:
        msg = f"bar frame lacks the columns {missing}; it needs {list(BAR_COLUMNS)}"
        raise ValueError(msg)
    columns = {"symbol": pa.array(frame["symbol"].to_numpy(dtype=object), pa.string()), "ts": _microseconds(frame)}
    for name in BAR_VALUES:
        values = frame[name].to_numpy(dtype=np.float64)
        if not np.isfinite(values).all():
            row = frame.iloc[int(np.flatnonzero(~np.isfinite(values))[0])]
            msg = f"bar {row['symbol']} {row['ts']} has {name}={row[name]}; leave out bars without numbers"
            raise ValueError(msg)
        columns[name] = pa.array(values)
    doubled = frame.duplicated(["symbol", "ts"]).to_numpy()
    if doubled.any():
        row = frame.iloc[int(np.flatnonzero(doubled)[0])]
        msg = f"bar {row['symbol']} {row['ts']} is in the frame twice; keep one of them"
        raise ValueError(msg)
    return pa.table(columns)


def _microseconds(frame: pd.DataFrame) -> pa.Array:
    import pyarrow as pa

    zone = getattr(frame["ts"].dtype, "tz", None)
    if zone is None:
        msg = f"column ts is {frame['ts'].dtype}; it must be datetime64 with a time zone"
        raise ValueError(msg)
    nanoseconds = frame["ts"].to_numpy(dtype="datetime64[ns]").astype(np.int64)
    if (nanoseconds % 1000).any():
        msg = "column ts has fractions of a microsecond, which PostgreSQL cannot keep; bars start on whole seconds"
        raise ValueError(msg)
    return pa.array(nanoseconds // 1000).cast(pa.timestamp("us", "UTC"))
