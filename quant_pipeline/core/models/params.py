"""What a person may choose about an ensemble: its members, their hyper-parameters, the split, the acceptance gate.

Only frozen values and their defaults live here; what is done with them belongs to `ensemble`, `split` and `acceptance`.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

type Family = Literal["lightgbm", "xgboost"]

FAMILIES: tuple[Family, ...] = ("lightgbm", "xgboost")


@dataclass(frozen=True, slots=True)
class MemberSpec:
    """One member of an ensemble: its name (unique in the ensemble), its family and the seed that sets it apart."""

    name: str
    family: Family
    seed: int

    def __post_init__(self) -> None:
        """Refuse a family that nobody can train and a name that cannot be a file name in the bundle."""
        if self.family not in FAMILIES:
            msg = f"member {self.name!r}: family {self.family!r} is unknown, use one of {', '.join(FAMILIES)}"
            raise ValueError(msg)
        if not self.name or not self.name.replace("_", "").replace("-", "").isalnum() or not self.name.isascii():
            msg = f"member name {self.name!r} must be made of ASCII letters, digits, '_' and '-'"
            raise ValueError(msg)
        if not 0 <= self.seed < 2**31:
            msg = f"member {self.name!r}: seed {self.seed} must be between 0 and 2147483647"
            raise ValueError(msg)


DEFAULT_MEMBERS: tuple[MemberSpec, ...] = (
    MemberSpec("lgbm_1", "lightgbm", 42),
    MemberSpec("lgbm_2", "lightgbm", 84),
    MemberSpec("xgb_1", "xgboost", 42),
    MemberSpec("xgb_2", "xgboost", 84),
)


@dataclass(frozen=True, slots=True)
class LightGBMParams:
    """Hyper-parameters of the LightGBM members. `rounds` is an upper bound: training stops early."""

    rounds: int = 500
    learning_rate: float = 0.05
    num_leaves: int = 20
    max_depth: int = 7
    min_child_samples: int = 20
    feature_fraction: float = 0.8
    bagging_fraction: float = 0.8
    lambda_l1: float = 0.1
    lambda_l2: float = 0.1


@dataclass(frozen=True, slots=True)
class XGBoostParams:
    """Hyper-parameters of the XGBoost members. `rounds` is an upper bound: training stops early."""

    rounds: int = 300
    learning_rate: float = 0.05
    max_depth: int = 5
    subsample: float = 0.8
    colsample_bytree: float = 0.8
    gamma: float = 0.0
    min_child_weight: float = 1.0
    reg_alpha: float = 0.0
    reg_lambda: float = 1.0


@dataclass(frozen=True, slots=True)
class EnsembleParams:
    """Everything that decides how an ensemble is trained and how its spread is read.

    `clip` are the quantiles of the train targets to which targets are clipped before fitting. `spread_scale` is the
    standard deviation of the members' predictions, in return per horizon, at which agreement is lost; 0.01 belongs to
    a horizon of about one day.
    """

    lightgbm: LightGBMParams = field(default_factory=LightGBMParams)
    xgboost: XGBoostParams = field(default_factory=XGBoostParams)
    early_stopping_rounds: int = 20
    clip: tuple[float, float] = (0.02, 0.98)
    spread_scale: float = 0.01

    def __post_init__(self) -> None:
        """Refuse values with which training or the confidence would be meaningless."""
        low, high = self.clip
        if not 0.0 <= low < high <= 1.0:
            msg = f"clip quantiles {self.clip} must satisfy 0 <= low < high <= 1"
            raise ValueError(msg)
        if not self.spread_scale > 0:
            msg = f"spread_scale {self.spread_scale} must be above 0 (0.01 for a horizon of one day)"
            raise ValueError(msg)
        if self.early_stopping_rounds < 1:
            msg = f"early_stopping_rounds {self.early_stopping_rounds} must be at least 1"
            raise ValueError(msg)

    def digest(self) -> str:
        """A sha256 of the content, the same in every process: what `params_hash` of a model version is made of."""
        text = json.dumps(asdict(self), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()


def with_tuned(params: EnsembleParams, family: Family, tuned: Mapping[str, float | int]) -> EnsembleParams:
    """Return `params` with the tuned values of one family put in.

    Raises ValueError naming a key that is no hyper-parameter of the family.
    """
    current: LightGBMParams | XGBoostParams = params.lightgbm if family == "lightgbm" else params.xgboost
    known = {f.name: f.type for f in fields(current)}
    unknown = sorted(set(tuned) - set(known))
    if unknown:
        msg = f"{family} has no hyper-parameter {unknown}; known are {sorted(known)}"
        raise ValueError(msg)
    typed = {key: int(value) if known[key] == "int" else float(value) for key, value in tuned.items()}
    if isinstance(current, LightGBMParams):
        return replace(params, lightgbm=replace(current, **typed))  # type: ignore[arg-type]
    return replace(params, xgboost=replace(current, **typed))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class SplitSpec:
    """How samples are cut in time order into train | validation (early stopping) | hold-out (acceptance).

    Shares are of the distinct decision times. Before each cut, rows are dropped whose target was not known `embargo`
    decision times before the next part begins; give it the horizon in bars. The minimums are rows that must be left.
    """

    validation: float = 0.16
    holdout: float = 0.20
    embargo: int = 1
    min_train: int = 100
    min_validation: int = 20
    min_holdout: int = 20

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing to train on."""
        if not (0.0 < self.validation < 1.0 and 0.0 < self.holdout < 1.0 and self.validation + self.holdout < 1.0):
            msg = f"validation {self.validation} and holdout {self.holdout} must be shares above 0 with a sum below 1"
            raise ValueError(msg)
        if self.embargo < 0:
            msg = f"embargo {self.embargo} must not be negative (use the horizon in bars)"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class AcceptanceRule:
    """The gate on the hold-out: both figures must be strictly above their bound."""

    direction_above: float = 0.5
    correlation_above: float = 0.0
