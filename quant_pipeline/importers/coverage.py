"""Coverage of what an import touched: for each session of a file's span, what is stored against the grid.

Counted from storage, not from the file, so that pieces of one session in several files add up in any order.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
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

    def says(self, row: Coverage) -> bool:
        """Whether the same was recorded before, whenever that was."""
        known = self.rows.get((row.symbol, row.session))
        return known is not None and replace(known, checked_at=row.checked_at) == row


def record_file(db: Database, parsed: ParsedFile, *, at: datetime) -> int:
    """Record coverage of every session between the first and the last bar of each symbol; returns how many are news.

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
    return record_coverage(db, [row for row in rows if not known.says(row)])


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
    days = np.array([(session - _EPOCH).days for session in listed], dtype=np.int64)
    expected, present = _counts(slots, days), _counts(times[np.isin(times, slots)], days)
    firsts, lasts = _ends(ts, times, days)
    rows = []
    for number, session in enumerate(listed):
        absent = expected[number] - present[number]
        no_trade = known.no_trade(symbol, session, absent)
        rows.append(
            Coverage(
                market=parsed.market,
                symbol=symbol,
                interval=parsed.interval,
                session=session,
                expected=expected[number],
                present=present[number],
                no_trade=no_trade,
                first_ts=firsts[number],
                last_ts=lasts[number],
                source=parsed.source,
                feed=parsed.feed,
                adjustment=parsed.adjustment,
                status=COMPLETE if no_trade == absent else PARTIAL,
                checked_at=at,
            )
        )
    return rows


def _counts(times: Nanoseconds, days: Nanoseconds) -> list[int]:
    """How many of the ascending `times` lie on each UTC day (numbered from 1970)."""
    counts: list[int] = (np.searchsorted(times, (days + 1) * DAY) - np.searchsorted(times, days * DAY)).tolist()
    return counts


def _ends(
    ts: pd.DatetimeIndex, times: Nanoseconds, days: Nanoseconds
) -> tuple[list[datetime | None], list[datetime | None]]:
    """The first and the last time on each UTC day, None where there is none."""
    begin, end = np.searchsorted(times, days * DAY), np.searchsorted(times, (days + 1) * DAY)
    held = (begin < end).tolist()
    firsts = ts[np.minimum(begin, len(times) - 1)].to_pydatetime().tolist()
    lasts = ts[np.maximum(end - 1, 0)].to_pydatetime().tolist()
    return (
        [value if some else None for value, some in zip(firsts, held, strict=True)],
        [value if some else None for value, some in zip(lasts, held, strict=True)],
    )


def _midnight(day: date, *, days: int = 0) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=days)
