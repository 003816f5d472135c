"""The graph of the shipped settings as plain text, and the file it is compared with. No assertions about it here.

Renew the file after a deliberate change, and look at its difference in git:

    .venv/bin/python -m quant_pipeline_tests.assets.snapshot
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
from dagster._core.definitions.assets.graph.asset_graph import AssetGraph, AssetNode

from quant_pipeline.build import build_definitions
from quant_pipeline.settings import load_settings

REPOSITORY = Path(__file__).parents[2]
PATH = Path(__file__).with_name("graph.txt")
RENEW = ".venv/bin/python -m quant_pipeline_tests.assets.snapshot"


def shipped_definitions() -> dg.Definitions:
    """The definitions of the repository's own `quant.toml`, whatever the environment says."""
    return build_definitions(load_settings(REPOSITORY / "quant.toml", environ={}))


def describe(defs: dg.Definitions) -> str:
    """What a person relies on: keys, groups, kinds, dependencies, partitions, checks, jobs, schedules, sensors."""
    graph = defs.resolve_asset_graph()
    nodes = sorted(graph.asset_nodes, key=lambda node: node.key.to_user_string())
    lines = [line for node in nodes for line in (*_asset(graph, node), "")]
    return "\n".join([*lines, *_jobs(defs), "", *_schedules(defs), "", *_sensors(defs)]) + "\n"


def _asset(graph: AssetGraph, node: AssetNode) -> Iterator[str]:
    definition, policy = node.partitions_def, node.backfill_policy
    assert isinstance(definition, dg.TimeWindowPartitionsDefinition)
    assert policy is not None
    limit = policy.max_partitions_per_run
    yield f"asset {node.key.to_user_string()}"
    yield f"  group {node.group_name}; kinds {_listed(node.kinds)}; owners {_listed(node.owners)}"
    yield f"  partitions {_partitions(definition)}; {'all' if limit is None else limit} in a run"
    yield from (f"  pool {pool}" for pool in sorted(node.pools or ()))
    for key in sorted(node.parent_keys, key=lambda key: key.to_user_string()):
        yield f"  needs {key.to_user_string()}: {_mapping(node.partition_mappings.get(key))}"
    for check in sorted(node.check_keys, key=lambda key: key.name):
        yield f"  check {check.name}: {'blocking' if graph.get(check).blocking else 'reported'}"
    schema = node.metadata.get("dagster/column_schema")
    if schema is not None:
        yield from (f"  column {column.name}: {column.type}" for column in schema.columns)


def _partitions(definition: dg.TimeWindowPartitionsDefinition) -> str:
    excluded = definition.exclusions or ()
    crons = [f"without {one!r}" for one in excluded if isinstance(one, str)]
    days = len(excluded) - len(crons)
    parts = [f"{definition.cron_schedule!r} from {definition.start.date()} in {definition.timezone}", *crons]
    return ", ".join([*parts, *([f"without {days} days"] if days else []), f"end offset {definition.end_offset}"])


def _mapping(mapping: dg.PartitionMapping | None) -> str:
    if mapping is None:
        return "the same partition"
    assert isinstance(mapping, dg.TimeWindowPartitionMapping)
    if (mapping.start_offset, mapping.end_offset) == (0, 0):
        return "the partition that contains it"
    return f"partitions {mapping.start_offset:+d} to {mapping.end_offset:+d}"


def _jobs(defs: dg.Definitions) -> Iterator[str]:
    for job in sorted(defs.get_repository_def().get_all_jobs(), key=lambda job: job.name):
        if job.name.startswith("__"):
            continue
        keys = sorted(key.to_user_string() for key in job.asset_layer.selected_asset_keys)
        yield f"job {job.name}"
        yield from (f"  tag {name}: {value}" for name, value in sorted(job.tags.items()))
        yield f"  runs {' '.join(keys)}"


def _schedules(defs: dg.Definitions) -> Iterator[str]:
    for schedule in sorted(defs.get_repository_def().schedule_defs, key=lambda one: one.name):
        when = f"{schedule.cron_schedule!r} in {schedule.execution_timezone}"
        yield f"schedule {schedule.name}: {when}, {schedule.default_status.value} at first, runs {schedule.job_name}"


def _sensors(defs: dg.Definitions) -> Iterator[str]:
    for sensor in sorted(defs.get_repository_def().sensor_defs, key=lambda one: one.name):
        jobs = _listed(target.job_name for target in sensor.targets or () if target.job_name)
        when = f"{sensor.sensor_type.value}, every {sensor.minimum_interval_seconds} s"
        yield f"sensor {sensor.name}: {when}, {sensor.default_status.value} at first, runs {jobs}"


def _listed(names: object) -> str:
    assert names is None or hasattr(names, "__iter__")
    return " ".join(sorted(names or ())) or "nothing"


if __name__ == "__main__":
    PATH.write_text(describe(shipped_definitions()), encoding="utf-8")
