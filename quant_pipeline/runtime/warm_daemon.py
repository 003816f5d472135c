"""Dagster's daemon with its run server started at once: `python -m quant_pipeline.runtime.warm_daemon [OPTIONS]`.

Options are those of `dagster-daemon run`. The plain daemon works as well; its first run then waits for the imports.
"""

from __future__ import annotations

import sys

from dagster._cli.utils import get_instance_for_cli
from dagster._daemon.cli import cli

from quant_pipeline.runtime.launcher import WarmRunLauncher


def main(arguments: list[str]) -> None:
    """Warm up while the daemon starts, then be the daemon."""
    with get_instance_for_cli() as instance:
        launcher = instance.run_launcher
        if isinstance(launcher, WarmRunLauncher):
            launcher.warm_up()
    cli(["run", *arguments], prog_name="dagster-daemon")


if __name__ == "__main__":
    main(sys.argv[1:])
