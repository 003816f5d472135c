"""Which sessions of which symbols a range run still has to fetch, cut into pieces. Fetching is done by `collect.py`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from quant_pipeline.core.bars import interval_seconds
from quant_pipeline.markets import calendar
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.timing import default_interval


@dataclass(frozen=True, slots=True)
class Chunk:
    """Sessions that follow one another, fetched and committed as one piece; `rows` is how many bars it can have."""

    interval: str
    symbols: tuple[str, ...]
    sessions: tuple[date, ...]
    rows: int


def plan_chunks(market: MarketSettings, missing: Mapping[date, Sequence[str]], now: datetime) -> tuple[Chunk, ...]:
    """The pieces that cover `missing` (symbols by session), oldest first, each of at most `collect_chunk_rows` bars.

    A piece has at least one session of one symbol. Sessions are fetched at the interval that fits their age.
    """
    return tuple(piece for span in _spans(market, missing, now) for piece in _cut(market, *span))


def expected_bars(market: MarketSettings, interval: str, session: date) -> int:
    """Bars of one symbol in a whole session, half days as they are."""
    if interval == "1d":
        return 1
    hours = calendar.session_hours(market.market.calendar, session)
    return int((hours.closes_at - hours.opens_at).total_seconds()) // interval_seconds(interval)


def _spans(
    market: MarketSettings, missing: Mapping[date, Sequence[str]], now: datetime
) -> Iterator[tuple[str, tuple[str, ...], list[date]]]:
    """Contiguous sessions that lack the same symbols, with the interval to collect them at."""
    interval, symbols, sessions = "", (), []  # type: tuple[str, tuple[str, ...], list[date]]
    for session in sorted(session for session, lacking in missing.items() if lacking):
        wanted = (default_interval(market, session, now), tuple(missing[session]))
        follows = sessions and calendar.next_session(market.market.calendar, sessions[-1]) == session
        if follows and wanted == (interval, symbols):
            sessions.append(session)
            continue
        if sessions:
            yield interval, symbols, sessions
        (interval, symbols), sessions = wanted, [session]
    if sessions:
        yield interval, symbols, sessions


def _cut(market: MarketSettings, interval: str, symbols: tuple[str, ...], sessions: Sequence[date]) -> Iterator[Chunk]:
    """One span in pieces: as many sessions as fit, or, where not even one fits, its symbols in groups."""
    each = max(expected_bars(market, interval, session) for session in sessions)
    most = market.collect_chunk_rows
    width = min(len(symbols), max(1, most // each))
    length = max(1, most // (each * width))
    for i in range(0, len(sessions), length):
        part = tuple(sessions[i : i + length])
        for j in range(0, len(symbols), width):
            group = symbols[j : j + width]
            yield Chunk(interval, group, part, each * len(group) * len(part))
