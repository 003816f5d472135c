"""`quant tick`: one run of a market's live chain from a prompt, under the guard of the schedule."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError, CommandError
from quant_pipeline.cli.options import ConfigOption, JsonOption, MarketArgument, market_of, moment_of
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from quant_pipeline.settings import MarketSettings, Settings
    from quant_pipeline.storage.database import Database

_LOCK = "quant.tick."


def tick_command(
    market: MarketArgument,
    *,
    at: Annotated[
        str | None, typer.Option(metavar="ISO", help="As if it were this time; default: the market's clock.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the live chain once for the session in progress. Skips, saying why, when the schedule would."""
    settings = load(config)
    chosen = market_of(settings, market)
    moment = None if at is None else moment_of(at, "--at")
    prepare_process(settings)
    with open_database(settings) as db:
        content = tick(settings, chosen, db, moment)
    text = f"skipped: {content['reason']}" if not content["launched"] else _sentence(content)
    show(content, lambda console: console.print(text), as_json=as_json)


def tick(settings: Settings, market: MarketSettings, db: Database, at: datetime | None) -> dict[str, Any]:
    """One tick at `at` (None: the market's own clock), or the reason why there is none.

    Raises:
        CommandError: the run failed, or the market's clock cannot be read.
        BadInputError: `at` lies before the market's first session.
    """
    import dagster as dg

    from quant_pipeline.automation import tick_request
    from quant_pipeline.runs import job_name

    request = tick_request(market, at if at is not None else clock_of(settings, market))
    if isinstance(request, dg.SkipReason):
        return {"launched": False, "reason": request.skip_message}
    if str(request.partition_key) < market.history_start.isoformat():
        msg = (
            f"--at belongs to session {request.partition_key}, but {market.name} begins on {market.history_start}; "
            f"choose a later time, or an earlier markets.{market.name}.history_start"
        )
        raise BadInputError(msg)
    return _launch(settings, market, db, job_name(market, "smart_trading_pipeline"), request)


def clock_of(settings: Settings, market: MarketSettings) -> datetime:
    """The market's present time.

    Raises:
        CommandError: the simulated exchange does not answer.
    """
    from quant_pipeline.steps.connect import market_clock

    try:
        return market_clock(settings, market)
    except ConnectionError as error:
        raise CommandError(str(error)) from error


def _launch(
    settings: Settings,
    market: MarketSettings,
    db: Database,
    job: str,
    request: Any,  # noqa: ANN401 - dagster's
) -> dict[str, Any]:
    from quant_pipeline.cli.runs import open_graph

    with db.advisory_lock(_LOCK + job, wait=False) as is_ours:
        if not is_ours:
            return {"launched": False, "reason": f"another `quant tick` of {job} is in progress"}
        with open_graph(settings) as graph:
            busy = graph.unfinished(job)
            if busy is not None:
                return {"launched": False, "reason": f"run {busy} of {job} is still in progress"}
            clock_of(settings, market)  # a sentence now instead of a failed run: without its venue nothing can be done
            done = graph.execute(
                job, partition_key=request.partition_key, tags=request.tags, run_config=request.run_config
            )
    return {"launched": True, "session": request.partition_key, **done.as_json()}


def _sentence(content: dict[str, Any]) -> str:
    return f"{content['job']} of {content['session']} is done in {content['seconds']} s (run {content['run_id'][:8]})"
