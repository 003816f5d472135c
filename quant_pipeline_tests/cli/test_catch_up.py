"""When a desk lacks history, and from which session on it is made."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest

from quant_pipeline.cli.catch_up import lacks_history
from quant_pipeline.demo.history import first_session
from quant_pipeline.settings import load_settings
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import append_decisions
from quant_pipeline.storage.shadow import put_shadow_state
from quant_pipeline_tests.storage.builders import decision

NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
YESTERDAY = date(2026, 3, 3)
MIDNIGHT = datetime(2026, 3, 4, tzinfo=UTC)


@pytest.mark.parametrize(
    ("book", "session", "bar_close", "lacking"),
    [
        ("shadow", YESTERDAY, MIDNIGHT, False),
        ("shadow", YESTERDAY, MIDNIGHT - timedelta(hours=9), True),  # stopped in the middle of the day
        ("shadow", YESTERDAY - timedelta(days=1), MIDNIGHT - timedelta(days=1), True),
        ("paper", YESTERDAY, MIDNIGHT, True),
    ],
)
def test_history_is_there_when_the_shadow_book_decided_the_last_closed_session_to_its_end(
    database: Database, *, book: str, session: date, bar_close: datetime, lacking: bool
) -> None:
    market = load_settings(environ={}).krw_crypto
    assert lacks_history(database, market, NOON)
    row = decision(market=market.name, book=book, symbol="KRW-BTC", session=session, bar_close=bar_close)
    append_decisions(database, [row])
    assert lacks_history(database, market, NOON) is lacking


def test_a_daily_market_needs_the_session_that_closed_last(database: Database) -> None:
    market = load_settings(environ={}).us_equity
    closes = datetime(2026, 3, 3, 21, tzinfo=UTC)
    append_decisions(database, [decision(market=market.name, book="shadow", session=YESTERDAY, bar_close=closes)])
    assert not lacks_history(database, market, closes)
    assert not lacks_history(database, market, closes + timedelta(hours=23))
    assert lacks_history(database, market, closes + timedelta(hours=24))


def test_a_new_desk_makes_its_recent_past_and_never_what_is_before_its_first_partition(database: Database) -> None:
    market = load_settings(environ={}).krw_crypto
    recent = market.model_copy(update={"catch_up_sessions": 30})
    assert first_session(database, recent, YESTERDAY) == YESTERDAY - timedelta(days=29)
    short = market.model_copy(update={"history_start": date(2026, 2, 20)})
    assert first_session(database, short, YESTERDAY) == date(2026, 2, 20)


@pytest.mark.parametrize(
    ("decided", "first"),
    [
        (date(2026, 2, 1), date(2026, 2, 2)),  # off for longer than is caught up: no hole is left
        (date(2026, 2, 21), date(2026, 2, 22)),
        (date(2026, 2, 25), date(2026, 2, 22)),  # within the span: what still holds is kept
    ],
)
def test_a_desk_that_was_off_goes_on_where_it_stopped(database: Database, decided: date, first: date) -> None:
    market = load_settings(environ={}).krw_crypto.model_copy(update={"catch_up_sessions": 10})
    put_shadow_state(database, market.name, decided, b"state", "hash")
    assert first_session(database, market, YESTERDAY) == first
