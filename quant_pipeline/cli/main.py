"""The entry point of `quant`: which commands there are, and how they end. Each command is a module of its own."""

from __future__ import annotations

import sys

import typer

from quant_pipeline.cli.backfill import backfill_command
from quant_pipeline.cli.bars import bars_command
from quant_pipeline.cli.catch_up import catch_up_command
from quant_pipeline.cli.control import halt_command, pause_command, resume_command
from quant_pipeline.cli.coverage import coverage_command
from quant_pipeline.cli.demo import demo_command
from quant_pipeline.cli.errors import INTERRUPTED, told
from quant_pipeline.cli.exchange import exchange_command
from quant_pipeline.cli.export import export_command
from quant_pipeline.cli.import_files import import_command
from quant_pipeline.cli.migrate import migrate_command
from quant_pipeline.cli.output import complain
from quant_pipeline.cli.restatements import restatements_command
from quant_pipeline.cli.settings_command import settings_command
from quant_pipeline.cli.status import status_command
from quant_pipeline.cli.tick import tick_command
from quant_pipeline.cli.train import train_command
from quant_pipeline.cli.up import up_command

app = typer.Typer(
    name="quant",
    help="A trading desk as a graph of data assets: from bars to filled orders. Nothing trades real money by default.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
app.command("up")(up_command)
app.command("demo")(demo_command)
app.command("status")(status_command)
app.command("import")(import_command)
app.command("export")(export_command)
app.command("bars")(bars_command)
app.command("coverage")(coverage_command)
app.command("tick")(tick_command)
app.command("backfill")(backfill_command)
app.command("train")(train_command)
app.command("catch-up")(catch_up_command)
app.command("restatements")(restatements_command)
app.command("pause")(pause_command)
app.command("resume")(resume_command)
app.command("halt")(halt_command)
app.command("exchange")(exchange_command)
app.command("migrate")(migrate_command)
app.command("settings")(settings_command)


def main() -> None:
    """Run the command of the command line.

    Exit codes: 0 done, 1 it could not be done, 2 bad input, 130 Ctrl-C. An error that nobody foresaw keeps its
    traceback.
    """
    try:
        app()
    except KeyboardInterrupt:
        complain("stopped; what was finished before is kept, and the command may be run again")
        sys.exit(INTERRUPTED)
    except Exception as error:
        found = told(error)
        if found is None:
            raise
        complain(found[1])
        sys.exit(found[0])
