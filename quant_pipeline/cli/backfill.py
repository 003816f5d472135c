"""`quant backfill`: the session assets of a market over a range, in one run. It never sends an order."""

from __future__ import annotations

from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption, MarketArgument, day_of, market_of
from quant_pipeline.cli.output import show
from quant_pipeline.cli.tick import clock_of

if TYPE_CHECKING:
    from quant_pipeline.settings import MarketSettings, Settings


def backfill_command(
    market: MarketArgument,
    *,
    first: Annotated[str | None, typer.Option("--from", metavar="DATE", help="Default: the first session.")] = None,
    last: Annotated[str | None, typer.Option("--to", metavar="DATE", help="Default: the last closed session.")] = None,
    steps: Annotated[
        str | None, typer.Option(metavar="A,B", help="Only these steps; default: bars to performance.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Materialize past sessions in one run. Results that still hold are kept; orders are shown, never sent."""
    settings = load(config)
    chosen = market_of(settings, market)
    span = (None if first is None else day_of(first, "--from"), None if last is None else day_of(last, "--to"))
    prepare_process(settings)
    names = _steps(steps)
    with open_database(settings):
        sessions = _sessions(settings, chosen, *span)
        content = _run(settings, chosen, sessions, names)
    counts = ", ".join(f"{name} {count}" for name, count in content["materialized"].items())
    text = f"{content['first']} to {content['last']}: {counts} in {content['seconds']} s (run {content['run_id'][:8]})"
    show(content, lambda console: console.print(text), as_json=as_json)


def _steps(text: str | None) -> tuple[str, ...]:
    from quant_pipeline.automation import CHAIN, RECOMPUTED

    if text is None:
        return RECOMPUTED
    names = tuple(name.strip() for name in text.split(",") if name.strip())
    unknown = [name for name in names if name not in CHAIN]
    if unknown or not names:
        msg = f"--steps {text!r} names {unknown[0] if unknown else 'nothing'}; use one or more of {', '.join(CHAIN)}"
        raise BadInputError(msg)
    return names


def _sessions(settings: Settings, market: MarketSettings, first: date | None, last: date | None) -> tuple[date, ...]:
    """The sessions of the range, none of which is still to come."""
    from quant_pipeline.markets import calendar

    name = market.market.calendar
    start = market.history_start if first is None else first
    if start < market.history_start:
        msg = f"--from {start} is before the first session of {market.name}, {market.history_start} (history_start)"
        raise BadInputError(msg)
    closed = calendar.last_closed_session(name, clock_of(settings, market))
    end = closed if last is None else last
    if end > calendar.next_session(name, closed):
        msg = f"--to {end} is in the future: the last session that has closed is {closed}"
        raise BadInputError(msg)
    if start > end:
        msg = f"--from {start} is after --to {end}; exchange them"
        raise BadInputError(msg)
    found = calendar.sessions(name, start, end)
    if not found:
        before, after = calendar.previous_session(name, start), calendar.next_session(name, end)
        msg = f"{market.name} is closed from {start} to {end}; the nearest sessions are {before} and {after}"
        raise BadInputError(msg)
    return found


def _run(
    settings: Settings, market: MarketSettings, sessions: tuple[date, ...], steps: tuple[str, ...]
) -> dict[str, Any]:
    from quant_pipeline.assets.spec import asset_key
    from quant_pipeline.automation import RECOMPUTED
    from quant_pipeline.cli.runs import open_graph
    from quant_pipeline.runs import job_name, range_request

    kind = "restate" if set(steps) <= set(RECOMPUTED) else "smart_trading_pipeline"
    job = job_name(market, kind)
    keys = [asset_key(market.name, step) for step in steps]
    with open_graph(settings) as graph:
        tags = range_request(sessions[0], sessions[-1]).tags
        done = graph.execute(job, tags=tags, assets=keys)
    return {"first": sessions[0], "last": sessions[-1], "sessions": len(sessions), **done.as_json()}
