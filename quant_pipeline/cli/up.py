"""`quant up`: the desk for a person, until Ctrl-C. How it is brought up belongs to `startup`."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import databases_of, ended_by_signals, load, prepare_process
from quant_pipeline.cli.errors import INTERRUPTED, BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption
from quant_pipeline.cli.output import notes, show

if TYPE_CHECKING:
    from rich.console import Console

    from quant_pipeline.settings import Settings


def up_command(
    *,
    trade: Annotated[
        bool | None,
        typer.Option("--trade/--no-trade", help="Schedules of all markets on or off; default: on where simulated."),
    ] = None,
    history: Annotated[bool, typer.Option("--history/--no-history", help="Make the history that is missing.")] = True,
    read_only_ui: Annotated[
        bool, typer.Option("--read-only-ui/--no-read-only-ui", help="A second web UI that changes nothing (140 MB).")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Start the desk: Dagster, MLflow, the simulated exchange, with history. Ctrl-C stops all of it."""
    settings = load(config)
    prepare_process(settings)
    from quant_pipeline.cli.startup import Startup
    from quant_pipeline.runtime.processes import ProcessGroup

    with ExitStack() as stack:
        stack.enter_context(ended_by_signals())
        stack.enter_context(_only_one(settings))
        found = stack.enter_context(databases_of(settings))
        group = stack.enter_context(ProcessGroup(notify=lambda text: notes().print(f"quant up: {text}")))
        content = Startup(settings, found, group).run(trade=trade, history=history, read_only_ui=read_only_ui)
        show(content, lambda console: _print(content, console), as_json=as_json)
        received = group.run_until_signal()
        notes().print("stopping")
    raise typer.Exit(INTERRUPTED if received is signal.SIGINT else 0)


@contextmanager
def _only_one(settings: Settings) -> Iterator[None]:
    """Refuse a second desk on the same state folder."""
    from quant_pipeline.runtime.file_lock import FileLock

    settings.home.mkdir(parents=True, exist_ok=True)
    lock = FileLock(settings.home / "up.lock")
    if not lock.try_acquire(shared=False):
        msg = (
            f"`quant up` already runs on {settings.home}; stop it first, or give this one its own state.home and ports"
        )
        raise BadInputError(msg)
    try:
        yield
    finally:
        lock.release()


def _print(content: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table("service", "address", title=f"The desk is up ({content['seconds']} s)")
    for row in content["addresses"]:
        table.add_row(row["service"], row["url"])
    console.print(table)
    for market in content["markets"]:
        state = f"trading, a tick every {market['tick_minutes']} minutes" if market["on"] else "not trading"
        console.print(f"{market['market']} ({market['mode']}): {state}; {market['why']}")
    console.print(f"Logs are in {content['logs']}. Ctrl-C stops everything.")
