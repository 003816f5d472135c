"""Bars as they were known at any time equal what was stored then, whatever was written and withdrawn since."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Literal

import pandas as pd
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from quant_pipeline.storage.bars import delete_bars, last_bars, read_bars, upsert_bars
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.storage.builders import AT

SYMBOLS, SLOTS = ("A", "B"), 4
FIRST = pd.Timestamp("2024-01-31 23:58", tz="UTC")
_SPAN = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)

_MARKETS = itertools.count()

type Bar = tuple[str, int]
"""A symbol and the number of its minute."""

bars_of = st.dictionaries(
    st.tuples(st.sampled_from(SYMBOLS), st.integers(0, SLOTS - 1)), st.integers(1, 3), min_size=1, max_size=5
)
operations = st.lists(
    st.tuples(st.sampled_from(["upsert", "delete"]), bars_of, st.integers(0, 2)), min_size=1, max_size=12
)
"""What is done, to which bars (with which price), so many minutes after what was done before: perhaps none."""


def _frame(bars: dict[Bar, int]) -> pd.DataFrame:
    rows = [
        {
            "symbol": symbol,
            "ts": FIRST + pd.Timedelta(slot, "min"),
            **dict.fromkeys(("open", "high", "low"), float(price)),
        }
        for (symbol, slot), price in bars.items()
    ]
    return pd.DataFrame(rows).assign(close=lambda f: f["open"], volume=1.0)


def _apply(db: Database, market: str, kind: Literal["upsert", "delete"], bars: dict[Bar, int], at: datetime) -> None:
    if kind == "upsert":
        upsert_bars(db, market, "1m", _frame(bars), source="x", feed="x", adjustment="raw", at=at)
    else:
        delete_bars(db, market, "1m", _frame(bars), at=at)


def _known(frame: pd.DataFrame) -> dict[Bar, int]:
    slots = ((frame["ts"] - FIRST) / pd.Timedelta(1, "min")).astype(int)
    return {(s, n): int(c) for s, n, c in zip(frame["symbol"], slots, frame["close"], strict=True)}


@given(done=operations)
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_reading_as_of_a_time_gives_what_was_stored_at_that_time(
    database: Database, done: list[tuple[Literal["upsert", "delete"], dict[Bar, int], int]]
) -> None:
    market, at = f"market-{next(_MARKETS)}", AT
    plain: dict[Bar, int] = {}
    kept: dict[datetime, dict[Bar, int]] = {AT - timedelta(hours=1): {}}
    for kind, bars, minutes in done:
        at += timedelta(minutes=minutes)
        _apply(database, market, kind, bars, at)
        plain = {**plain, **bars} if kind == "upsert" else {k: v for k, v in plain.items() if k not in bars}
        kept[at] = plain  # of what is written at one instant the last counts
    for moment, expected in kept.items():
        for later in (timedelta(0), timedelta(seconds=30)):
            assert _known(read_bars(database, market, "1m", None, *_SPAN, as_of=moment + later)) == expected
            last = last_bars(database, market, "1m", SYMBOLS, 2, _SPAN[1], as_of=moment + later)
            wanted = {k: v for k, v in expected.items() if sum(s == k[0] and n > k[1] for s, n in expected) < 2}
            assert _known(last) == wanted
    assert _known(read_bars(database, market, "1m", None, *_SPAN)) == plain


def test_a_bar_that_came_back_by_a_clock_that_went_back_is_known_once(database: Database) -> None:
    bar: dict[Bar, int] = {("A", 0): 1}
    _apply(database, "m", "upsert", bar, AT)
    _apply(database, "m", "delete", bar, AT + timedelta(minutes=10))
    _apply(database, "m", "upsert", {("A", 0): 2}, AT + timedelta(minutes=5))
    seen = [
        _known(read_bars(database, "m", "1m", None, *_SPAN, as_of=AT + timedelta(minutes=minutes)))
        for minutes in (0, 6, 10)
    ]
    assert seen == [{("A", 0): 1}, {("A", 0): 1}, {("A", 0): 2}]
