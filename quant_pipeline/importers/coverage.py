"""Coverage of what an import touched: for each session of a file's span, what is stored against the grid.

Counted from storage, not from the file, so that pieces of one session in several files add up in any order.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd

from quant_pipeline.importers.grid import DAY, Nanoseconds, full_slots, nanoseconds_of, residue_of
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.calendar import CalendarName, sessions
from quant_pipeline.markets.market import get_market
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database

COMPLETE, PARTIAL = "complete", "partial"
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class _Known:
    """What was recorded before: minutes known to have no trade stay known."""

    rows: dict[tuple[str, date], Coverage]

    def no_trade(self, symbol: str, session: date, absent: int) -> int:
        row = self.rows.get((symbol, session))
        return 0 if row is None else min(row.no_trade, absent)


def record_file(db: Database, parsed: ParsedFile, *, at: datetime) -> int:
    """Record coverage of every session between the first and the last bar of each symbol; returns their number.

    A session is `complete` when every slot of its regular hours has a bar or is known to have no trade, else
    `partial`: an import cannot tell an absent trade from a lost page.
    """
    calendar = get_market(parsed.market).calendar
    first, last = parsed.first.date(), parsed.last.date()
    known = _known(db, parsed, first, last)
    stored = read_bars(db, parsed.market, parsed.interval, parsed.symbols, _midnight(first), _midnight(last, days=1))
    rows: list[Coverage] = []
    for symbol, bars in stored.groupby("symbol", sort=True):
        own = parsed.frame.loc[parsed.frame["symbol"] == symbol, "ts"]
        listed = sessions(calendar, own.min().date(), own.max().date())
        rows.extend(_symbol_rows(parsed, str(symbol), bars, calendar, listed, known, at))
    return record_coverage(db, rows)


def _known(db: Database, parsed: ParsedFile, first: date, last: date) -> _Known:
    rows = read_coverage(db, parsed.market, parsed.symbols, first, last, interval=parsed.interval)
    return _Known({(row.symbol, row.session): row for row in rows})


def _symbol_rows(
    parsed: ParsedFile,
    symbol: str,
    bars: pd.DataFrame,
    calendar: CalendarName,
    listed: tuple[date, ...],
    known: _Known,
    at: datetime,
) -> list[Coverage]:
    ts = pd.DatetimeIndex(bars["ts"])
    times = nanoseconds_of(ts)
    slots = full_slots(calendar, parsed.interval, listed, residue_of(ts, parsed.interval, calendar))
    expected = _by_day(slots)
    present = _by_day(times[np.isin(times, slots)])
    rows = []
    for session in listed:
        day = (session - _EPOCH).days
        begin, end = np.searchsorted(times, [day * DAY, (day + 1) * DAY])
        absent = expected.get(day, 0) - present.get(day, 0)
        no_trade = known.no_trade(symbol, session, absent)
        rows.append(
            Coverage(
                market=parsed.market,
                symbol=symbol,
                interval=parsed.interval,
                session=session,
                expected=expected.get(day, 0),
                present=present.get(day, 0),
                no_trade=no_trade,
                first_ts=ts[begin].to_pydatetime() if begin < end else None,
                last_ts=ts[end - 1].to_pydatetime() if begin < end else None,
                source=parsed.source,
                feed=parsed.feed,
                adjustment=parsed.adjustment,
                status=COMPLETE if no_trade == absent else PARTIAL,
                checked_at=at,
            )
        )
    return rows


def _by_day(times: Nanoseconds) -> dict[int, int]:
    """How many times lie on each UTC day (numbered from 1970)."""
    days, counts = np.unique(times // DAY, return_counts=True)
    return dict(zip(days.tolist(), counts.tolist(), strict=True))


def _midnight(day: date, *, days: int = 0) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=days)
