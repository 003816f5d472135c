"""Which absent bars are withdrawn for certain: only between bars that the answer holds, and never most of them."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.absent import Why, absent_bars, confirmed


def _frame(**minutes: list[int]) -> pd.DataFrame:
    rows = [
        (symbol, pd.Timestamp(n, unit="m", tz="UTC")) for symbol in sorted(minutes) for n in sorted(minutes[symbol])
    ]
    frame = pd.DataFrame(rows, columns=["symbol", "ts"])
    return frame.assign(ts=frame["ts"].astype("datetime64[ns, UTC]"))


def _found(held: dict[str, list[int]], answer: dict[str, list[int]]) -> tuple[list[tuple[str, int]], list[tuple]]:
    frame = _frame(**held)
    found = absent_bars(frame, _frame(**answer))
    gone = frame[found.withdrawn]
    withdrawn = [(symbol, ts.minute) for symbol, ts in zip(gone["symbol"], gone["ts"], strict=True)]
    return withdrawn, [(d.symbol, d.why, d.bars, d.first.minute, d.last.minute) for d in found.doubts]


@pytest.mark.parametrize(
    ("held", "answer", "withdrawn", "doubts"),
    [
        pytest.param([1, 2, 3], [1, 2, 3, 4], [], [], id="all there"),
        pytest.param([1, 2, 3], [1, 3], [2], [], id="one in the middle"),
        pytest.param([1, 2, 3], [0, 4], [], [(Why.MANY, 3, 1, 3)], id="more gone than given"),
        pytest.param([1, 2], [0, 3], [1, 2], [], id="as many gone as given"),
        pytest.param([*range(9)], [0, 4, 5, 6, 7, 8], [1, 2, 3], [], id="three gone"),
        pytest.param([*range(9)], [0, 5, 6, 7, 8], [], [(Why.MANY, 4, 1, 4)], id="four gone, as when a page is lost"),
        pytest.param([1, 2, 3], [], [], [(Why.EMPTY, 3, 1, 3)], id="an empty answer"),
        pytest.param([1, 2, 3, 4], [1, 2], [], [(Why.EDGE, 2, 3, 4)], id="an answer that ends early"),
        pytest.param([1, 2, 3, 4], [3, 4], [], [(Why.EDGE, 2, 1, 2)], id="a history that begins later"),
        pytest.param([1, 2, 3, 4, 5], [2, 4], [3], [(Why.EDGE, 2, 1, 5)], id="the middle and both ends"),
        pytest.param([2], [2], [], [], id="only that one"),
        pytest.param([], [1, 2], [], [], id="nothing was held"),
    ],
)
def test_what_is_withdrawn_and_what_is_in_doubt(
    held: list[int], answer: list[int], withdrawn: list[int], doubts: list[tuple]
) -> None:
    gone, doubted = _found({"A": held}, {"A": answer})
    assert gone == [("A", minute) for minute in withdrawn]
    assert doubted == [("A", *doubt) for doubt in doubts]


def test_each_symbol_is_judged_by_its_own_part_of_the_answer() -> None:
    held = {"A": [1, 2, 3], "B": [1, 2, 3], "C": [1]}
    gone, doubts = _found(held, {"A": [1, 3], "C": [1, 2], "D": [1, 2, 3]})
    assert gone == [("A", 2)]
    assert doubts == [("B", Why.EMPTY, 3, 1, 3)]


@given(st.sets(st.integers(0, 30)), st.sets(st.integers(0, 30)))
def test_what_the_answer_holds_and_what_it_does_not_reach_is_never_withdrawn(held: set[int], answer: set[int]) -> None:
    gone, doubts = _found({"A": sorted(held)}, {"A": sorted(answer)})
    minutes = {minute for _, minute in gone}
    assert not minutes & answer
    assert all(min(answer) < minute < max(answer) for minute in minutes)
    assert len(minutes) <= min(3, len(answer))
    # Nothing absent is passed over: it is withdrawn or in doubt.
    assert len(minutes) + sum(doubt[2] for doubt in doubts) == len(held - answer)


def test_only_what_two_answers_lack_is_withdrawn() -> None:
    held = _frame(A=[1, 2, 3, 4, 5], B=[1, 2, 3])
    first = absent_bars(held, _frame(A=[1, 3, 5], B=[1, 3]))
    found = confirmed(held, first, _frame(A=[1, 2, 3, 5], B=[1, 2, 3]))
    gone = held[found.withdrawn]
    assert [(symbol, ts.minute) for symbol, ts in zip(gone["symbol"], gone["ts"], strict=True)] == [("A", 4)]
    doubts = [(d.symbol, d.why, d.bars, d.first.minute) for d in found.doubts]
    assert doubts == [("A", Why.UNCONFIRMED, 1, 2), ("B", Why.UNCONFIRMED, 1, 2)]
