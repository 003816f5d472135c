"""The bars asset of a market, with its checks. Collecting and judging are steps; how a check is told is in `bar_checks`."""

from typing import cast

import dagster as dg

from quant_pipeline.assets.bar_checks import check_results, check_specs
from quant_pipeline.assets.reporting import report, run_context, sessions_of
from quant_pipeline.assets.spec import ROW_KEY, Shape, asset_arguments
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars


def bars_asset(market: MarketSettings) -> dg.AssetsDefinition:
    """Bars of a market: collected from the venue, kept in PostgreSQL, checked. Its checks block a tick, never a range."""
    shape = Shape(
        step=bars.STEP,
        description=(
            f"Closed bars of {market.name} from {market.market.venue} ({market.base_interval}, decided on "
            f"{market.decision_interval}), upserted by the UTC time the venue returned. A run fetches what is missing; "
            "a restated bar keeps its old value beside it. In a run of several sessions bad data does not stop the run: "
            "it becomes HOLD with `bad_data`."
        ),
        kinds=frozenset({"postgres", market.market.venue}),
        schema=(*ROW_KEY, *((name, kind, f"{name} of the bar") for name, kind in bars.SCHEMA)),
        pool=f"{market.name}_market_data",
    )
    arguments = asset_arguments(market, shape)

    @dg.asset(**arguments, check_specs=check_specs(arguments["key"], market))
    def materialize(
        context: dg.AssetExecutionContext, desk: dg.ResourceParam[DeskProvider], options: RunOptions
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, dagster reads only the bare class
        opened = desk.get()

        def told(text: str, part: float) -> None:
            context.log.info(f"{part:.0%}: {text}")
            opened.progress(text, part)

        found = bars.run(
            opened,
            market,
            sessions_of(context),
            run_context(context, opened, market, options),
            collect=options.collect,
            repair=options.repair,
            progress=told,
        )
        return report(context, found.result, checks=check_results(market, found, tick=options.tick))

    return cast(dg.AssetsDefinition, materialize)
