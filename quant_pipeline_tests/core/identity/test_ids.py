"""Ids of decisions and orders."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quant_pipeline.core.identity import client_order_id, decision_id, decision_of_order

BAR = datetime(2024, 3, 1, 5, 0, tzinfo=UTC)
BASE: dict[str, object] = {
    "market": "us_equity", "book": "paper", "symbol": "AAPL", "bar_ts": BAR,
    "inputs_hash": "ab12", "origin": "live", "version": 1,
}  # fmt: skip
LEGS = ("entry", "exit", "stop_loss", "take_profit", "rebalance_out", "rebalance_in")


def made(**changes: object) -> str:
    return decision_id(**(BASE | changes))  # type: ignore[arg-type]


def test_equal_inputs_give_the_equal_id_and_any_other_input_another() -> None:
    others = {"market": "krw_crypto", "book": "live", "symbol": "MSFT", "bar_ts": BAR + timedelta(microseconds=1)}
    others |= {"inputs_hash": "ab13", "origin": "backfill", "version": 2}
    ids = {made(), *(made(**{name: value}) for name, value in others.items())}
    assert made() == made(bar_ts=BAR.astimezone(timezone(timedelta(hours=9))))
    assert len(ids) == 8
    assert all(re.fullmatch("[0-9a-f]{32}", item) for item in ids)


def test_decision_id_is_fixed_for_ever() -> None:
    """Guards open orders over an upgrade: another id for the same decision could mean a second order."""
    assert made() == "4d712cdb0ae17e294384d5437a433763"


def test_bar_time_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="of AAPL has no time zone"):
        made(bar_ts=datetime(2024, 3, 1))  # noqa: DTZ001


@given(symbol=st.text(max_size=20), leg=st.sampled_from(LEGS), attempt=st.integers(1, 9999))
def test_order_ids_fit_both_venues_and_lead_back_to_the_decision(symbol: str, leg: str, attempt: int) -> None:
    decision = made(symbol=symbol)
    found = client_order_id(decision, leg, attempt)
    assert re.fullmatch("[A-Za-z0-9-]{1,40}", found)
    assert decision_of_order(found) == decision


def test_legs_and_attempts_never_share_an_order_id() -> None:
    ids = {client_order_id(made(), leg, attempt) for leg in LEGS for attempt in (1, 2, 11, 111)}
    assert len(ids) == len(LEGS) * 4


@pytest.mark.parametrize(
    ("decision", "leg", "attempt", "message"),
    [
        ("d" * 32, "hedge", 1, "unknown order leg 'hedge'; use one of entry, exit"),
        ("d" * 32, "entry", 0, "attempt 0 of order .* is not between 1 and 9999"),
        ("d" * 32, "entry", 10000, "attempt 10000"),
        ("d" * 31, "entry", 1, "is not a decision id"),
        ("D" * 32, "entry", 1, "is not a decision id"),
    ],
)
def test_order_ids_of_nonsense_are_refused(decision: str, leg: str, attempt: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        client_order_id(decision, leg, attempt)


@pytest.mark.parametrize("foreign", ["", "abc", "d" * 32, "d" * 32 + "-en-0", "d" * 32 + "-en-1\n", "x" * 32 + "-en-1"])
def test_foreign_order_ids_are_not_ours(foreign: str) -> None:
    assert decision_of_order(foreign) is None
