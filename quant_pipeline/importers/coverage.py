"""Coverage of what an import touched: for each session of a file's span, what is stored against the grid.

Counted from storage, not from the file, so that pieces of one session in several files add up in any order.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from quant_pipeline.core.slots import count_by_day
from quant_pipeline.importers.grid import DAY, Nanoseconds, full_slots, nanoseconds_of, residue_of, slot_ends
from quant_pipeline.importers.origins import rank
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.markets.calendar import CalendarName, sessions
from quant_pipeline.markets.market import get_market
from quant_pipeline.storage.bars import Origin
from quant_pipeline.storage.bars_read import session_bars
from quant_pipeline.storage.coverage import Coverage, read_coverage, record_coverage
from quant_pipeline.storage.database import Database

COMPLETE, PARTIAL = "complete", "partial"
_EPOCH = date(1970, 1, 1)

type _Key = tuple[str, date]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What storage says of the file's sessions: coverage recorded before, and the origin and age of the bars there."""

    rows: Mapping[_Key, Coverage]
    origins: Mapping[_Key, tuple[Origin, datetime]]

    def fetched_to(self, key: _Key) -> datetime | None:
        """What a venue was asked for stays asked for, so that minutes without a trade stay known."""
        row = self.rows.get(key)
        return None if row is None else row.fetched_to

    def origin(self, key: _Key, given: Origin) -> Origin:
        """The origin of the session's bars; of a session without bars the better one of those that said so."""
        if key in self.origins:
            return self.origins[key][0]
        row = self.rows.get(key)
        return given if row is None else min(given, (row.source, row.feed, row.adjustment), key=rank)

    def is_news(self, row: Coverage) -> bool:
        """Whether something else was recorded before, or bars changed since: what depends on them looks at this."""
        key = row.symbol, row.session
        known = self.rows.get(key)
        if known is None or _said(known) != _said(row):
            return True
        return key in self.origins and self.origins[key][1] > known.checked_at


def record_file(db: Database, parsed: ParsedFile, *, at: datetime, changed: frozenset[_Key] = frozenset()) -> int:
    """Record coverage of every session between the first and the last bar of each symbol; returns how many are news.

    A session is `complete` when every slot of its regular hours has a bar or is known to have no trade, else
    `partial`: an import cannot tell an absent trade from a lost page. Sessions in `changed` are news in any case.
    """
    calendar = get_market(parsed.market).calendar
    stored = session_bars(db, parsed.market, parsed.interval, parsed.symbols, *_span(parsed))
    known = _stored(db, parsed, stored)
    rows: list[Coverage] = []
    for symbol in parsed.symbols:
        own = parsed.frame.loc[parsed.frame["symbol"] == symbol, "ts"]
        listed = sessions(calendar, own.min().date(), own.max().date())
        starts = stored.filter(pc.equal(stored["symbol"], symbol))["ts"]
        ts = pd.DatetimeIndex(pc.list_flatten(starts).cast(pa.timestamp("ns", "UTC")).to_pandas())
        rows.extend(_symbol_rows(parsed, symbol, ts, calendar, listed, known, at))
    return record_coverage(db, [row for row in rows if known.is_news(row) or (row.symbol, row.session) in changed])


def _stored(db: Database, parsed: ParsedFile, stored: pa.Table) -> _Stored:
    first, last = parsed.first.date(), parsed.last.date()
    rows = read_coverage(db, parsed.market, parsed.symbols, first, last, interval=parsed.interval)
    columns = [stored[name].to_pylist() for name in ("symbol", "session", "source", "feed", "adjustment", "fetched_at")]
    return _Stored(
        {(row.symbol, row.session): row for row in rows},
        {
            (symbol, day): ((source, feed, adjusted), age)
            for symbol, day, source, feed, adjusted, age in zip(*columns, strict=True)
        },
    )


def _said(row: Coverage) -> tuple[object, ...]:
    """All that a row says beside whose it is and when that was seen."""
    counts = row.expected, row.present, row.no_trade, row.first_ts, row.last_ts
    return *counts, row.source, row.feed, row.adjustment, row.status


def _span(parsed: ParsedFile) -> tuple[datetime, datetime]:
    return _midnight(parsed.first.date()), _midnight(parsed.last.date(), days=1)


def _symbol_rows(
    parsed: ParsedFile,
    symbol: str,
    ts: pd.DatetimeIndex,
    calendar: CalendarName,
    listed: tuple[date, ...],
    known: _Stored,
    at: datetime,
) -> list[Coverage]:
    times = nanoseconds_of(ts)
    slots = full_slots(calendar, parsed.interval, listed, residue_of(ts, parsed.interval, calendar))
    days = np.array([(session - _EPOCH).days for session in listed], dtype=np.int64)
    ends = slot_ends(calendar, parsed.interval, listed, slots)
    expected, present = count_by_day(slots, days), count_by_day(times[np.isin(times, slots)], days)
    vacant = ~np.isin(slots, times)
    over = np.searchsorted(ends, [_number(known.fetched_to((symbol, day))) for day in listed], side="right")
    begins = np.searchsorted(slots, days * DAY)
    firsts, lasts = _ends(ts, times, days)
    given = parsed.source, parsed.feed, parsed.adjustment
    rows = []
    for number, session in enumerate(listed):
        key = symbol, session
        absent = expected[number] - present[number]
        no_trade = int(vacant[begins[number] : min(over[number], begins[number] + expected[number])].sum())
        source, feed, adjustment = known.origin(key, given)
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
                source=source,
                feed=feed,
                adjustment=adjustment,
                status=COMPLETE if no_trade == absent else PARTIAL,
                checked_at=at,
                fetched_to=known.fetched_to(key),
            )
        )
    return rows


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


def _number(at: datetime | None) -> int:
    """UTC nanoseconds; before every slot for a session that no venue was asked for."""
    return -1 if at is None else ((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)) * 1000


def _midnight(day: date, *, days: int = 0) -> datetime:
    return datetime.combine(day, datetime.min.time(), UTC) + timedelta(days=days)
