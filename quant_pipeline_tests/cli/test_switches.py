"""Which schedules `quant up` switches on: real accounts only when a person asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from quant_pipeline.build import build_definitions
from quant_pipeline.cli.dagster_api import Instigator
from quant_pipeline.cli.switches import choose, wanted
from quant_pipeline.core.values import Mode
from quant_pipeline.settings import Settings, load_settings

KEYS = {"ALPACA_API_KEY": "k", "ALPACA_API_SECRET": "s", "ALPACA_PAPER": "false"}


def settings_with(**us_equity: Any) -> Settings:
    return load_settings(environ=KEYS, changes={"markets": {"us_equity": us_equity}})


@pytest.mark.parametrize(
    ("given", "trade", "on"),
    [
        ({"mode": "simulated"}, None, True),
        ({"mode": "simulated"}, False, False),
        ({"mode": "paper"}, None, False),
        ({"mode": "paper"}, True, True),
        ({"mode": "live", "live_account": "PA1"}, None, False),
        ({"mode": "live", "live_account": "PA1"}, True, True),
        ({"mode": "live", "live_account": "PA1"}, False, False),
    ],
)
def test_a_market_trades_by_itself_only_against_the_simulated_exchange(
    *, given: dict[str, Any], trade: bool | None, on: bool
) -> None:
    switch = choose(settings_with(**given).us_equity, trade=trade)
    assert (switch.market, switch.mode, switch.on) == ("us_equity", Mode(given["mode"]), on)
    assert ("--trade" in switch.why) or ("--no-trade" in switch.why)


def test_each_schedule_of_the_definitions_belongs_to_its_market_and_all_sensors_are_on() -> None:
    settings = settings_with(mode="paper")
    repository = build_definitions(settings).get_repository_def()
    found = tuple(
        [Instigator("schedule", schedule.name, "id", is_on=True) for schedule in repository.schedule_defs]
        + [Instigator("sensor", sensor.name, "id", is_on=False) for sensor in repository.sensor_defs]
    )
    decided = wanted(found, [choose(market, trade=None) for market in settings.markets])
    assert len(decided) == len(found)
    for one, on in decided:
        assert on == (one.kind == "sensor" or one.name.endswith("_krw_crypto_schedule")), one.name
    names = {one.name for one, on in decided if on and one.kind == "schedule"}
    assert "smart_trading_pipeline_krw_crypto_schedule" in names
    assert any(one.name == "smart_trading_pipeline_us_equity_schedule" and not on for one, on in decided)
