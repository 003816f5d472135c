"""Which version is the champion, and moving that: promote, roll back, and answering an alias moved by hand in MLflow.

The champion is the version that serves the newest span. PostgreSQL's events decide; the alias in MLflow follows them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from quant_pipeline.registry.errors import RegistryError
from quant_pipeline.registry.mlflow_registry import CHAMPION
from quant_pipeline.registry.names import ENSEMBLE, registered_name
from quant_pipeline.storage.models import (
    SERVING,
    ModelVersion,
    add_model_event,
    list_model_versions,
    model_events,
    resolve_model,
)

if TYPE_CHECKING:
    from datetime import datetime

    from quant_pipeline.registry.mlflow_registry import ModelRegistry
    from quant_pipeline.storage.database import Database


RETIRED: Final = "retired"


@dataclass(frozen=True, slots=True)
class AliasOutcome:
    """What became of the champion alias of a symbol: it stood where it should, was adopted, or was set back."""

    outcome: Literal["unchanged", "adopted", "set_back"]
    champion: ModelVersion | None
    reason: str = ""


def champion(db: Database, market: str, symbol: str) -> ModelVersion | None:
    """Return the version that serves the newest span of a symbol, or None if none may serve."""
    serving = [v for v in list_model_versions(db, market, symbol=symbol, name=ENSEMBLE) if v.status in SERVING]
    if not serving:
        return None
    return resolve_model(db, market, symbol, max(v.serves_from for v in serving), name=ENSEMBLE)


def promote_newest(
    db: Database, registry: ModelRegistry | None, market: str, symbol: str, *, at: datetime, actor: str
) -> ModelVersion | None:
    """Let the alias point at the champion and record the promotion if it is new; returns the champion."""
    best = champion(db, market, symbol)
    if best is None:
        return None
    if registry is not None and best.mlflow_version is not None:
        registry.promote(registered_name(market, symbol), best.mlflow_version)
    if best.status != "promoted":
        add_model_event(db, best.id, "promoted", at, actor, "newest accepted version")
    return champion(db, market, symbol)


def serve_again(
    db: Database, registry: ModelRegistry | None, version: ModelVersion, *, at: datetime, actor: str = "pipeline"
) -> None:
    """Let a version serve its span again that was made a second time, from the same rows, after another had taken over.

    Nothing happens if it never passed the gate, was taken out of service by a person, or serves already.
    """
    present = resolve_model(db, version.market, version.symbol, version.serves_from, name=ENSEMBLE)
    if version.status not in {*SERVING, RETIRED} or (present is not None and present.id == version.id):
        return
    add_model_event(db, version.id, "accepted", at, actor, "made again from the same rows")
    promote_newest(db, registry, version.market, version.symbol, at=at, actor=actor)


def retire(
    db: Database,
    registry: ModelRegistry | None,
    version: ModelVersion,
    *,
    at: datetime,
    note: str,
    actor: str = "pipeline",
) -> None:
    """Take a version out of service until it is made again, because what it was made from no longer serves."""
    add_model_event(db, version.id, RETIRED, at, actor, note)
    promote_newest(db, registry, version.market, version.symbol, at=at, actor=actor)


def promote(
    db: Database, registry: ModelRegistry | None, version: ModelVersion, *, at: datetime, actor: str, note: str = ""
) -> ModelVersion:
    """Make a version the champion by hand: one that passed the gate, for the span that the present champion serves.

    Raises:
        RegistryError: it may not be the champion; the message says why.
    """
    refusal = _refusal(db, version)
    if refusal:
        msg = f"model version {version.id} cannot be promoted: {refusal}"
        raise RegistryError(msg)
    add_model_event(db, version.id, "promoted", at, actor, note)
    if registry is not None and version.mlflow_version is not None:
        registry.promote(registered_name(version.market, version.symbol), version.mlflow_version)
    return version


def roll_back(
    db: Database, registry: ModelRegistry | None, market: str, symbol: str, *, at: datetime, actor: str, note: str
) -> ModelVersion | None:
    """Take the champion out of service from `at` on, until promoted again; return the next one, None if there is none.

    Raises:
        RegistryError: there is no champion to roll back.
    """
    present = champion(db, market, symbol)
    if present is None:
        msg = f"{market} {symbol} has no champion to roll back"
        raise RegistryError(msg)
    add_model_event(db, present.id, "rolled_back", at, actor, note)
    following = promote_newest(db, registry, market, symbol, at=at, actor=actor)
    if following is None and registry is not None:
        registry.demote(registered_name(market, symbol))
    return following


def follow_alias(db: Database, registry: ModelRegistry, market: str, symbol: str, *, at: datetime) -> AliasOutcome:
    """Compare the alias in MLflow with the champion. If a person moved it, adopt that through the gate or set it back.

    Either way an event says so: `promoted` by `mlflow` for the version adopted, or on the champion to which it
    returned.
    """
    name, best = registered_name(market, symbol), champion(db, market, symbol)
    pointed = registry.aliases(name).get(CHAMPION)
    if best is None or best.mlflow_version is None or pointed == best.mlflow_version:
        return AliasOutcome("unchanged", best)
    versions = list_model_versions(db, market, symbol=symbol, name=ENSEMBLE)
    wanted = next((v for v in versions if pointed is not None and v.mlflow_version == pointed), None)
    if wanted is None:
        reason = "the alias was removed" if pointed is None else f"version {pointed} is not one of ours"
    else:
        reason = _refusal(db, wanted)
    if wanted is not None and not reason:
        note = f"alias moved by hand from version {best.mlflow_version}"
        return AliasOutcome("adopted", promote(db, None, wanted, at=at, actor="mlflow", note=note))
    registry.promote(name, best.mlflow_version)
    note = f"alias was moved by hand and set back: {reason}"
    add_model_event(db, best.id, "promoted", at, "registry", note)
    return AliasOutcome("set_back", best, reason)


def _refusal(db: Database, version: ModelVersion) -> str:
    """Say why a version may not be the champion, empty if it may."""
    if all(event.event != "accepted" for event in model_events(db, version.id)):
        return f"it never passed the gate ({version.status})"
    present = champion(db, version.market, version.symbol)
    if present is not None and present.serves_from != version.serves_from:
        return f"it serves from {version.serves_from}, the present champion from {present.serves_from}"
    return ""
