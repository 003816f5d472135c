"""Dagster resources: the desk of this process, and what a run was launched with. Steps know nothing of dagster."""

from __future__ import annotations

import os
from collections.abc import Callable

import dagster as dg
from pydantic import Field

from quant_pipeline.settings import Settings
from quant_pipeline.steps.desk import Desk


class DeskProvider:
    """Opens the desk at first use, once in each process: a forked run must not share its parent's connections."""

    def __init__(self, settings: Settings, open_desk: Callable[[Settings], Desk]) -> None:
        """Remember how to open; nothing is connected yet."""
        self.settings = settings
        self._open_desk = open_desk
        self._desk: Desk | None = None
        self._pid = -1

    def get(self) -> Desk:
        """The open desk of this process."""
        if self._desk is None or self._pid != os.getpid():
            self._desk = self._open_desk(self.settings)
            self._pid = os.getpid()
        return self._desk


class RunOptions(dg.ConfigurableResource[None]):
    """How a run was launched. The defaults are those of a backfill from the UI: nothing is ever sent to a venue."""

    tick: bool = Field(
        default=False,
        description="A run of the live chain. Only then, and only for the session of the market's clock, are orders sent.",
    )
    symbols: list[str] = Field(default_factory=list, description="Limit the run to these symbols; empty means all.")
    collect: bool = Field(default=True, description="Ask the venue for bars that are missing in storage.")
    repair: bool = Field(
        default=False, description="Ask the venue for the unexplained holes of these sessions only; change no bar."
    )
