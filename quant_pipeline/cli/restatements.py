"""`quant restatements`: past bars that changed after results were made from them, and what used the old bytes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption, market_of, moment_of
from quant_pipeline.cli.output import notes, show

if TYPE_CHECKING:
    from rich.console import Console

    from quant_pipeline.storage.bar_usage import Usage
    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.restatements import Restatement

_SHADOW = "shadow"
_SHOWN = 3


def restatements_command(
    market: Annotated[str | None, typer.Argument(metavar="[MARKET]", help="Default: both markets.")] = None,
    *,
    symbol: Annotated[str | None, typer.Option(metavar="SYMBOL", help="Only this symbol.")] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Only what was found at or after this time, e.g. 2026-03-02T15:30Z."),
    ] = None,
    limit: Annotated[int, typer.Option(metavar="N", help="The newest N events.")] = 50,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """List restated bars with the partitions, predictions, decisions, models and orders that used the old bytes."""
    if limit < 1:
        msg = f"--limit {limit} is below 1; give the number of events to show"
        raise BadInputError(msg)
    settings = load(config)
    chosen = None if market is None else market_of(settings, market).name
    at = None if since is None else moment_of(since, "--since")
    prepare_process(settings)
    with open_database(settings) as db:
        from quant_pipeline.storage.restatements import restatements
        from quant_pipeline.storage.touched import count_touched

        content = report(db, restatements(db, chosen, symbol=symbol, since=at, limit=limit))
        waiting = sum(count_touched(db, name) for name in ([chosen] if chosen else [m.name for m in settings.markets]))
    show(content, lambda console: _print(content, console), as_json=as_json)
    if waiting:
        notes().print(
            f"bars of {waiting} (symbol, session) were written since somebody looked: whether they restate anything is "
            "judged by the sensor changed_bars, or by the next run of those sessions (`quant backfill`)"
        )


def report(db: Database, events: Sequence[Restatement]) -> list[dict[str, Any]]:
    """Each event with what used the old bytes; times are UTC. `decisions` and `orders` are the broker's, live ones too."""
    from quant_pipeline.storage.bar_usage import bar_usage

    if not events:
        return []
    used = bar_usage(db, [event.id for event in events])
    return [{**_event(event), **_used(event.id, used)} for event in events]


def _event(event: Restatement) -> dict[str, Any]:
    from quant_pipeline.storage.sql import columns_of

    return {name: getattr(event, name) for name in columns_of(type(event))}


def _used(event: int, used: Usage) -> dict[str, Any]:
    partitions = [one for one in used.partitions if one.event == event]
    decided = [one for one in used.decisions if one.event == event]
    shadow = [one for one in decided if one.book == _SHADOW]
    steps = dict.fromkeys(one.step for one in partitions)
    return {
        "partitions": {step: _sessions(one.session for one in partitions if one.step == step) for step in steps},
        "waiting": {
            step: waiting
            for step in steps
            if (waiting := _sessions(one.session for one in partitions if one.step == step and one.is_current))
        },
        "predictions": _sessions(one.session for one in partitions if one.step == "predictions"),
        "models": [
            {"id": one.id, "month": one.month, "status": one.status} for one in used.models if one.event == event
        ],
        "shadow": {"decisions": len(shadow), "sessions": _sessions(one.session for one in shadow)},
        "decisions": [
            {"id": d.id, "book": d.book, "bar": d.bar_ts, "action": d.action, "reason": d.reason, "origin": d.origin}
            for d in decided
            if d.book != _SHADOW
        ],
        "orders": [
            {
                "client_id": o.client_id, "book": o.book, "side": o.side, "state": o.state, "filled_qty": o.filled_qty,
                "planned_at": o.planned_at, "decision_id": o.decision_id,
            }
            for o in used.orders
            if o.event == event
        ],
    }  # fmt: skip


def _sessions(days: Iterable[date]) -> list[date]:
    return sorted(set(days))


def _print(content: Sequence[Mapping[str, Any]], console: Console) -> None:
    from rich.table import Table

    if not content:
        console.print("no bar was restated")
        return
    table = Table(
        "found", "market", "symbol", "session", "what", "used by", "decisions", "orders", title="Restatements"
    )
    for row in content:
        table.add_row(
            f"{row['detected_at']:%Y-%m-%d %H:%M}",
            row["market"],
            row["symbol"],
            str(row["session"]),
            f"{row['bars']} {row['interval']} {row['kind']}",
            "\n".join(_lines(row)),
            f"{len(row['decisions'])} and {row['shadow']['decisions']} of the shadow",
            _some([order["client_id"] for order in row["orders"]]),
        )
    console.print(table)


def _lines(row: Mapping[str, Any]) -> list[str]:
    lines = [f"{step}: {_span(days)}{_waiting(row, step)}" for step, days in row["partitions"].items()]
    models = _some([model["id"] for model in row["models"]])
    return [*lines, f"model versions: {models}"] if row["models"] else lines


def _span(days: Sequence[date]) -> str:
    return str(days[0]) if len(days) == 1 else f"{len(days)} from {days[0]} to {days[-1]}"


def _waiting(row: Mapping[str, Any], step: str) -> str:
    left = len(row["waiting"].get(step, ()))
    return f" ({left} not made anew yet)" if left else ""


def _some(names: Sequence[str]) -> str:
    if not names:
        return "none"
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
