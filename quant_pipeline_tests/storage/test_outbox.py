"""The outbox: told once, never lost, one sender at a time."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from quant_pipeline.storage.database import Database
from quant_pipeline.storage.outbox import claim, enqueue, mark_failed, mark_sent, waiting
from quant_pipeline_tests.storage.builders import AT, MARKET, later


def _enqueue(db: Database, key: str, minutes: float = 0, **payload: Any) -> bool:
    with db.begin() as connection:
        return enqueue(connection, key, "fill", payload, market=MARKET, at=later(minutes))


def test_message_is_kept_until_it_was_sent(database: Database) -> None:
    assert _enqueue(database, "fill/1", symbol="AAPL", qty="10")
    (message,) = claim(database, AT)
    assert (message.key, message.kind, message.market, message.payload, message.attempts) == (
        "fill/1",
        "fill",
        MARKET,
        {"symbol": "AAPL", "qty": "10"},
        1,
    )
    assert waiting(database) == 1
    mark_sent(database, message.id, later(1))
    assert waiting(database) == 0
    assert claim(database, later(1000)) == ()


def test_same_key_is_told_once_even_after_sending(database: Database) -> None:
    _enqueue(database, "halt/1")
    (message,) = claim(database, AT)
    assert not _enqueue(database, "halt/1")
    mark_sent(database, message.id, later(1))
    assert not _enqueue(database, "halt/1")
    assert waiting(database) == 0


def test_message_exists_only_if_what_it_tells_happened(database: Database) -> None:
    def enqueue_and_fail() -> None:
        with database.begin() as connection:
            enqueue(connection, "fill/1", "fill", {}, market=MARKET, at=AT)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        enqueue_and_fail()
    assert waiting(database) == 0


def test_sender_that_died_gives_its_messages_back_when_the_lease_ends(database: Database) -> None:
    _enqueue(database, "fill/1")
    assert len(claim(database, AT, lease=timedelta(minutes=2))) == 1
    assert claim(database, later(1.9)) == ()
    (again,) = claim(database, later(2))
    assert again.attempts == 2


def test_failed_message_waits_for_its_next_try_with_the_reason(database: Database) -> None:
    _enqueue(database, "fill/1")
    (message,) = claim(database, AT)
    mark_failed(database, message.id, "429", retry_at=later(30))
    assert claim(database, later(29)) == ()
    (again,) = claim(database, later(30))
    assert again.last_error == "429"


def test_messages_leave_oldest_first_and_not_before_they_are_due(database: Database) -> None:
    for number in (2, 0, 1, 9):
        _enqueue(database, f"fill/{number}", number)
    first = claim(database, later(2), limit=2)
    assert {message.key for message in first} == {"fill/0", "fill/1"}
    assert [message.key for message in claim(database, later(2), limit=2)] == ["fill/2"]


def test_senders_at_the_same_time_never_take_the_same_message(database: Database) -> None:
    for number in range(60):
        _enqueue(database, f"fill/{number}")
    with ThreadPoolExecutor(4) as pool:
        taken = [message.id for part in pool.map(lambda _: claim(database, AT, limit=10), range(8)) for message in part]
    assert len(taken) == len(set(taken)) == 60
