"""Which interval a file holds: by request, by its name, by the commonest spacing of its times; refused when unclear."""

from __future__ import annotations

import numpy as np

from quant_pipeline.importers.grid import DAY, HOUR, INTERVALS, Nanoseconds
from quant_pipeline.importers.judge import Judge

_NAMES = {length: name for name, length in INTERVALS.items()}
_WEEKLY = 5 * DAY
"""Dates that are mostly this far apart are no daily bars: weekends and holidays leave four days at most."""


def decide_interval(
    judge: Judge, times: Nanoseconds, spacing: int | None, *, asked: str | None, named: str | None, dates: bool
) -> str:
    """The interval of a file.

    Args:
        judge: refuses for this file.
        times: nanoseconds, any order.
        spacing: the commonest distance between neighbouring times, nanoseconds, if there is one.
        asked: the interval that was asked for; it wins.
        named: what the file name states.
        dates: whether the times are dates without time.

    Raises:
        ImportRefused: the interval cannot be told, is not supported, or name and times disagree.
    """
    if dates:
        return _of_dates(judge, spacing, asked, named)
    if asked is not None:
        return asked
    known = None if spacing is None else _name_of(spacing)
    if named in INTERVALS:
        if spacing is None or known == named or _is_sparse(times, spacing, INTERVALS[named]):
            return named
        judge.refuse(
            f"the file name says {named}, its rows are mostly {_spelled(spacing)} apart",
            remedy="Pass the interval that is right (--interval).",
        )
    if spacing is None:
        judge.refuse("the interval cannot be told from a single time", remedy=f"Pass --interval, one of {_listed()}.")
    if known is None:
        judge.refuse(
            f"the rows are mostly {_spelled(spacing)} apart, which is no supported interval",
            remedy=f"Supported are {_listed()}; for thinly traded ones of these pass --interval.",
        )
    return known


def _name_of(spacing: int) -> str | None:
    # Daily bars may be 23 or 25 hours apart across a clock change, and days across weekends in a short file.
    return "1d" if DAY - HOUR <= spacing < _WEEKLY else _NAMES.get(spacing)


def _of_dates(judge: Judge, spacing: int | None, asked: str | None, named: str | None) -> str:
    other = next((name for name in (asked, named) if name is not None and name != "1d"), None)
    if other is not None:
        judge.refuse(
            f"the times are dates only, which does not fit the interval {other}",
            remedy="Give a file with the time of each bar, or pass --interval 1d.",
        )
    if asked is None and spacing is not None and spacing >= _WEEKLY:
        judge.refuse(
            f"the rows are mostly {spacing // DAY} days apart; they are not daily bars",
            remedy="Give daily bars; when these are daily bars with many holes, pass --interval 1d.",
        )
    return "1d"


def _is_sparse(times: Nanoseconds, spacing: int, step: int) -> bool:
    # Thinly traded minutes may mostly be two or five minutes apart, but not all of them sit on that coarser grid.
    return spacing > step and spacing % step == 0 and bool(((times - times.min()) % spacing != 0).any())


def _spelled(nanoseconds: int) -> str:
    return str(np.timedelta64(nanoseconds, "ns").astype("timedelta64[s]").item())


def _listed() -> str:
    return ", ".join(INTERVALS)
