"""How results of steps become Dagster metadata. No step and no asset is defined here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import dagster as dg

from quant_pipeline.core.values import Origin
from quant_pipeline.resources import RunOptions
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.tables import Number, RunContext, SessionOutcome, StepResult

Schema = tuple[tuple[str, str, str], ...]
"""Columns of a stored table as (name, type, description)."""


PHASE_TAG = "quant/phase"
"""On runs that recompute what changed bars made stale: which phase of it."""


def sessions_of(context: dg.AssetExecutionContext) -> tuple[date, ...]:
    """The partition keys of this run as dates, ascending."""
    return tuple(sorted(date.fromisoformat(key) for key in context.partition_keys))


def run_context(
    context: dg.AssetExecutionContext, desk: Desk, market: MarketSettings, options: RunOptions
) -> RunContext:
    """What the steps need to know about this run. The time is the market's clock, read once per step."""
    return RunContext(
        now=desk.clock(market),
        run_id=context.run.run_id,
        origin=_origin(context, options),
        tick=options.tick,
        symbols=tuple(options.symbols) or None,
    )


def _origin(context: dg.AssetExecutionContext, options: RunOptions) -> Origin:
    if options.tick:
        return Origin.LIVE
    return Origin.RESTATE if PHASE_TAG in context.run.tags else Origin.BACKFILL


def report(
    context: dg.AssetExecutionContext,
    result: StepResult,
    *,
    checks: Sequence[dg.AssetCheckResult] = (),
    extra: Mapping[str, Any] | None = None,
) -> dg.MaterializeResult[None]:
    """One materialization per partition with its own numbers, and the totals of the run."""
    several = len(result.outcomes) > 1
    for outcome in result.outcomes:
        if several:
            context.add_asset_metadata(_metadata(outcome), partition_key=outcome.session.isoformat())
    metadata: dict[str, Any] = {**_numbers(result.numbers), **(extra or {})}
    if several:
        metadata["sessions_reused"] = result.reused
    elif result.outcomes:
        metadata |= _metadata(result.outcomes[0])
    return dg.MaterializeResult(metadata=metadata, check_results=list(checks))


def column_schema(columns: Schema) -> dg.TableSchema:
    """The column schema that the UI shows."""
    return dg.TableSchema([dg.TableColumn(name, kind, description=text) for name, kind, text in columns])


def _metadata(outcome: SessionOutcome) -> dict[str, Any]:
    return {
        "dagster/partition_row_count": outcome.rows,
        "data_version": dg.MetadataValue.text(outcome.content_hash),
        **_numbers(outcome.numbers),
    }


def _numbers(numbers: Mapping[str, Number]) -> dict[str, Any]:
    """Numbers charted by the UI; texts shown as they are."""
    return {
        name: value if isinstance(value, int | float) else dg.MetadataValue.text(value)
        for name, value in numbers.items()
    }
