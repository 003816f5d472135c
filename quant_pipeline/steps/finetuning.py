"""The model_update step: after a session, continue each month's ensemble on the newest rows, for the sessions to come."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from quant_pipeline.core.identity import code_hash, combine_hashes
from quant_pipeline.core.models.samples import NotEnoughRowsError, Samples
from quant_pipeline.core.models.trained import from_iso
from quant_pipeline.core.models.update import fine_tune
from quant_pipeline.markets import calendar
from quant_pipeline.registry.names import ENSEMBLE
from quant_pipeline.registry.promotion import RETIRED, retire, serve_again
from quant_pipeline.registry.service import ModelSpan, register_ensemble
from quant_pipeline.registry.serving import LoadedModels
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import TrainingData, samples_hash, training_data
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
from quant_pipeline.steps.timing import month_of, next_month
from quant_pipeline.storage.models import ModelVersion, serving_versions
from quant_pipeline.storage.version_marks import confirm_versions, newest_version
from quant_pipeline.storage.versions import current_versions

STEP = "model_update"
RECENT_SESSIONS = 60
_CACHE = LoadedModels(64)


def run(desk: Desk, market: MarketSettings, sessions: Sequence[date], context: RunContext) -> StepResult:
    """Make the updates that follow each of `sessions`. A symbol without an accepted ensemble this month has none."""
    return StepResult(tuple(_update_session(desk, market, session, context) for session in sessions))


def _update_session(desk: Desk, market: MarketSettings, session: date, context: RunContext) -> SessionOutcome:
    after = newest_version(desk.db)
    bases = _bases(desk, market, session)
    recent = recent_sessions(market, session)
    counts = {"accepted": 0, "rejected": 0, "not_trainable": 0, "no_model": len(market.symbols) - len(bases)}
    hashes: list[str] = []
    made: list[tuple[TrainingData, ModelVersion | None]] = []
    stored = current_versions(desk.db, market.name, STEP, [session])
    # An update continues a model that had enough sessions; whether these few are enough is said by `fine_tune`.
    for data in training_data(desk, market, recent, sorted(bases), context, least=1):
        version = _update(desk, market, session, data, bases[data.symbol], context)
        made.append((data, version))
        _retire_others(desk, market, session, bases[data.symbol], context)
        known = stored.get((session, data.symbol))
        # A killed run may have retired one that is recorded as the current one.
        if version is not None and (
            version.status == RETIRED or (known and known.content_hash != version.content_hash)
        ):
            serve_again(desk.db, desk.registry, version, at=context.now)
        if version is None:
            counts["not_trainable"] += 1
            continue
        counts["rejected" if version.status == "rejected" else "accepted"] += 1
        hashes.append(f"{version.symbol}={version.content_hash}")
    _record(desk, market, session, made, bases, after, context)
    numbers: dict[str, Number] = dict(counts)
    return SessionOutcome(session, len(hashes), combine_hashes(*hashes), numbers)


def _bases(desk: Desk, market: MarketSettings, session: date) -> dict[str, ModelVersion]:
    """For each symbol the ensemble trained from scratch that serves the session's month."""
    month = base_month(market, session)
    bases: dict[str, ModelVersion] = {}
    for version in serving_versions(desk.db, market.name, market.symbols, month, month, name=ENSEMBLE):
        if version.month == month and version.metrics.get("base") is None:
            bases.setdefault(version.symbol, version)
    return bases


def base_month(market: MarketSettings, session: date) -> date:
    """The month whose ensembles the updates after `session` continue."""
    return month_of(calendar.next_session(market.market.calendar, session))


def _record(
    desk: Desk,
    market: MarketSettings,
    session: date,
    made: Sequence[tuple[TrainingData, ModelVersion | None]],
    bases: Mapping[str, ModelVersion],
    after: int,
    context: RunContext,
) -> None:
    """Data versions of the updates, also of a symbol for which there was none."""
    hashes: dict[Key, str] = {}
    inputs: dict[Key, str] = {}
    windows: dict[Key, Window] = {}
    for data, version in made:
        key = (session, data.symbol)
        rows = "" if data.samples is None else samples_hash(data.samples)
        inputs[key] = combine_hashes(rows, bases[data.symbol].content_hash)
        if version is None:
            continue
        hashes[key] = version.content_hash
        learned_from = version.metrics.get("window_from")
        if learned_from is not None:
            windows[key] = date.fromisoformat(learned_from), session
    made_so = Made(after, windows)
    record_versions(desk, market.name, STEP, hashes, inputs, code_hash("models"), "", context, made=made_so)
    # Where there is nothing to continue any more, what was made before stays.
    others = [(session, symbol) for symbol in market.symbols if (session, symbol) not in inputs]
    confirm_versions(desk.db, market.name, STEP, others, after, context.now)


def recent_sessions(market: MarketSettings, session: date) -> tuple[date, ...]:
    """The sessions whose rows an update after `session` may learn from."""
    return calendar.sessions(market.market.calendar, market.history_start, session)[-RECENT_SESSIONS:]


def _update(
    desk: Desk, market: MarketSettings, session: date, data: TrainingData, base: ModelVersion, context: RunContext
) -> ModelVersion | None:
    loaded = _CACHE.get(desk.lake, base.content_hash)
    samples = _after(data.samples, loaded.ensemble.windows["holdout"].first)
    if samples is None or data.first is None:
        return None
    try:
        tuned = fine_tune(loaded.ensemble, base.content_hash, samples, threads=market.ai.threads)
    except NotEnoughRowsError:
        return None
    following = calendar.next_session(market.market.calendar, session)
    span = ModelSpan(
        market=market.name,
        symbol=data.symbol,
        month=base.month,
        trained_from=base.trained_from,
        trained_to=session,
        serves_from=following,
        serves_to=next_month(month_of(following)),
        data_hashes={"samples": samples_hash(samples), "base": base.content_hash},
        params_hash=base.params_hash,
        window_from=_earliest(base, data),
    )
    return register_ensemble(desk.db, desk.lake, desk.registry, tuned, span, at=context.now)


def _retire_others(desk: Desk, market: MarketSettings, session: date, base: ModelVersion, context: RunContext) -> None:
    """Updates after this session that continue another ensemble than the one in force: they would serve in its stead.

    That is so even if no new update could be made, or none that is better than the ensemble itself.
    """
    following = calendar.next_session(market.market.calendar, session)
    for other in serving_versions(desk.db, market.name, [base.symbol], following, following, name=ENSEMBLE):
        if other.serves_from == following and other.metrics.get("base") not in (None, base.content_hash):
            note = f"continues an ensemble that {base.id} has replaced"
            retire(desk.db, desk.registry, other, at=context.now, note=note)


def _earliest(base: ModelVersion, data: TrainingData) -> date | None:
    """The first session whose bars are behind the base or the new rows."""
    learned_from = base.metrics.get("window_from")
    known = [data.window_from, None if learned_from is None else date.fromisoformat(learned_from)]
    return min((day for day in known if day is not None), default=None)


def _after(samples: Samples | None, first: str) -> Samples | None:
    """The rows not older than `first`: older ones were learned from already."""
    if samples is None:
        return None
    recent = np.flatnonzero(samples.known_at >= from_iso(first))
    return samples.take(recent) if len(recent) else None
