"""Telling absent bars apart: from when on what is known."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.slots import DAY_NS, SlotKind, SlotRun, Slots, count_by_day, slot_kinds, slot_runs

GRID = Slots(np.arange(0, 60, 10, dtype=np.int64), np.arange(10, 70, 10, dtype=np.int64))
P, N, U, F, Y = (int(kind) for kind in SlotKind)


def _kinds(present: list[int], fetched_to: int | None, now: int, *, imported: bool = False) -> list[int]:
    held = np.array(present, dtype=np.int64)
    return slot_kinds(GRID, held, fetched_to=fetched_to, now=now, imported=imported).tolist()


def test_what_lies_before_the_end_of_the_fetch_had_no_trade_and_what_lies_after_is_not_fetched() -> None:
    assert _kinds([0, 20], 40, 60) == [P, N, P, N, F, F]


def test_a_slot_that_was_still_forming_when_it_was_fetched_is_not_fetched() -> None:
    assert _kinds([], 39, 60) == [N, N, N, F, F, F]


def test_a_slot_that_is_not_over_is_no_hole() -> None:
    assert _kinds([0], 15, 25) == [P, F, Y, Y, Y, Y]


def test_what_a_file_does_not_hold_is_unknown() -> None:
    assert _kinds([20, 30], None, 60, imported=True) == [U, U, P, P, U, U]


def test_bars_off_the_grid_explain_nothing() -> None:
    assert _kinds([5, 25], None, 60) == [F] * 6


def test_neighbours_of_one_kind_are_one_run() -> None:
    kinds = slot_kinds(GRID, np.array([10, 20], np.int64), fetched_to=40, now=60, imported=False)
    assert slot_runs(GRID, kinds) == (
        SlotRun(SlotKind.NO_TRADE, 0, 10, 1),
        SlotRun(SlotKind.PRESENT, 10, 30, 2),
        SlotRun(SlotKind.NO_TRADE, 30, 40, 1),
        SlotRun(SlotKind.NOT_FETCHED, 40, 60, 2),
    )
    assert slot_runs(Slots(GRID.starts[:0], GRID.ends[:0]), kinds[:0]) == ()
    assert [kind.is_hole for kind in SlotKind] == [False, False, True, True, False]


@given(st.lists(st.sampled_from(list(SlotKind)), max_size=30))
def test_runs_put_together_are_the_slots(kinds: list[SlotKind]) -> None:
    grid = Slots(np.arange(len(kinds), dtype=np.int64) * 10, np.arange(len(kinds), dtype=np.int64) * 10 + 10)
    runs = slot_runs(grid, np.array([int(kind) for kind in kinds], np.int8))
    assert [run.kind for run in runs for _ in range(run.slots)] == kinds
    assert all(a.end == b.start and a.kind != b.kind for a, b in pairwise(runs))


def test_times_are_counted_by_their_utc_day() -> None:
    times = np.array([0, DAY_NS - 1, DAY_NS, 3 * DAY_NS], dtype=np.int64)
    assert count_by_day(times, np.array([0, 1, 2, 3], dtype=np.int64)) == [2, 1, 0, 1]
