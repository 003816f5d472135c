"""What a trained ensemble is: frozen values only.

How it comes about belongs to `ensemble` and `update`, how it is written to `bundle`, how it is applied to `loaded`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from quant_pipeline.core.models.params import EnsembleParams, Family, MemberSpec

if TYPE_CHECKING:
    from quant_pipeline.core.models.acceptance import Metrics


@dataclass(frozen=True, slots=True)
class FeatureSet:
    """Which features an ensemble reads: name and version of the set, and its columns in order."""

    name: str
    version: str
    columns: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Horizon:
    """How far a prediction looks ahead: `bars` bars of `interval` (one daily bar, 24 hourly ones)."""

    bars: int
    interval: str

    def __post_init__(self) -> None:
        """Refuse a horizon that lies not in the future."""
        if self.bars < 1:
            msg = f"horizon of {self.bars} bars must be at least 1"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Window:
    """First and last decision time (ISO 8601, UTC) of one part, and its rows."""

    first: str
    last: str
    rows: int


@dataclass(frozen=True, slots=True)
class TrainedMember:
    """One member: what it is, its native bytes, its rounds, and the number it shares with members that equal it."""

    name: str
    family: Family
    seed: int
    rounds: int
    group: int
    data: bytes

    @property
    def spec(self) -> MemberSpec:
        """The member's specification."""
        return MemberSpec(self.name, self.family, self.seed)


@dataclass(frozen=True, slots=True)
class TrainedEnsemble:
    """Everything a bundle holds. Equal inputs, parameters and libraries give an equal value for any thread count.

    `clip` are the bounds of the training targets, `residuals` the hold-out residuals at `opinion.RESIDUAL_LEVELS`.
    `windows` has the parts `train`, `validation`, `holdout` (and `update`, `check` after fine-tuning). `known_until`
    is the newest moment (ISO 8601, UTC) whose price had any influence: the model may serve only later bars. `base` is
    the hash of the bundle that was fine-tuned, None for one trained from scratch.
    """

    features: FeatureSet
    horizon: Horizon
    params: EnsembleParams
    members: tuple[TrainedMember, ...]
    clip: tuple[float, float]
    residuals: tuple[float, ...]
    windows: dict[str, Window]
    known_until: str
    metrics: Metrics
    libraries: dict[str, str]
    base: str | None = None

    @property
    def groups(self) -> tuple[int, ...]:
        """The members' group numbers: identical members share one."""
        return tuple(member.group for member in self.members)


def iso(moment: np.datetime64) -> str:
    """Write a UTC moment as ISO 8601 with seconds, e.g. `2024-05-31T20:00:00Z`; such strings sort like the moments."""
    return f"{np.datetime_as_string(moment, unit='s')}Z"


def from_iso(text: str) -> np.datetime64:
    """Read what `iso` wrote."""
    return np.datetime64(text.removesuffix("Z"), "ns")
