from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from quant_pipeline.core.trading.risk import AlertLevel, AlertLimits, risk_snapshot
from quant_pipeline_tests.core.trading.building import HOUR_NS, NOW_NS, PLAIN, book


def test_a_snapshot_counts_holdings_and_entries_under_way() -> None:
    held = book(3, lots=[100, 0, 0], pending_buy_notional=[0.0, 5_000.0, 0.0], cash=90_000.0, trades_today=3)
    seen = risk_snapshot(held, PLAIN)
    assert (seen.equity, seen.exposure, seen.exposure_fraction) == (100_000.0, 15_000.0, 0.15)
    assert (seen.free_cash, seen.positions, seen.trades_today) == (85_000.0, 2, 3)
    assert seen.daily_return == 0.0
    assert seen.alerts == ()


@pytest.mark.parametrize(
    ("fields", "name", "level"),
    [
        ({"lots": [701], "cash": 29_900.0}, "exposure", AlertLevel.WARNING),
        ({"trades_today": 41}, "daily_trades", AlertLevel.WARNING),
        ({"equity": 98_900.0, "day_start_equity": 100_000.0}, "daily_return", AlertLevel.WARNING),
        ({"halted_until_ns": NOW_NS + HOUR_NS}, "halted", AlertLevel.CRITICAL),
    ],
)
def test_each_level_raises_its_own_alert(fields: dict[str, Any], name: str, level: AlertLevel) -> None:
    alerts = risk_snapshot(book(1, **fields), PLAIN).alerts
    assert [(alert.name, alert.level) for alert in alerts] == [(name, level)]


@pytest.mark.parametrize(
    "fields",
    [
        {"lots": [700], "cash": 30_000.0},
        {"trades_today": 40},
        {"equity": 99_000.0, "day_start_equity": 100_000.0},
        {"halted_until_ns": NOW_NS},
        {"equity": 90_000.0, "day_start_equity": 100_000.0, "day_flows": -10_000.0},
    ],
)
def test_at_a_level_there_is_no_alert_yet(fields: dict[str, Any]) -> None:
    assert risk_snapshot(book(1, **fields), PLAIN).alerts == ()


def test_levels_can_be_chosen() -> None:
    held = book(1, lots=[100], cash=90_000.0)
    assert len(risk_snapshot(held, PLAIN, AlertLimits(exposure=0.05)).alerts) == 1


def test_reading_the_risk_changes_nothing() -> None:
    held = book(2, lots=[800, 0], equity=90_000.0, day_start_equity=100_000.0)
    first = risk_snapshot(held, PLAIN)
    assert risk_snapshot(held, PLAIN) == first
    assert first.halted_until_ns == 0  # a loss is reported; only a decision starts a halt
    assert first.daily_return == pytest.approx(-0.1)


def test_an_empty_account_has_no_fractions() -> None:
    seen = risk_snapshot(replace(book(1, equity=0.0), day_start_equity=0.0), PLAIN)
    assert (seen.exposure_fraction, seen.daily_return, seen.alerts) == (0.0, 0.0, ())
