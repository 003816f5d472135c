"""`quant catch-up`: everything that a desk lacks up to the last session that closed. What that is belongs to `demo.history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.options import ConfigOption, JsonOption, market_of
from quant_pipeline.cli.output import progress, show
from quant_pipeline.cli.tick import clock_of

if TYPE_CHECKING:
    from datetime import datetime

    from quant_pipeline.cli.runs import Graph
    from quant_pipeline.settings import MarketSettings, Settings
    from quant_pipeline.storage.database import Database


def catch_up_command(
    markets: Annotated[list[str] | None, typer.Argument(metavar="[MARKET]...", help="Default: all enabled.")] = None,
    *,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make the history of a desk up to the last closed session: bars, models, decisions, shadow book. Sends nothing."""
    settings = load(config)
    chosen = settings.markets if not markets else tuple(market_of(settings, name) for name in markets)
    prepare_process(settings)
    with open_database(settings):
        content = [_catch_up(settings, market) for market in chosen]
    text = "\n".join(
        f"{done['market']} is complete up to {done['last']:%Y-%m-%d} ({done['seconds']} s)" for done in content
    )
    show(content, lambda console: console.print(text), as_json=as_json)


def lacks_history(db: Database, market: MarketSettings, at: datetime) -> bool:
    """Whether the last session that closed before `at` was not decided to its end."""
    from quant_pipeline.core.values import Book
    from quant_pipeline.markets import calendar
    from quant_pipeline.storage.decisions import latest_decisions

    name = market.market.calendar
    session = calendar.last_closed_session(name, at)
    rows = latest_decisions(db, market.name, Book.SHADOW, session, session)
    return not rows or max(row.bar_close for row in rows) < calendar.session_hours(name, session).closes_at


def _catch_up(settings: Settings, market: MarketSettings) -> dict[str, Any]:
    import time

    from quant_pipeline.cli.runs import open_graph
    from quant_pipeline.demo.history import RunFailedError, catch_up
    from quant_pipeline.markets import calendar

    began = time.monotonic()
    last = calendar.last_closed_session(market.market.calendar, clock_of(settings, market))
    with progress(market.name, total=1.0) as shown, open_graph(settings) as graph:
        try:
            catch_up(settings, graph.defs, graph.instance, market, progress=shown)
        except RunFailedError:
            _explain(graph)
            raise
    return {"market": market.name, "last": last, "seconds": round(time.monotonic() - began, 1)}


def _explain(graph: Graph) -> None:
    """Say why the run failed that failed last: its text names the steps, not their errors."""
    from dagster import DagsterRunStatus, RunsFilter

    for run in graph.instance.get_runs(RunsFilter(statuses=[DagsterRunStatus.FAILURE]), limit=1):
        graph.fail(run.run_id)
