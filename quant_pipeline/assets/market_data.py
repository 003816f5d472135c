"""The bars asset of a market, with its checks. Collecting and validating are steps."""

from typing import Any, cast

import dagster as dg

from quant_pipeline.assets.reporting import report, run_context, sessions_of
from quant_pipeline.assets.spec import ROW_KEY, Shape, asset_arguments
from quant_pipeline.core.bars import Violation
from quant_pipeline.resources import DeskProvider, RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import bars

CHECKS = {
    "schema": (
        "every bar has the expected columns and types, finite numbers",
        {"missing_column", "wrong_type", "not_finite"},
    ),
    "ohlc_sanity": (
        "low <= open, close <= high, prices above zero, volume not negative",
        {"price_not_positive", "low_above_body", "high_below_body", "negative_volume"},
    ),
    "no_duplicates": ("one bar for each symbol and time, in order", {"duplicate", "unsorted"}),
}
_SHOWN = 20


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
    specs = [
        dg.AssetCheckSpec(name, asset=arguments["key"], description=text, blocking=True)
        for name, (text, _) in CHECKS.items()
    ]

    @dg.asset(**arguments, check_specs=specs)
    def materialize(
        context: dg.AssetExecutionContext, desk: dg.ResourceParam[DeskProvider], options: RunOptions
    ) -> dg.MaterializeResult:  # type: ignore[type-arg]  # with checks, dagster reads only the bare class
        opened = desk.get()
        sessions = sessions_of(context)

        def told(text: str, part: float) -> None:
            context.log.info(f"{part:.0%}: {text}")
            opened.progress(text, part)

        run = run_context(context, opened, market, options)
        found = bars.run(opened, market, sessions, run, collect=options.collect, progress=told)
        severity = dg.AssetCheckSeverity.ERROR if options.tick else dg.AssetCheckSeverity.WARN
        checks = [check_result(name, found.violations, severity) for name in CHECKS]
        return report(context, found.result, checks=checks)

    return cast(dg.AssetsDefinition, materialize)


def check_result(name: str, violations: tuple[Violation, ...], severity: dg.AssetCheckSeverity) -> dg.AssetCheckResult:
    """The result of one check: passed, or the first violations as a table."""
    _, rules = CHECKS[name]
    broken = [v for v in violations if v.rule in rules]
    lines = [f"{v.symbol} {v.ts} {v.rule}: {v.value}" for v in broken[:_SHOWN]]
    metadata: dict[str, Any] = {
        "violations": len(broken),
        "first": dg.MetadataValue.md("\n".join(f"- {line}" for line in lines) or "none"),
    }
    return dg.AssetCheckResult(passed=not broken, check_name=name, severity=severity, metadata=metadata)
