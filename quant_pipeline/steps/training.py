"""The model step: train, judge and register one ensemble for each symbol and month served."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import code_hash, combine_hashes
from quant_pipeline.core.models.ensemble import train_ensemble
from quant_pipeline.core.models.samples import NotEnoughRowsError
from quant_pipeline.core.models.trained import FeatureSet, Horizon
from quant_pipeline.registry.promotion import serve_again
from quant_pipeline.registry.service import ModelSpan, register_ensemble
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import TrainingData, samples_hash, training_data, training_sessions
from quant_pipeline.steps.tables import (
    Key,
    Made,
    Number,
    RunContext,
    SessionOutcome,
    StepResult,
    Window,
    record_versions,
)
from quant_pipeline.steps.timing import next_month
from quant_pipeline.steps.tuning import tuned_params
from quant_pipeline.storage.models import ModelVersion
from quant_pipeline.storage.version_marks import confirm_versions, newest_version
from quant_pipeline.storage.versions import Version, current_versions

STEP = "model"


@dataclass(frozen=True, slots=True)
class _Trained:
    """What became of one symbol: its version, or why there is none; `inputs` names what it was trained from."""

    symbol: str
    inputs: str
    version: ModelVersion | None
    problem: str = ""
    window: Window | None = None


def run(desk: Desk, market: MarketSettings, months: Sequence[date], context: RunContext) -> StepResult:
    """Train the models that serve `months`, each on sessions before its month only.

    A symbol whose training rows, parameters and code are those of its stored version is not trained again. One symbol
    that cannot be trained does not stop the others; it has no model and is not traded.
    """
    return StepResult(tuple(_train_month(desk, market, month, context) for month in months))


def _train_month(desk: Desk, market: MarketSettings, month: date, context: RunContext) -> SessionOutcome:
    after = newest_version(desk.db)
    symbols = context.symbols or market.symbols
    sessions = training_sessions(market, month)
    stored = current_versions(desk.db, market.name, STEP, [month])
    trained: list[_Trained] = []
    reused: list[Key] = []
    for data in training_data(desk, market, sessions, symbols, context):
        inputs = _inputs(desk, market, data, month)
        known = stored.get((month, data.symbol))
        if known is not None and known.inputs_hash == inputs:
            reused.append((month, data.symbol))
            continue
        trained.append(_train(desk, market, data, month, inputs, context))
        _serve(desk, trained[-1].version, known, context)
    _record(desk, market, month, trained, after, context)
    confirm_versions(desk.db, market.name, STEP, reused, after, context.now)
    return _outcome(desk, market, month, trained, len(reused))


def _inputs(desk: Desk, market: MarketSettings, data: TrainingData, month: date) -> str:
    content = "" if data.samples is None else samples_hash(data.samples)
    params = tuned_params(desk, market, data.symbol, month).digest()
    return combine_hashes(
        content, params, code_hash("models", "features"), str(market.horizon_bars), str(data.sessions)
    )


def _train(
    desk: Desk, market: MarketSettings, data: TrainingData, month: date, inputs: str, context: RunContext
) -> _Trained:
    if data.samples is None or data.first is None or data.last is None:
        needed = market.ai.min_training_sessions
        return _Trained(data.symbol, inputs, None, _why_not(data, needed))
    params = tuned_params(desk, market, data.symbol, month)
    try:
        ensemble = train_ensemble(
            data.samples,
            FeatureSet(FEATURE_SET.name, str(FEATURE_SET.version), FEATURE_SET.columns),
            Horizon(market.horizon_bars, market.decision_interval),
            params=params,
            threads=market.ai.threads,
        )
    except NotEnoughRowsError as error:
        return _Trained(data.symbol, inputs, None, str(error))
    span = ModelSpan(
        market=market.name,
        symbol=data.symbol,
        month=month,
        trained_from=data.first,
        trained_to=data.last,
        serves_from=month,
        serves_to=next_month(month),
        data_hashes={"samples": samples_hash(data.samples)},
        params_hash=params.digest(),
        window_from=data.window_from,
    )
    version = register_ensemble(desk.db, desk.lake, desk.registry, ensemble, span, at=context.now)
    window = None if data.window_from is None else (data.window_from, training_sessions(market, month)[-1])
    return _Trained(data.symbol, inputs, version, window=window)


def _serve(desk: Desk, version: ModelVersion | None, known: Version | None, context: RunContext) -> None:
    """Rows that are what they once were give the very version of then, which another has replaced since."""
    if version is not None and known is not None and known.content_hash != version.content_hash:
        serve_again(desk.db, desk.registry, version, at=context.now)


def _why_not(data: TrainingData, needed: int) -> str:
    if data.sessions < needed:
        return f"{data.sessions} sessions with bars, {needed} are needed (ai.min_training_sessions)"
    return "no session has all features and a target; run `prepare` over the sessions before the month"


def _record(
    desk: Desk, market: MarketSettings, month: date, trained: Sequence[_Trained], after: int, context: RunContext
) -> None:
    hashes: dict[Key, str] = {(month, t.symbol): t.version.content_hash for t in trained if t.version is not None}
    inputs: dict[Key, str] = {(month, t.symbol): t.inputs for t in trained}
    windows: dict[Key, Window] = {(month, t.symbol): t.window for t in trained if t.window is not None}
    made = Made(after, windows)
    record_versions(desk, market.name, STEP, hashes, inputs, code_hash("models"), "", context, made=made)


def _outcome(
    desk: Desk, market: MarketSettings, month: date, trained: Sequence[_Trained], reused: int
) -> SessionOutcome:
    current: dict[Key, Version] = current_versions(desk.db, market.name, STEP, [month])
    made = [t.version for t in trained if t.version is not None]
    content = combine_hashes(*(f"{symbol}={v.content_hash}" for (_, symbol), v in sorted(current.items())))
    numbers: dict[str, Number] = {
        "trained": len(made),
        "accepted": sum(version.status != "rejected" for version in made),
        "rejected": sum(version.status == "rejected" for version in made),
        "not_trainable": sum(t.version is None for t in trained),
        "reused": reused,
    }
    problems = "; ".join(f"{t.symbol}: {t.problem}" for t in trained if t.problem)
    if problems:
        numbers["problems"] = problems
    if made:
        numbers["trained_from"] = min(v.trained_from for v in made).isoformat()
        numbers["trained_to"] = max(v.trained_to for v in made).isoformat()
        numbers["mlflow_versions"] = ", ".join(f"{v.symbol} v{v.mlflow_version}" for v in made)
    return SessionOutcome(month, len(current), content, numbers)
