"""Thresholds of the checks on bars, and how often holes are asked for again. What the checks do is in core and steps."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from quant_pipeline.core.bar_quality import Limits
from quant_pipeline.settings.section import Fraction, Section


class QualitySettings(Section):
    """From when on bars are not believed, and how often a hole is asked for again.

    A move of more than `sigmas` times what is usual over `window_days` is reported. `volume_collapse`, `volume_level`:
    a session's volume below this part of the usual, or for three sessions this many times more or less, is reported.
    `hole_share`: from so large a part of a session unexplained on, its bars are not traded. `life_hole_sessions`: so
    many sessions without bars end a history; what follows begins a new one. `stale_minutes`: trading time that the
    newest bar of the market may be late in a tick. A hole is asked for `repair_tries` times, at first after
    `repair_wait_minutes`, then after four times as long each time.
    """

    window_days: Annotated[int, Field(ge=14, le=365)] = 30
    sigmas: Annotated[float, Field(ge=1, le=100)] = 8.0
    volume_collapse: Annotated[float, Field(ge=0, lt=1)] = 0.02
    volume_level: Annotated[float, Field(gt=1, le=10_000)] = 8.0
    hole_share: Fraction = 0.25
    life_hole_sessions: Annotated[int, Field(ge=20, le=5000)] = 250
    stale_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 30
    repair_tries: Annotated[int, Field(ge=1, le=50)] = 5
    repair_wait_minutes: Annotated[int, Field(ge=1, le=24 * 60)] = 15

    def limits(self) -> Limits:
        """The thresholds of moves and volumes."""
        return Limits(
            window_days=self.window_days,
            sigmas=self.sigmas,
            volume_collapse=self.volume_collapse,
            volume_level=self.volume_level,
        )
