"""States of the shadow book."""

from __future__ import annotations

from datetime import date

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.shadow import get_shadow_state, put_shadow_state, shadow_state_hashes
from quant_pipeline_tests.storage.builders import MARKET, SESSION


def test_state_comes_back_byte_for_byte(database: Database) -> None:
    state = bytes(range(256))
    assert put_shadow_state(database, MARKET, SESSION, state, "h1")
    assert get_shadow_state(database, MARKET, SESSION) == state
    assert get_shadow_state(database, MARKET, date(2024, 5, 2)) is None
    assert get_shadow_state(database, "krw_crypto", SESSION) is None


def test_new_state_replaces_and_an_equal_one_changes_nothing(database: Database) -> None:
    put_shadow_state(database, MARKET, SESSION, b"one", "h1")
    assert not put_shadow_state(database, MARKET, SESSION, b"one", "h1")
    assert put_shadow_state(database, MARKET, SESSION, b"two", "h2")
    assert get_shadow_state(database, MARKET, SESSION) == b"two"


def test_hashes_of_a_span_are_listed_by_session(database: Database) -> None:
    days = [date(2024, 5, day) for day in (3, 1, 2)]
    for day in days:
        put_shadow_state(database, MARKET, day, b"", f"h{day.day}")
    assert shadow_state_hashes(database, MARKET, date(2024, 5, 1), date(2024, 5, 2)) == {
        date(2024, 5, 1): "h1",
        date(2024, 5, 2): "h2",
    }
