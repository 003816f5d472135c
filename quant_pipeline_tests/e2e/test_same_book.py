"""Day by day and in one range: the same bytes at every step, the same decisions, the same shadow book."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from quant_pipeline.core.values import Book
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.shadow import shadow_state_hashes
from quant_pipeline.storage.versions import current_versions
from quant_pipeline_tests.e2e.desks import OpenDesk, Place, opened
from quant_pipeline_tests.e2e.worlds import NAMES, TRAINED, live_sessions, past_sessions


@pytest.fixture
def ranged(fresh: Place) -> Iterator[OpenDesk]:
    """The desk on which every session was made in one range."""
    with opened(fresh) as desk:
        yield desk


@pytest.mark.parametrize("step", ["bars", "indicators", "signals", "features", "predictions", "decisions"])
@pytest.mark.parametrize("name", NAMES)
def test_ticks_and_a_range_store_the_same_bytes(read: OpenDesk, ranged: OpenDesk, name: str, step: str) -> None:
    sessions = (*past_sessions(name), *live_sessions(name))

    by_day, by_range = (
        {key: version.content_hash for key, version in current_versions(one.desk.db, name, step, sessions).items()}
        for one in (read, ranged)
    )

    assert len(by_day) == len(sessions) * len(read.settings.market(name).symbols)
    assert by_day == by_range


@pytest.mark.parametrize("name", NAMES)
def test_models_of_two_desks_are_the_same(read: OpenDesk, ranged: OpenDesk, name: str) -> None:
    found = [current_versions(one.desk.db, name, "model", TRAINED[name]) for one in (read, ranged)]

    hashes = [{key: version.content_hash for key, version in versions.items()} for versions in found]
    assert hashes[0] == hashes[1]
    assert len(set(hashes[0].values())) == len(TRAINED[name]) * len(read.settings.market(name).symbols)


@pytest.mark.parametrize("name", NAMES)
def test_the_shadow_book_is_the_same_after_every_session(read: OpenDesk, ranged: OpenDesk, name: str) -> None:
    span = past_sessions(name)[0], live_sessions(name)[-1]

    by_day, by_range = (shadow_state_hashes(one.desk.db, name, *span) for one in (read, ranged))

    assert list(by_day) == [*past_sessions(name), *live_sessions(name)]
    assert by_day == by_range
    assert len(set(by_day.values())) > 2, "the book never changed, so this shows nothing"


@pytest.mark.parametrize("name", NAMES)
def test_the_shadow_decisions_have_the_same_ids(read: OpenDesk, ranged: OpenDesk, name: str) -> None:
    span = past_sessions(name)[0], live_sessions(name)[-1]

    by_day, by_range = (latest_decisions(one.desk.db, name, Book.SHADOW, *span) for one in (read, ranged))

    assert [decision.id for decision in by_day] == [decision.id for decision in by_range]
    # A tick that decides the bars of its session again adds no version of those that it decided before.
    assert {decision.version for decision in by_day} == {1}
    market = read.settings.market(name)
    assert len(by_day) == (len(past_sessions(name)) + len(live_sessions(name))) * market.bars_per_day * len(
        market.symbols
    )
