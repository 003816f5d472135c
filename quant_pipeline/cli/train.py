"""`quant train`: the models of a market that serve one month. How they are trained belongs to the steps."""

from __future__ import annotations

from typing import Annotated

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption, MarketArgument, market_of, month_of
from quant_pipeline.cli.output import show
from quant_pipeline.cli.tick import clock_of


def train_command(
    market: MarketArgument,
    *,
    month: Annotated[str | None, typer.Option(metavar="YYYY-MM", help="Month served; default: this one.")] = None,
    tune: Annotated[bool, typer.Option("--tune", help="Search hyper-parameters first.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train, judge and promote the models that serve a month; they see nothing of that month."""
    settings = load(config)
    chosen = market_of(settings, market)
    asked = None if month is None else month_of(month, "--month")
    prepare_process(settings)
    from quant_pipeline.cli.runs import open_graph
    from quant_pipeline.runs import job_name

    with open_database(settings):
        newest = clock_of(settings, chosen).date().replace(day=1)
        served = newest if asked is None else asked
        if not chosen.history_start.replace(day=1) <= served <= newest:
            msg = (
                f"--month {served:%Y-%m} is not between {chosen.history_start:%Y-%m} (history_start) and {newest:%Y-%m}"
            )
            raise BadInputError(msg)
        job = job_name(chosen, "optimize_hyperparameters" if tune else "weekly_retraining")
        with open_graph(settings) as graph:
            done = graph.execute(job, partition_key=served.isoformat())
    content = {"market": chosen.name, "month": f"{served:%Y-%m}", **done.as_json()}
    text = f"{job} for {served:%B %Y} is done in {done.seconds:.0f} s (run {done.run_id[:8]})"
    show(content, lambda console: console.print(text), as_json=as_json)
