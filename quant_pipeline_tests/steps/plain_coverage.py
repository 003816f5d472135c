"""A plain, slow account of what should be stored and known: dictionaries and loops, one slot at a time. No assertions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import pandas as pd

from quant_pipeline.core.bars import empty_bars
from quant_pipeline.core.values import BAR_COLUMNS, Quote

HOUR = timedelta(hours=1)
type Slot = tuple[str, datetime]


def slots_of(session: date) -> list[datetime]:
    """The hours of a day of crypto."""
    return [datetime(session.year, session.month, session.day, hour, tzinfo=UTC) for hour in range(24)]


def hourly(values: Iterable[tuple[Slot, float]]) -> pd.DataFrame:
    """A bar frame of flat bars, sorted."""
    rows = [(symbol, ts, value, value, value, value, value) for (symbol, ts), value in sorted(values)]
    if not rows:
        return empty_bars()
    frame = pd.DataFrame(rows, columns=list(BAR_COLUMNS))
    return frame.assign(ts=frame["ts"].astype("datetime64[ns, UTC]"))


@dataclass
class WrittenData:
    """A venue that has what the test writes down, and remembers what it was asked."""

    bars_of: dict[Slot, float] = field(default_factory=dict)
    asked: list[tuple[tuple[str, ...], str, datetime, datetime]] = field(default_factory=list)
    fails: list[Exception] = field(default_factory=list)

    def bars(self, symbols: Sequence[str], interval: str, start: datetime, end: datetime) -> pd.DataFrame:
        self.asked.append((tuple(symbols), interval, start, end))
        if self.fails:
            raise self.fails.pop(0)
        return hourly((key, v) for key, v in self.bars_of.items() if key[0] in symbols and start <= key[1] < end)

    def quotes(self, symbols: Sequence[str]) -> dict[str, Quote]:
        raise NotImplementedError

    def close(self) -> None:
        """Nothing is open."""


@dataclass
class Plain:
    """What should be stored and known of some sessions."""

    sessions: Sequence[date]
    stored: dict[Slot, float] = field(default_factory=dict)
    of_venue: set[Slot] = field(default_factory=set)
    boundary: dict[tuple[date, str], datetime] = field(default_factory=dict)
    looked_at: set[tuple[date, str]] = field(default_factory=set)
    partial: set[tuple[date, str]] = field(default_factory=set)

    def fetched(
        self, venue: WrittenData, symbols: Sequence[str], start: datetime, stop: datetime, now: datetime, *, fill: bool
    ) -> None:
        """The venue was asked for a span; `fill`: what is stored stays."""
        gone = [] if fill else [key for symbol in symbols for key in self._withdrawn(venue, symbol, start, stop)]
        for key in gone:
            del self.stored[key]
            self.of_venue.remove(key)
        for (symbol, ts), value in venue.bars_of.items():
            closed = ts + HOUR <= now
            if symbol in symbols and start <= ts < stop and closed and not (fill and (symbol, ts) in self.stored):
                self.stored[symbol, ts] = value
                self.of_venue.add((symbol, ts))
        for session in self.sessions:
            first = slots_of(session)[0]
            if stop <= first or start >= first + 24 * HOUR:
                continue
            for symbol in symbols:
                self._asked((session, symbol), first, start, min(stop, first + 24 * HOUR))
                self._settle((session, symbol), now)

    def _withdrawn(self, venue: WrittenData, symbol: str, start: datetime, stop: datetime) -> list[Slot]:
        """Bars that the venue gave before and gives no more, where its answer goes on before and after them."""
        given = [ts for name, ts in venue.bars_of if name == symbol and start <= ts < stop]
        gone = []
        for name, ts in self.of_venue:
            if name == symbol and start <= ts < stop and ts not in given:
                before = any(other < ts for other in given)
                after = any(other > ts for other in given)
                if before and after:
                    gone.append((name, ts))
        return gone if len(gone) <= min(3, len(given)) else []

    def _asked(self, key: tuple[date, str], first: datetime, start: datetime, stop: datetime) -> None:
        before = self.boundary.get(key)
        if start <= first:
            self.looked_at.add(key)
            reached = stop if before is None else max(before, stop)
        elif before is not None and start <= before:
            reached = max(before, stop)
        else:
            return
        if reached != before:
            self.partial.discard(key)
        self.boundary[key] = reached

    def imported(self, values: dict[Slot, float], now: datetime) -> None:
        """A file was imported: it says nothing about hours that it does not hold, and the venue's own bars stay."""
        self.stored |= {key: value for key, value in values.items() if key not in self.of_venue}
        for symbol in {symbol for symbol, _ in values}:
            days = sorted(ts.date() for name, ts in values if name == symbol)
            for session in self.sessions:
                if days[0] <= session <= days[-1]:
                    self.looked_at.add((session, symbol))
                    self.partial.add((session, symbol))
                    self._settle((session, symbol), now, imported=True)

    def deleted(self, keys: Iterable[Slot], now: datetime) -> None:
        """Bars were withdrawn."""
        for key in keys:
            self.stored.pop(key, None)
            self.of_venue.discard(key)
        for key in self.looked_at:
            self._settle(key, now)

    def kinds(self, session: date, symbol: str, now: datetime) -> list[str]:
        """What is known of each hour."""
        found = []
        for ts in slots_of(session):
            boundary = self.boundary.get((session, symbol))
            if (symbol, ts) in self.stored:
                found.append("present")
            elif boundary is not None and ts + HOUR <= boundary:
                found.append("no_trade")
            elif ts + HOUR > now:
                found.append("not_yet")
            else:
                found.append("unknown" if (session, symbol) in self.partial else "not_fetched")
        return found

    def _settle(self, key: tuple[date, str], now: datetime, *, imported: bool = False) -> None:
        """A session without anything unexplained is not partial any more."""
        left = set(self.kinds(*key, now)) - {"present", "no_trade"}
        if not left or (left == {"not_yet"} and not imported and key not in self.partial):
            self.partial.discard(key)
