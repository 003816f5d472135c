"""One file into a judged bar frame: the order of the steps. What each step knows belongs to its own module."""

from __future__ import annotations

from collections.abc import Sized
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from quant_pipeline.core.values import BAR_COLUMNS
from quant_pipeline.importers.checks import check_values, drop_duplicates
from quant_pipeline.importers.columns import FastPathFailed, RawBars, convert, read_columns
from quant_pipeline.importers.exact import sort_rows
from quant_pipeline.importers.grid import INTERVALS, gaps_and_slots
from quant_pipeline.importers.judge import Judge
from quant_pipeline.importers.naming import interval_in
from quant_pipeline.importers.ownership import owner_of, select_symbol
from quant_pipeline.importers.recognise import Recognised, recognise
from quant_pipeline.importers.source import open_source
from quant_pipeline.importers.stamps import Asked, place
from quant_pipeline.importers.stated import one_kind, origins_of, stated_market
from quant_pipeline.importers.values import BadRows, ParsedFile, Stamp
from quant_pipeline.markets.market import get_market


def read_file(
    path: Path,
    *,
    market: str | None = None,
    symbol: str | None = None,
    interval: str | None = None,
    tz: str | None = None,
    stamp: Stamp | None = None,
    since: date | None = None,
    until: date | None = None,
    bad_rows: BadRows = "refuse",
) -> ParsedFile:
    """Read one price file and judge it; nothing is stored.

    Args:
        path: CSV (plain, gzip or zip) or Parquet of a known family (`formats.registry.FORMATS`).
        market: `us_equity` or `krw_crypto`; by default by the symbol.
        symbol: by default from the symbol column or the file name. With a symbol column it selects that symbol.
        interval: by default from the spacing of the times and the file name.
        tz: IANA zone of times written without one; needed for such times unless the family knows its zone.
        stamp: whether times name the start or the end of their bars; by default judged for zone-less stock times,
            `start` otherwise.
        since: rows whose date, as the file writes it (an instant's UTC date), is earlier are passed over.
        until: likewise later ones.
        bad_rows: whether one bad row refuses the file or is reported and left out.

    Raises:
        ImportRefused: the file cannot be read as bars; names path, line, column, value and remedy.
        ValueError: an argument is not one of the known values.
    """
    _check_arguments(market, interval, tz)
    source = open_source(path)
    found = recognise(source, market=market, symbol=symbol)
    judge = Judge(source, found.layout, found.header, bad_rows)
    raw = _rows(found, judge)
    chosen = _within(select_symbol(one_kind(raw.frame, judge), judge, symbol), judge, since, until)
    rows_read = len(chosen) + len(judge.rejected)
    named = market or stated_market(chosen)
    owner = owner_of(check_values(chosen, judge), found, judge, market=named, symbol=symbol)
    asked = Asked(interval, tz, stamp, interval_in(found.peek.member or path.name))
    return _placed(found, judge, RawBars(owner.frame, raw.clock), owner.market, asked, rows_read)


def _placed(found: Recognised, judge: Judge, raw: RawBars, market: str, asked: Asked, rows_read: int) -> ParsedFile:
    """From checked rows with their symbols to the finished file: bar starts, duplicates, gaps."""
    calendar = get_market(market).calendar
    _require_rows(raw.frame, judge, rows_read)
    placed = place(raw, calendar, judge, asked)
    _require_rows(placed.frame, judge, rows_read)
    frame, dropped = drop_duplicates(placed.frame, judge)
    _require_rows(frame, judge, rows_read)
    rejected = judge.finish(rows_read)
    slots, gaps = gaps_and_slots(frame, placed.interval, calendar)
    origins, (source, feed, adjustment) = origins_of(frame, found.layout)
    return ParsedFile(
        path=judge.source.path,
        frame=frame.loc[:, list(BAR_COLUMNS)],
        market=market,
        symbols=tuple(sorted(frame["symbol"].unique())),
        interval=placed.interval,
        source=source,
        feed=feed,
        adjustment=adjustment,
        format=found.format.name,
        stamp=placed.stamp,
        rows_read=rows_read,
        duplicates_dropped=dropped,
        rejected=rejected,
        slots=slots,
        gaps=gaps,
        first=frame["ts"].min().to_pydatetime(),
        last=frame["ts"].max().to_pydatetime(),
        origins=origins,
    )


def _check_arguments(market: str | None, interval: str | None, tz: str | None) -> None:
    if market is not None:
        get_market(market)
    if interval is not None and interval not in INTERVALS:
        msg = f"unknown interval {interval!r}; use one of {', '.join(INTERVALS)}"
        raise ValueError(msg)
    if tz is not None:
        try:
            ZoneInfo(tz)
        except (KeyError, OSError, ValueError) as error:
            msg = f"unknown time zone {tz!r}; use a name such as UTC, America/New_York or Asia/Seoul"
            raise ValueError(msg) from error


def _rows(found: Recognised, judge: Judge) -> RawBars:
    """Columns, numbers and times: at once when every row can be read, else row by row to find those that cannot."""
    source, layout = judge.source, found.layout
    try:
        raw = convert(read_columns(source, layout, len(found.header)), layout)
    except FastPathFailed:
        split = sort_rows(source, layout, found.header)
        judge.add(split.bad)
        _require_rows(split.columns.row, judge, len(split.columns.row) + len(split.bad))
        try:
            raw = convert(split.columns, layout)
        except FastPathFailed as error:
            judge.refuse(f"the rows cannot be read together ({error})", remedy="Write all rows in the same way.")
    if raw.frame.empty:
        judge.refuse("there is no data row", remedy="Give a file with at least one row.")
    return raw


def _within(frame: pd.DataFrame, judge: Judge, since: date | None, until: date | None) -> pd.DataFrame:
    """Rows of the span that was asked for."""
    if since is None and until is None:
        return frame
    days = frame["time"].to_numpy(dtype="datetime64[D]")
    first, last = np.datetime64(since or date.min, "D"), np.datetime64(until or date.max, "D")
    kept = (days >= first) & (days <= last)
    if not kept.any():
        judge.refuse(
            f"no row lies from {since or 'the beginning'} to {until or 'the end'}", remedy="Check --since and --until."
        )
    return frame.loc[kept].reset_index(drop=True)


def _require_rows(rows: Sized, judge: Judge, rows_read: int) -> None:
    """Refuse a file of which nothing is left."""
    if len(rows) == 0:
        judge.finish(rows_read)
