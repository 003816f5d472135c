"""`quant pause`, `quant resume`, `quant halt`: the trading switch, turned by a person. What it means is the steps'."""

from __future__ import annotations

import getpass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quant_pipeline.cli.desk import load, open_database
from quant_pipeline.cli.options import ConfigOption, JsonOption, market_of
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from quant_pipeline.storage.control import Control

_MarketOrAll = Annotated[str, typer.Argument(metavar="MARKET|all", help="us_equity, krw_crypto, or all for the desk.")]
_Note = Annotated[str, typer.Option("--note", help="Why; kept with the change.")]


def pause_command(
    market: _MarketOrAll, *, note: _Note = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Send no new entries; exits and open orders go on. Counts from the next tick."""
    _turn(market, "paused", note, config, as_json=as_json)


def resume_command(
    market: _MarketOrAll, *, note: _Note = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Trade again after a pause or a halt.

    A switch set for `all` is taken back with `resume all`, one set for a market with `resume MARKET`: a market trades
    when neither holds it back.
    """
    _turn(market, "running", note, config, as_json=as_json)


def halt_command(
    market: _MarketOrAll, *, note: _Note = "", config: ConfigOption = None, as_json: JsonOption = False
) -> None:
    """Send no orders at all, not even exits. Counts from the next tick."""
    _turn(market, "halted", note, config, as_json=as_json)


def _turn(market: str, state: str, note: str, config: Path | None, *, as_json: bool) -> None:
    from quant_pipeline.storage.control import ALL_MARKETS, ControlState, control, set_control_state

    settings = load(config)
    key = ALL_MARKETS if market == "all" else market_of(settings, market).name
    with open_database(settings) as db:
        actor, now = f"cli:{getpass.getuser()}", datetime.now(UTC)
        set_control_state(db, key, ControlState(state), actor=actor, note=note, at=now)
        in_force = {name: control(db, name) for name in _affected(key, [m.name for m in settings.markets])}
    content = {name: _described(found) for name, found in in_force.items()}
    lines = [_sentence(name, found, state) for name, found in in_force.items()]
    show(content, lambda console: console.print("\n".join(lines)), as_json=as_json)


def _affected(key: str, markets: list[str]) -> list[str]:
    return [key] if key in markets else markets


def _described(found: Control | None) -> dict[str, object]:
    if found is None:
        return {"state": "running"}
    scope = "desk" if found.market == "*" else found.market
    return {"state": found.state, "set_for": scope, "actor": found.actor, "note": found.note, "at": found.at}


def _sentence(name: str, found: Control | None, asked: str) -> str:
    state = found.state if found is not None else "running"
    if state == asked or found is None:
        return f"{name} is {state}; this counts from the next tick"
    other = "all" if found.market == "*" else found.market
    return f"{name} stays {state}: that is set for {other} ({found.note or 'no note'}); see `quant resume {other}`"
