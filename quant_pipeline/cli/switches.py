"""Which schedules and sensors `quant up` switches on. Markets with real accounts trade only when a person says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from quant_pipeline.cli.dagster_api import DagsterApi, Instigator
from quant_pipeline.cli.services import LOCATION
from quant_pipeline.core.values import Mode

if TYPE_CHECKING:
    from quant_pipeline.settings import MarketSettings, Settings


@dataclass(frozen=True, slots=True)
class Switch:
    """Whether the schedules of a market are on, and why."""

    market: str
    mode: Mode
    on: bool
    tick_minutes: int
    why: str


def set_switches(settings: Settings, url: str, *, trade: bool | None) -> list[Switch]:
    """Switch schedules of each market on or off, and all sensors on; they only recompute and notify.

    A schedule that was left on before its market became paper or live is switched off again, unless `trade` is true.
    """
    api = DagsterApi(url, LOCATION)
    switches = [choose(market, trade=trade) for market in settings.markets]
    api.switch(wanted(api.instigators(), switches))
    return switches


def choose(market: MarketSettings, *, trade: bool | None) -> Switch:
    """Whether a market's schedules shall be on: as `trade` says; if it says nothing, only against the simulated one."""
    on = market.mode is Mode.SIMULATED if trade is None else trade
    if trade is not None:
        why = "you asked for it with --trade" if trade else "you asked for it with --no-trade"
    elif on:
        why = "the simulated exchange holds the account (--no-trade leaves the schedules off)"
    else:
        why = f"mode is {market.mode}, so its schedules stay off; start with --trade to switch them on"
    return Switch(market.name, market.mode, on, market.tick_minutes, why)


def wanted(found: tuple[Instigator, ...], switches: list[Switch]) -> list[tuple[Instigator, bool]]:
    """What each schedule and sensor shall be; schedules of no known market are left alone."""
    pairs: list[tuple[Instigator, bool]] = []
    for one in found:
        market = next((s for s in switches if one.name.removesuffix("_schedule").endswith(f"_{s.market}")), None)
        if one.kind == "sensor":
            pairs.append((one, True))
        elif market is not None:
            pairs.append((one, market.on))
    return pairs
