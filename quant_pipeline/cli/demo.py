"""`quant demo`: the whole graph of both markets from nothing. What happens belongs to `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from quant_pipeline.cli.desk import ended_by_signals, load, prepare_process
from quant_pipeline.cli.errors import BadInputError, CommandError
from quant_pipeline.cli.options import ConfigOption, JsonOption
from quant_pipeline.cli.output import notes, results, write_json


def demo_command(
    *,
    data: Annotated[
        Path | None, typer.Option(metavar="PATH", help="Folder of real price files; default: generated.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Seed of generated bars.")] = 7,
    sessions: Annotated[int | None, typer.Option(min=1, help="Live sessions in each market.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads that training uses.")] = 1,
    keep: Annotated[bool, typer.Option("--keep", help="Leave the demo's databases and files for looking at.")] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run everything once on a simulated exchange: bars to filled orders. Needs no keys and no network."""
    settings = load(config)
    if data is not None and not data.is_dir():
        msg = f"--data {str(data)!r} is not a folder; name one with price files, or leave --data out"
        raise BadInputError(msg)
    prepare_process(settings)
    from quant_pipeline.demo.command import DemoFailedError, run_demo
    from quant_pipeline.demo.options import DemoOptions

    options = DemoOptions(
        home=settings.home / "demo", seed=seed, sessions=sessions, threads=threads, data=data, keep=keep
    )
    try:
        with ended_by_signals():
            result = run_demo(options, notes() if as_json else results())
    except DemoFailedError as error:
        raise CommandError(str(error)) from error
    if as_json:
        content: dict[str, Any] = {"seconds": result.seconds, "agrees": result.agrees}
        write_json(content | {"markets": [market.as_json() for market in result.markets]})
    if not result.agrees:
        msg = "the ledger differs from the exchange's own log; see above"
        raise CommandError(msg)
