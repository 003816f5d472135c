"""The assets of learning: hyperparameters and models by month served, updates by session. Training itself is a step."""

from collections.abc import Callable, Sequence
from datetime import date
from typing import Any, cast

import dagster as dg

from quant_pipeline.assets.reporting import report, run_context, sessions_of
from quant_pipeline.assets.spec import OWNER, Shape, asset_key, session_asset
from quant_pipeline.partitions import MODEL_FOR_SESSION, TRAINING_WINDOW, month_partitions
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features, finetuning, training, tuning
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult

RunMonths = Callable[[Desk, MarketSettings, Sequence[date], RunContext], StepResult]


def learning_assets(market: MarketSettings) -> list[dg.AssetsDefinition]:
    """Tuning, training and fine-tuning of a market."""
    return [_hyperparameters(market), _model(market), _model_update(market)]


def _month_asset(market: MarketSettings, arguments: dict[str, Any], run: RunMonths) -> dg.AssetsDefinition:
    @dg.asset(
        group_name=market.name,
        owners=[OWNER],
        partitions_def=month_partitions(market),
        # All months of a backfill at once: the sessions that they serve then follow in one run too, in their order,
        # which the shadow book needs.
        backfill_policy=dg.BackfillPolicy.single_run(),
        tags={"market": market.name},
        pool=f"{market.name}_training",
        **arguments,
    )
    def materialize(
        context: dg.AssetExecutionContext, desk: dg.ResourceParam[DeskProvider], options: RunOptions
    ) -> dg.MaterializeResult[None]:
        opened = desk.get()
        months = sessions_of(context)
        return report(context, run(opened, market, months, run_context(context, opened, market, options)))

    return cast(dg.AssetsDefinition, materialize)


def _hyperparameters(market: MarketSettings) -> dg.AssetsDefinition:
    deps = [dg.AssetDep(asset_key(market.name, features.STEP), partition_mapping=TRAINING_WINDOW)]
    text = (
        "Optuna studies in PostgreSQL, one for each symbol and family, named by the month they serve. They see nothing "
        "of that month, nor of the rows that a model is judged on."
    )
    arguments = {"key": asset_key(market.name, tuning.STEP), "deps": deps, "description": text, "kinds": {"optuna"}}
    return _month_asset(market, arguments, tuning.run)


def _model(market: MarketSettings) -> dg.AssetsDefinition:
    deps = [
        dg.AssetDep(asset_key(market.name, tuning.STEP)),
        dg.AssetDep(asset_key(market.name, features.STEP), partition_mapping=TRAINING_WINDOW),
    ]
    text = (
        "One ensemble (LightGBM and XGBoost, two seeds each) for each symbol, named by the month it serves and trained "
        f"on up to {market.ai.training_sessions} sessions before it. It predicts the return over {market.horizon_bars} "
        f"bars of {market.decision_interval}. Each is a version of a registered MLflow model; one that fails its "
        "hold-out is kept and never serves."
    )
    arguments = {
        "key": asset_key(market.name, training.STEP),
        "deps": deps,
        "description": text,
        "kinds": {"lightgbm", "xgboost", "mlflow"},
    }
    return _month_asset(market, arguments, training.run)


def _model_update(market: MarketSettings) -> dg.AssetsDefinition:
    shape = Shape(
        step=finetuning.STEP,
        description=(
            "The month's ensembles continued for a few rounds on the newest sessions. The update of a session serves "
            "from the next one on; it is made from the month's ensemble each time, so it can be made again."
        ),
        kinds=frozenset({"lightgbm", "xgboost", "mlflow"}),
        deps=(features.STEP,),
        extra_deps=(dg.AssetDep(asset_key(market.name, training.STEP), partition_mapping=MODEL_FOR_SESSION),),
        pool=f"{market.name}_training",
    )
    return session_asset(market, shape, finetuning.run)
