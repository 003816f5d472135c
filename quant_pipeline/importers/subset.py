"""A parsed file with some of its bars left out: everything that is counted is counted again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from quant_pipeline.importers.grid import gaps_and_slots
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.market import get_market


def subset(parsed: ParsedFile, kept: npt.NDArray[np.bool_]) -> ParsedFile:
    """The file with the bars marked in `kept`, of which there must be one."""
    if kept.all():
        return parsed
    frame = parsed.frame.loc[kept].reset_index(drop=True)
    slots, gaps = gaps_and_slots(frame, parsed.interval, get_market(parsed.market).calendar)
    return replace(
        parsed,
        frame=frame,
        symbols=tuple(sorted(frame["symbol"].unique())),
        slots=slots,
        gaps=gaps,
        first=frame["ts"].min().to_pydatetime(),
        last=frame["ts"].max().to_pydatetime(),
        origins=None if parsed.origins is None else parsed.origins.loc[kept].reset_index(drop=True),
    )
