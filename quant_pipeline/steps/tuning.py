"""The hyperparameters step: one Optuna study for each family, symbol and month served, on data before that month."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import date

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.models.params import FAMILIES, EnsembleParams, Family, SplitSpec, with_tuned
from quant_pipeline.core.models.samples import NotEnoughRowsError, Samples
from quant_pipeline.core.models.tuning import DEFAULT_SPACES, make_objective, starting_point
from quant_pipeline.registry.studies import StudyResult, StudySpec, study_name
from quant_pipeline.settings import MarketSettings
from quant_pipeline.settings.section import content_hash
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.samples import samples_hash, training_data, training_sessions
from quant_pipeline.steps.tables import Number, RunContext, SessionOutcome, StepResult
from quant_pipeline.storage.hyperparameters import Hyperparameters, get_hyperparameters, put_hyperparameters

STEP = "hyperparameters"
STARTUP_TRIALS = 4


def run(desk: Desk, market: MarketSettings, months: Sequence[date], context: RunContext) -> StepResult:
    """Search hyperparameters for each of `months`; a study that is complete is only read.

    The acceptance hold-out is cut off before the search sees anything, so tuning never looks at what a model is judged
    on. The first `ai.tuning_symbols` symbols are tuned; the others keep the defaults.
    """
    return StepResult(tuple(_tune_month(desk, market, month, context) for month in months))


def _tune_month(desk: Desk, market: MarketSettings, month: date, context: RunContext) -> SessionOutcome:
    symbols = (context.symbols or market.symbols)[: market.ai.tuning_symbols]
    hashes: list[str] = []
    numbers: dict[str, Number] = {"symbols_tuned": 0, "trials": 0}
    for data in training_data(desk, market, training_sessions(market, month), symbols, context):
        if data.samples is None:
            continue
        found = _tune_symbol(desk, market, data.symbol, month, data.samples, context)
        if found is None:
            continue
        hashes.append(combine_hashes(data.symbol, content_hash(dict(found.params))))
        numbers["symbols_tuned"] = int(numbers["symbols_tuned"]) + 1
        numbers["trials"] = int(numbers["trials"]) + found.trials
        numbers[f"rmse_{data.symbol}"] = found.value
    return SessionOutcome(month, len(hashes), combine_hashes(*hashes), numbers)


def _tune_symbol(
    desk: Desk, market: MarketSettings, symbol: str, month: date, samples: Samples, context: RunContext
) -> Hyperparameters | None:
    """The best parameters of both families; None when the symbol has too few rows to search on."""
    params, results = EnsembleParams(), list[StudyResult]()
    try:
        for family in FAMILIES:
            result = _study(desk, market, symbol, month, family, samples)
            params = with_tuned(params, family, result.best_params)
            results.append(result)
    except NotEnoughRowsError:
        return None
    found = Hyperparameters(
        market=market.name,
        symbol=symbol,
        month=month,
        params={family: dict(result.best_params) for family, result in zip(FAMILIES, results, strict=True)},
        study="; ".join(result.name for result in results),
        trials=sum(result.trials for result in results),
        value=min(result.best_value for result in results),
        created_at=context.now,
    )
    known = get_hyperparameters(desk.db, market.name, symbol, month)
    if known is None or dict(known.params) != dict(found.params):
        put_hyperparameters(desk.db, found)
    return found


def _study(
    desk: Desk, market: MarketSettings, symbol: str, month: date, family: Family, samples: Samples
) -> StudyResult:
    spec = StudySpec(trials=market.ai.tuning_trials, startup_trials=STARTUP_TRIALS)
    space = DEFAULT_SPACES[family]
    settings_hash = content_hash({"spec": asdict(spec), "horizon": market.horizon_bars, "family": family})
    name = study_name(
        market.name,
        symbol,
        month.isoformat(),
        family,
        f"{FEATURE_SET.name}-{FEATURE_SET.version}",
        settings_hash=settings_hash,
        data_hash=samples_hash(samples),
    )
    objective = make_objective(samples, family, SplitSpec(embargo=market.horizon_bars))
    return desk.studies.run(name, space, objective, spec, start=starting_point(space, family, EnsembleParams()))


def tuned_params(desk: Desk, market: MarketSettings, symbol: str, month: date) -> EnsembleParams:
    """The parameters a model of `month` is trained with: the study's, or the defaults when there was none."""
    found = get_hyperparameters(desk.db, market.name, symbol, month)
    params = EnsembleParams()
    if found is not None:
        for family in FAMILIES:
            params = with_tuned(params, family, found.params[family])
    return params
