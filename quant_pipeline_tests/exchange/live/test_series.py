"""What is known of a series of bars: every answer is whole, or there is none."""

from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.exchange.live.memory import PRESENT, SETTLING, Memory
from quant_pipeline.exchange.live.series import KEPT, Row, Series
from quant_pipeline.markets.market import KRW_CRYPTO

NEVER = 10**9
KEY = ("KRW-BTC", 60, "")


def row(stamp: int, version: int = 0) -> Row:
    return Row({"t": stamp, "version": version}, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@given(
    st.sets(st.integers(0, 60)),
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 60)), max_size=12),
    st.integers(0, 60),
    st.integers(1, 60),
)
def test_an_answer_about_the_past_is_whole_or_there_is_none(
    traded: set[int], told: list[tuple[int, int]], start: int, length: int
) -> None:
    """The reference: a set of seconds that were told of. All of it lies long before now."""
    memory, now, known = Memory(KRW_CRYPTO, ()), moment(10_000), set()
    for begin, span in told:
        bars = [(second, row(second)) for second in sorted(traded) if begin <= second < begin + span]
        memory.learn_bars(KEY, bars, begin, begin + span, now)
        known |= set(range(begin, begin + span))
    wanted = range(start, start + length)
    found = memory.answer_from(memory.bars(*KEY), start, start + length, now)
    if set(wanted) <= known:
        assert found is not None
        assert [one.said["t"] for one in found] == sorted(traded & set(wanted))
    else:
        assert found is None


def test_a_question_about_now_is_answered_with_what_is_known_and_one_about_the_past_is_not() -> None:
    memory, told_at = Memory(KRW_CRYPTO, ()), 10_000
    memory.learn_bars(KEY, [(9_960, row(9_960))], 9_000, told_at, moment(told_at))
    later = told_at + 600
    series = memory.bars(*KEY)
    assert memory.answer_from(series, 9_500, later, moment(later)) == [row(9_960)]
    assert memory.answer_from(series, 9_500, later - PRESENT - 1, moment(later)) is None
    assert memory.answer_from(series, 8_999, later, moment(later)) is None


def test_what_was_told_while_it_formed_is_not_complete() -> None:
    memory, now = Memory(KRW_CRYPTO, ()), 10_000
    memory.learn_bars(KEY, [(9_960, row(9_960))], 9_000, now, moment(now))
    series = memory.bars(*KEY)
    assert series.complete_from(9_000) == now - SETTLING
    assert len(series.rows(9_000, now)) == 1


def test_a_bar_that_the_venue_takes_back_or_corrects_follows_the_last_answer() -> None:
    series = Series()
    for version, stamps in enumerate(((60, 120, 180), (60, 180))):
        rows = {stamp: row(stamp, version) for stamp in stamps}
        series.learn(0, 240, rows, complete_until=240, keep_from=NEVER)
    assert [(one.said["t"], one.said["version"]) for one in series.rows(0, 240)] == [(60, 1), (180, 1)]


def test_an_answer_that_was_overtaken_changes_nothing() -> None:
    memory = Memory(KRW_CRYPTO, ())
    memory.learn_bars(KEY, [(60, row(60, 2))], 0, 240, moment(500))
    memory.learn_bars(KEY, [(60, row(60, 1)), (120, row(120, 1))], 0, 240, moment(499))
    assert memory.bars(*KEY).rows(0, 240) == [row(60, 2)]


def test_old_bars_are_forgotten_together_with_the_claim_to_know_them_but_not_those_an_order_waits_for() -> None:
    end = (KEPT + 500) * 60
    stamps = {stamp: row(stamp) for stamp in range(0, end, 60)}
    series, waited = Series(), Series()
    series.learn(0, end, stamps, complete_until=end, keep_from=NEVER)
    assert (series.complete_from(500 * 60 - 1), series.complete_from(500 * 60)) == (None, end)
    assert len(series.rows(0, end)) == KEPT
    waited.learn(0, end, stamps, complete_until=end, keep_from=100 * 60)
    assert waited.complete_from(100 * 60) == end
    assert len(waited.rows(0, end)) == KEPT + 400
