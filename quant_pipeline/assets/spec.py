"""The shape of a session asset: keys, groups, kinds, partitions, schema. What each asset does is in its own module."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import dagster as dg

from quant_pipeline.assets.reporting import Schema, column_schema, report, run_context, sessions_of
from quant_pipeline.partitions import session_partitions
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import RunContext, StepResult

OWNER = "team:trading-desk"
ROW_KEY: Schema = (
    ("symbol", "string", "symbol of the market"),
    ("ts", "timestamp[ns, UTC]", "start of the decision bar"),
)

Run = Callable[[Desk, MarketSettings, Sequence[Any], RunContext], StepResult]


@dataclass(frozen=True, slots=True)
class Shape:
    """What a session asset looks like in the UI and what it depends on (steps of the same market and session)."""

    step: str
    description: str
    kinds: frozenset[str]
    deps: tuple[str, ...] = ()
    schema: Schema = ()
    extra_deps: tuple[dg.AssetDep, ...] = ()
    pool: str | None = None


def asset_key(market: str, step: str) -> dg.AssetKey:
    """The key of a step of a market, e.g. `us_equity/bars`."""
    return dg.AssetKey([market, step])


def asset_arguments(market: MarketSettings, shape: Shape) -> dict[str, Any]:
    """The arguments of `@dg.asset` that all session assets of a market share."""
    metadata: dict[str, Any] = {"market": market.name, "currency": market.market.currency}
    if shape.schema:
        metadata["dagster/column_schema"] = column_schema(shape.schema)
    return {
        "key": asset_key(market.name, shape.step),
        "group_name": market.name,
        "description": shape.description,
        "kinds": set(shape.kinds),
        "owners": [OWNER],
        "deps": [*(dg.AssetDep(asset_key(market.name, step)) for step in shape.deps), *shape.extra_deps],
        "partitions_def": session_partitions(market),
        "backfill_policy": dg.BackfillPolicy.single_run(),
        "metadata": metadata,
        "tags": {"market": market.name, "decision_interval": market.decision_interval},
        "pool": shape.pool,
    }


def session_asset(market: MarketSettings, shape: Shape, run: Run) -> dg.AssetsDefinition:
    """An asset that runs one step for the sessions of its run and reports what the step says."""

    @dg.asset(**asset_arguments(market, shape))
    def materialize(
        context: dg.AssetExecutionContext, desk: dg.ResourceParam[DeskProvider], options: RunOptions
    ) -> dg.MaterializeResult[None]:
        opened = desk.get()
        sessions = sessions_of(context)
        return report(context, run(opened, market, sessions, run_context(context, opened, market, options)))

    return cast(dg.AssetsDefinition, materialize)
