"""Whatever arrives, in whatever order and however often: what is stored and known equals a plain reference."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.store import import_files
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.collect import collect_recent, collect_sessions, fetch
from quant_pipeline.steps.coverage import recount, session_slots
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.steps.repair import repair_sessions
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import delete_bars, read_bars, upsert_bars
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.steps.plain_coverage import HOUR, Plain, WrittenData, hourly, slots_of
from quant_pipeline_tests.steps.world import opened_desk, settings_for

KRW = "krw_crypto"
DAYS = tuple(date(2026, 3, day) for day in (2, 3, 4))
SLOTS = [slot for day in DAYS for slot in slots_of(day)]
START, END = SLOTS[0], SLOTS[-1] + HOUR
_NAMES = itertools.count()
_relaxed = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)

_hours = st.integers(0, len(SLOTS) - 1)
_some_hours = st.sets(_hours, min_size=1, max_size=len(SLOTS))
_neighbours = st.tuples(_hours, st.integers(2, 12)).map(lambda span: set(range(span[0], min(sum(span), len(SLOTS)))))
_span = st.tuples(_hours, st.integers(1, 40))
_step = st.one_of(
    st.tuples(st.just("tick"), st.just(None)),
    st.tuples(st.just("collect"), st.sets(st.sampled_from(DAYS), min_size=1)),
    st.tuples(st.just("repair"), st.sets(st.sampled_from(DAYS), min_size=1)),
    st.tuples(st.just("import"), _some_hours | _neighbours),
    st.tuples(st.just("import_newest"), st.integers(2, 6)),
    st.tuples(st.just("fetch"), _span),
    st.tuples(st.just("delete"), _some_hours),
    st.tuples(st.just("restate"), _hours),
    st.tuples(st.just("withdraw"), _some_hours | _neighbours),
)


@pytest.fixture
def desk(tmp_path: Path, database: Database) -> Iterator[Desk]:
    """A desk of hourly coins."""
    made = settings_for(
        tmp_path / "home", KRW, symbols=("KRW-A",), base_interval="1h", decision_interval="1h", history_start=DAYS[0]
    )
    with opened_desk(made, database) as opened:
        yield opened


class Run:
    """One desk with new coins, the venue they trade at, and the plain account of both."""

    def __init__(self, desk: Desk, gaps: set[int], folder: Path) -> None:
        number = next(_NAMES)
        self.desk, self.folder = desk, folder
        self.symbols = (f"KRW-A{number}", f"KRW-B{number}")
        self.market: MarketSettings = desk.settings.krw_crypto.model_copy(update={"symbols": self.symbols})
        traded = [(n, slot) for n, slot in enumerate(SLOTS) if n not in gaps]
        self.venue = WrittenData({(symbol, slot): 1.0 + n for symbol in self.symbols for n, slot in traded})
        desk._venues[KRW] = Venue(self.venue, self.venue)  # type: ignore[arg-type]
        self.plain = Plain(DAYS)

    def do(self, what: str, detail: Any, now: datetime) -> None:
        """Carry out one step on both."""
        context = RunContext(now, f"run-{next(_NAMES)}")
        self.venue.asked.clear()
        if what == "tick":
            collect_recent(self.desk, self.market, now.date() if now < END else DAYS[-1], context)
        elif what == "collect":
            collect_sessions(self.desk, self.market, sorted(detail), context)
        elif what == "repair":
            repair_sessions(self.desk, self.market, sorted(detail), context)
        elif what == "import":
            self._import([SLOTS[n] for n in sorted(detail) if SLOTS[n] + HOUR <= now], now)
        elif what == "import_newest":
            self._import([slot for slot in SLOTS if slot + HOUR <= now][-detail:], now)
        elif what == "fetch":
            # Any span, as no collection would choose it.
            start = SLOTS[detail[0]]
            fetch(self.desk, self.market, "1h", self.symbols, start, context, end=start + detail[1] * HOUR)
        elif what == "delete":
            self._delete([SLOTS[n] for n in sorted(detail)], now)
        elif what == "withdraw":
            # The second coin's bars stay: each symbol is judged by itself.
            for n in detail:
                self.venue.bars_of.pop((self.symbols[0], SLOTS[n]), None)
        else:
            self.venue.bars_of[self.symbols[0], SLOTS[detail]] = 500.0 + detail
        for symbols, _, start, stop in self.venue.asked:
            self.plain.fetched(self.venue, symbols, start, stop, now, fill=what == "repair")

    def _import(self, slots: list[datetime], now: datetime) -> None:
        if len(slots) < 2 or HOUR not in {b - a for a, b in itertools.pairwise(slots)}:
            return  # too few hours to be told from bars of another interval
        # Other numbers than the venue's: who said something last is seen by them.
        prices = {slot: n + 0.25 for n, slot in enumerate(slots, start=1)}
        rows = [f"{slot:%Y-%m-%d %H:%M:%S},{p},{p},{p},{p},{p}" for slot, p in prices.items()]
        for symbol in self.symbols:
            path = self.folder / f"{symbol}-{next(_NAMES)}_1h.csv"
            # Newest first, the first row twice.
            path.write_text("\n".join(["time,open,high,low,close,volume", *reversed(rows), rows[0]]) + "\n")
            (result,) = import_files(self.desk.db, [path], at=now, symbol=symbol, interval="1h", tz="UTC")
            assert result.outcome == "stored", result.reason
            self.plain.imported({(symbol, slot): price for slot, price in prices.items()}, now)

    def _delete(self, slots: list[datetime], now: datetime) -> None:
        keys = hourly(((symbol, slot), 1.0) for symbol in self.symbols for slot in slots)
        delete_bars(self.desk.db, KRW, "1h", keys, at=now)
        recount(self.desk, self.market, "1h", self.symbols, DAYS, now)
        self.plain.deleted([(symbol, slot) for symbol in self.symbols for slot in slots], now)

    def compare(self, now: datetime) -> None:
        """Bars, kinds of slots and the counts of coverage."""
        stored = read_bars(self.desk.db, KRW, "1h", self.symbols, START, END)
        assert_frame_equal(stored, hourly(self.plain.stored.items()), check_exact=True)
        pairs = [(day, symbol) for day in DAYS for symbol in self.symbols]
        kinds = {}
        for slots in session_slots(self.desk, self.market, "1h", pairs, now):
            kinds[slots.session, slots.symbol] = [run.kind.code for run in slots.runs for _ in range(run.slots)]
        assert kinds == {key: self.plain.kinds(*key, now) for key in pairs}
        rows = read_coverage(self.desk.db, KRW, self.symbols, DAYS[0], DAYS[-1], interval="1h")
        assert {(row.session, row.symbol) for row in rows} == self.plain.looked_at
        for row in rows:
            found = self.plain.kinds(row.session, row.symbol, now)
            assert (row.expected, row.present) == (24, found.count("present"))
            assert row.no_trade <= found.count("no_trade")
            assert (row.status == "complete") <= (not set(found) & {"unknown", "not_fetched", "not_yet"})
            held = [slot for slot in slots_of(row.session) if (row.symbol, slot) in self.plain.stored]
            assert (row.first_ts, row.last_ts) == ((held[0], held[-1]) if held else (None, None))


@_relaxed
@given(
    gaps=st.sets(_hours, max_size=60),
    steps=st.lists(st.tuples(_step, st.integers(0, 12 * 60)), min_size=1, max_size=10),
)
def test_bars_and_coverage_equal_a_plain_account_of_what_happened(
    desk: Desk, tmp_path: Path, gaps: set[int], steps: list[tuple[tuple[str, Any], int]]
) -> None:
    run, now = Run(desk, gaps, tmp_path), START + HOUR
    for (what, detail), minutes in steps:
        now = min(now + timedelta(minutes=minutes), END + 3 * HOUR)
        run.do(what, detail, now)
        run.compare(now)


@settings(_relaxed, max_examples=40)
@given(
    imported=st.sets(_hours, max_size=40),
    steps=st.lists(
        st.tuples(st.just("withdraw"), _some_hours | _neighbours)
        | st.tuples(st.just("restate"), _hours)
        | st.tuples(st.just("fetch"), _span),
        min_size=3,
        max_size=12,
    ),
)
def test_of_what_a_venue_takes_back_exactly_what_is_certain_is_deleted(
    desk: Desk, tmp_path: Path, imported: set[int], steps: list[tuple[str, Any]]
) -> None:
    """Days that are stored, some hours of them from a file; then the venue changes its mind and is asked again."""
    run = Run(desk, imported, tmp_path)
    run.do("collect", set(DAYS), END)
    run.do("import", imported, END)
    for what, detail in [*steps, ("fetch", (0, len(SLOTS)))]:
        run.do(what, detail, END)
        run.compare(END)


@_relaxed
@given(
    gaps=st.sets(_hours, max_size=60), order=st.permutations(DAYS), again=st.lists(st.sampled_from(DAYS), max_size=3)
)
def test_sessions_collected_in_any_order_are_all_explained(
    desk: Desk, tmp_path: Path, gaps: set[int], order: list[date], again: list[date]
) -> None:
    run = Run(desk, gaps, tmp_path)
    for day in [*order, *again]:
        run.do("collect", {day}, END)
    run.compare(END)
    rows = read_coverage(desk.db, KRW, run.symbols, DAYS[0], DAYS[-1], interval="1h")
    assert {row.status for row in rows} == {"complete"}
    assert sum(row.no_trade for row in rows) == 2 * len(gaps)


@_relaxed
@given(st.data())
def test_chunks_in_any_order_with_repetitions_store_the_last_that_was_said(desk: Desk, data: st.DataObject) -> None:
    symbols = [f"KRW-C{next(_NAMES)}", f"KRW-D{next(_NAMES)}"]
    bar = st.tuples(st.sampled_from(symbols), st.sampled_from(SLOTS), st.integers(1, 5))
    chunks = data.draw(st.lists(st.lists(bar, max_size=20, unique_by=lambda b: b[:2]), min_size=1, max_size=6))
    plain: dict[tuple[str, datetime], float] = {}
    for number, chunk in enumerate(chunks):
        values = {(symbol, ts): float(value) for symbol, ts, value in chunk}
        frame = hourly(values.items()).sample(frac=1.0, random_state=number)
        new = len(values.keys() - plain.keys())
        changed = sum(key in plain and plain[key] != value for key, value in values.items())
        at = datetime(2026, 4, 1, tzinfo=UTC) + timedelta(minutes=number)
        done = upsert_bars(desk.db, KRW, "1h", frame, source="s", feed="f", adjustment="raw", at=at)
        assert (done.inserted, done.changed, done.unchanged) == (new, changed, len(values) - new - changed)
        plain |= values
        known = read_bars(desk.db, KRW, "1h", symbols, START, END, as_of=at)
        pd.testing.assert_frame_equal(known, hourly(plain.items()), check_exact=True)
