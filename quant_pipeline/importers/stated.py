"""What the rows of a file state about themselves beside their bar: market, interval, and where the bar came from."""

from __future__ import annotations

import pandas as pd

from quant_pipeline.importers.judge import Judge
from quant_pipeline.importers.values import Layout
from quant_pipeline.storage.bars import Origin

ORIGIN_COLUMNS = ("source", "feed", "adjustment")
_OF_THE_FILE = ("market", "interval")


def one_kind(frame: pd.DataFrame, judge: Judge) -> pd.DataFrame:
    """`frame` without rows of another market or interval than the first one's, or with an empty origin.

    Raises:
        ImportRefused: there is such a row and bad rows are not to be skipped.
    """
    for name in (*_OF_THE_FILE, *ORIGIN_COLUMNS):
        if name in frame.columns:
            empty = (frame[name].fillna("").str.strip() == "").to_numpy()
            frame = judge.drop(frame, empty, name, f"the {name} is empty")
    for name in _OF_THE_FILE:
        if name in frame.columns and len(frame):
            first = frame[name].iloc[0]
            other = (frame[name] != first).to_numpy()
            frame = judge.drop(frame, other, name, f"the row is of another {name} than the first one ({first})")
    return frame


def stated_market(frame: pd.DataFrame) -> str | None:
    """The market that the rows state, if they do."""
    return str(frame["market"].iloc[0]) if "market" in frame.columns and len(frame) else None


def origins_of(frame: pd.DataFrame, layout: Layout) -> tuple[pd.DataFrame | None, Origin]:
    """The origin of each row when rows state it, and the origin of the file: its family's, or all that rows state."""
    if not all(name in frame.columns for name in ORIGIN_COLUMNS):
        return None, (layout.source, layout.feed, layout.adjustment)
    origins = frame.loc[:, list(ORIGIN_COLUMNS)]
    source, feed, adjustment = ("+".join(sorted(origins[name].unique())) for name in ORIGIN_COLUMNS)
    return origins, (source, feed, adjustment)
