"""Bars of one symbol and interval as a venue gave them, word for word, and for which time they are complete."""

from __future__ import annotations

from bisect import bisect_left
from datetime import UTC, datetime
from typing import Any, NamedTuple

import numpy as np

from quant_pipeline.exchange.bars.columns import BarColumns, Ints
from quant_pipeline.exchange.bars.sessions import bar_bounds
from quant_pipeline.markets.market import Market

KEPT = 1500
"""Bars kept of a series, the newest; those that open orders still have to be matched with are kept besides."""


class Row(NamedTuple):
    """One bar: what the venue wrote, and the numbers in it."""

    said: dict[str, Any]
    open: float
    high: float
    low: float
    close: float
    volume: float
    value: float


class Series:
    """Rows by stamp (epoch seconds), and the spans [start, end) in which no bar is missing.

    A bar that was still forming when it was told is kept too, behind the end of its span: it is not complete.
    """

    def __init__(self) -> None:
        """Know nothing."""
        self.asked_at = datetime.min.replace(tzinfo=UTC)
        self._rows: dict[int, Row] = {}
        self._stamps: list[int] = []
        self._spans: list[tuple[int, int]] = []

    def learn(self, start: int, end: int, rows: dict[int, Row], *, complete_until: int, keep_from: int) -> None:
        """Take over all bars stamped in [start, end), which replace those known of that time.

        What is stamped before `complete_until` will not change by mere passing of time. From `keep_from` on nothing is
        forgotten.
        """
        for stamp in self._between(start, end):
            del self._rows[stamp]
        self._rows.update(rows)
        self._stamps = sorted(self._rows)
        if min(end, complete_until) > start:
            self._add_span(start, min(end, complete_until))
        if len(self._stamps) > KEPT:
            self._forget_before(min(self._stamps[-KEPT], keep_from))

    def complete_from(self, at: int) -> int | None:
        """Until when bars are complete without a hole from `at` on; None if they are not complete there."""
        return next((end for start, end in self._spans if start <= at <= end), None)

    def edge(self) -> int | None:
        """Until when anything is complete."""
        return self._spans[-1][1] if self._spans else None

    def rows(self, start: int, end: int) -> list[Row]:
        """The bars stamped in [start, end), oldest first."""
        return [self._rows[stamp] for stamp in self._between(start, end)]

    def columns(self, market: Market, seconds: int, start: int, end: int) -> BarColumns:
        """The bars stamped in [start, end) that belong to a session, as columns."""
        stamps = self._between(start, end)
        rows = [self._rows[stamp] for stamp in stamps]
        ts: Ints = np.array(stamps, np.int64)
        opens, closes = bar_bounds(market, ts, seconds)
        figures = [np.array([row[n] for row in rows], np.float64) for n in range(1, 7)]
        bars = BarColumns(ts, opens, closes, *figures)
        return bars.take(closes > opens)

    def _between(self, start: int, end: int) -> list[int]:
        return self._stamps[bisect_left(self._stamps, start) : bisect_left(self._stamps, end)]

    def _add_span(self, start: int, end: int) -> None:
        apart = [span for span in self._spans if span[1] < start or span[0] > end]
        joined = [span for span in self._spans if not (span[1] < start or span[0] > end)]
        start, end = min([start, *(s for s, _ in joined)]), max([end, *(e for _, e in joined)])
        self._spans = sorted([*apart, (start, end)])

    def _forget_before(self, cut: int) -> None:
        self._rows = {stamp: row for stamp, row in self._rows.items() if stamp >= cut}
        self._stamps = sorted(self._rows)
        self._spans = [(max(start, cut), end) for start, end in self._spans if end > cut]
