"""Registering a trained ensemble: its bytes in the lake, its row and events in PostgreSQL, its version in MLflow.

Which version serves belongs to `serving`, moving the champion to `promotion`. Every step finds what an earlier, killed
attempt left and goes on from there, so registering the same ensemble again changes nothing.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from quant_pipeline.core.models.acceptance import accept, accept_update
from quant_pipeline.core.models.bundle import member_hashes, pack
from quant_pipeline.core.models.trained import from_iso, iso
from quant_pipeline.registry.errors import RegistryError
from quant_pipeline.registry.names import ENSEMBLE, MODEL_VERSION, experiment_name, registered_name, version_id
from quant_pipeline.registry.promotion import promote_newest
from quant_pipeline.storage.models import (
    SERVING,
    ModelVersion,
    add_model_event,
    add_model_version,
    model_version,
    set_mlflow_version,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import date, datetime

    from quant_pipeline.core.models.params import AcceptanceRule
    from quant_pipeline.core.models.trained import TrainedEnsemble
    from quant_pipeline.registry.mlflow_registry import LoggedVersion, ModelRegistry
    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.lake import Lake


@dataclass(frozen=True, slots=True)
class ModelSpan:
    """Of what, on which sessions and for which sessions an ensemble was trained.

    It serves sessions with `serves_from <= session < serves_to`; `month` is the first day of the month served.
    `data_hashes` name the data it was trained on, `params_hash` the settings (the hash of the ensemble's own
    parameters if None). `window_from` is the first session whose bars are behind its rows: features look back.
    """

    market: str
    symbol: str
    month: date
    trained_from: date
    trained_to: date
    serves_from: date
    serves_to: date
    data_hashes: Mapping[str, str]
    params_hash: str | None = None
    window_from: date | None = None


def register_ensemble(
    db: Database,
    lake: Lake,
    registry: ModelRegistry | None,
    ensemble: TrainedEnsemble,
    span: ModelSpan,
    *,
    at: datetime,
    rule: AcceptanceRule | None = None,
    actor: str = "pipeline",
) -> ModelVersion:
    """Store an ensemble, pass it through the gate, and make it champion if it is the newest that passed.

    Events `trained`, then `accepted` or `rejected` (with the reasons), then perhaps `promoted`, all at `at`. A rejected
    ensemble is kept and logged too, but never serves. One that was fine-tuned is judged against its base. Without a
    `registry` nothing goes to MLflow; call again with one to catch up.

    Raises:
        RegistryError: the ensemble knows prices from after the start of the first session that it would serve.
    """
    _check_knowledge(ensemble, span)
    accepted, reasons = accept_update(ensemble.metrics) if ensemble.base is not None else accept(ensemble.metrics, rule)
    bundle = pack(ensemble)
    content_hash = lake.put_bytes("model", bundle)
    version = _version(ensemble, span, content_hash, reasons, at)
    is_new = add_model_version(db, version, actor=actor)
    stored = _stored(db, version.id)
    if stored.status == "trained":
        outcome = "accepted" if accepted else "rejected"
        add_model_event(db, version.id, outcome, at, actor, "; ".join(reasons))
        stored = _stored(db, version.id)
    if registry is not None and stored.mlflow_version is None:
        # What was only now added to our tables cannot have been logged before.
        known = None if is_new else registry.find(registered_name(span.market, span.symbol), MODEL_VERSION, version.id)
        logged = known if known is not None else _log(registry, ensemble, bundle, stored, span)
        set_mlflow_version(db, version.id, logged.version)
    if stored.status in SERVING:
        promote_newest(db, registry, span.market, span.symbol, at=at, actor=actor)
    return _stored(db, version.id)


def _check_knowledge(ensemble: TrainedEnsemble, span: ModelSpan) -> None:
    opens = iso(from_iso(span.serves_from.isoformat()))
    if ensemble.known_until > opens:
        msg = (
            f"the ensemble of {span.symbol} knows prices until {ensemble.known_until} and would serve from "
            f"{span.serves_from}: its training rows must end before that day begins (UTC)"
        )
        raise RegistryError(msg)


def _version(
    ensemble: TrainedEnsemble, span: ModelSpan, content_hash: str, reasons: tuple[str, ...], at: datetime
) -> ModelVersion:
    fixed: dict[str, Any] = {
        "name": ENSEMBLE,
        "month": span.month,
        "content_hash": content_hash,
        "params_hash": span.params_hash if span.params_hash is not None else ensemble.params.digest(),
        "trained_from": span.trained_from,
        "trained_to": span.trained_to,
        "serves_to": span.serves_to,
    }
    return ModelVersion(
        id=version_id(span.market, span.symbol, span.serves_from, **fixed),
        market=span.market,
        symbol=span.symbol,
        serves_from=span.serves_from,
        metrics={
            **ensemble.metrics,
            "reasons": list(reasons),
            "member_hashes": member_hashes(ensemble),
            "data_hashes": dict(span.data_hashes),
            "known_until": ensemble.known_until,
            "base": ensemble.base,
            "window_from": None if span.window_from is None else span.window_from.isoformat(),
        },
        status="trained",
        mlflow_version=None,
        created_at=at,
        **fixed,
    )


def _log(
    registry: ModelRegistry, ensemble: TrainedEnsemble, bundle: bytes, version: ModelVersion, span: ModelSpan
) -> LoggedVersion:
    """Log the bundle to MLflow with tags that link it to our row."""
    data = json.dumps(dict(span.data_hashes), sort_keys=True)
    return registry.log_ensemble(
        registered_name(version.market, version.symbol),
        bundle,
        experiment=experiment_name(version.market),
        run_name=f"{version.symbol} {version.serves_from.isoformat()}",
        metrics=ensemble.metrics,
        params=_params(ensemble),
        tags={
            MODEL_VERSION: version.id,
            "content_hash": version.content_hash,
            "gate": version.status,
            "month": version.month.isoformat(),
            "trained": f"{version.trained_from.isoformat()}..{version.trained_to.isoformat()}",
            "serves": f"{version.serves_from.isoformat()}..{version.serves_to.isoformat()}",
            "params_hash": version.params_hash,
            "data_hash": hashlib.sha256(data.encode()).hexdigest(),
        },
    )


def _params(ensemble: TrainedEnsemble) -> dict[str, object]:
    """Flatten what the ensemble was trained with into MLflow's parameters."""
    flat: dict[str, object] = {}
    for key, value in asdict(ensemble.params).items():
        flat |= {f"{key}.{k}": v for k, v in value.items()} if isinstance(value, dict) else {key: value}
    return flat | {
        "features": f"{ensemble.features.name} {ensemble.features.version}",
        "horizon": f"{ensemble.horizon.bars} x {ensemble.horizon.interval}",
        "members": ", ".join(f"{m.name}={m.family}:{m.seed}" for m in ensemble.members),
    }


def _stored(db: Database, identity: str) -> ModelVersion:
    found = model_version(db, identity)
    if found is None:
        msg = f"model version {identity} was stored a moment ago and is gone; is another process deleting rows?"
        raise RegistryError(msg)
    return found
