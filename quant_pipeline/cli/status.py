"""`quant status`: what a person asks first about a running desk, read from storage. Nothing is changed."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.options import ConfigOption, JsonOption
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from quant_pipeline.settings import MarketSettings, Settings
    from quant_pipeline.storage.database import Database
    from quant_pipeline.storage.decisions import Decision

_FAR = datetime(9999, 1, 1, tzinfo=UTC)
_EQUITY_DAYS = 40


def status_command(
    *,
    runs: Annotated[bool, typer.Option("--runs/--no-runs", help="Also ask Dagster for unfinished runs (2 s).")] = True,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show each market: mode, switch, last bars, last decisions, open orders, equity, models, runs in progress."""
    settings = load(config)
    prepare_process(settings)
    with open_database(settings) as db:
        content: dict[str, Any] = {"settings_hash": settings.content_hash()}
        content["markets"] = [market_status(db, market) for market in settings.markets]
        if runs:
            content["runs"] = unfinished_runs(settings)
    show(content, lambda console: _print(content, console), as_json=as_json)


def market_status(db: Database, market: MarketSettings) -> dict[str, Any]:
    """What is stored about a market; times are UTC, money is in its currency."""
    from quant_pipeline.storage.control import control
    from quant_pipeline.storage.models import list_model_versions
    from quant_pipeline.storage.orders import open_orders

    switch = control(db, market.name)
    models = list_model_versions(db, market.name)
    pending = open_orders(db, market.name, market.broker_book)
    return {
        "market": market.name,
        "mode": market.mode,
        "currency": market.market.currency,
        "control": "running" if switch is None else switch.state,
        "control_note": "" if switch is None else switch.note,
        "bars": _bars(db, market),
        "decisions": _decided(db, market),
        "open_orders": [
            {"client_id": o.client_id, "symbol": o.symbol, "side": o.side, "state": o.state, "at": o.planned_at}
            for o in pending
        ],
        "equity": {book: _equity(db, market, book) for book in (market.broker_book, "shadow")},
        "models": {
            "versions": dict(sorted(Counter(version.status for version in models).items())),
            "newest_month": max((version.month for version in models), default=None),
        },
    }


def unfinished_runs(settings: Settings) -> list[dict[str, Any]]:
    """Runs of Dagster that are queued or in progress, newest first."""
    from quant_pipeline.dagster_instance import open_instance
    from quant_pipeline.runs import IN_PROGRESS

    with open_instance(settings, launcher="default") as instance:
        from dagster import RunsFilter

        records = instance.get_run_records(RunsFilter(statuses=IN_PROGRESS), limit=20)
    return [
        {
            "run_id": record.dagster_run.run_id,
            "job": record.dagster_run.job_name,
            "status": record.dagster_run.status.value.lower(),
            "partition": record.dagster_run.tags.get("dagster/partition"),
            "created": record.create_timestamp,
        }
        for record in records
    ]


def _bars(db: Database, market: MarketSettings) -> dict[str, Any]:
    """The newest base bar of each symbol, summed up."""
    from quant_pipeline.storage.bars_read import last_bars

    frame = last_bars(db, market.name, market.base_interval, market.symbols, 1, _FAR)
    found = frame["ts"]
    return {
        "interval": market.base_interval,
        "symbols": len(market.symbols),
        "symbols_with_bars": len(frame),
        "newest": found.max().to_pydatetime() if len(found) else None,
        "oldest_of_the_newest": found.min().to_pydatetime() if len(found) else None,
    }


def _decided(db: Database, market: MarketSettings) -> dict[str, Any] | None:
    """The last session that was decided, by book and reason."""
    from quant_pipeline.core.values import Book
    from quant_pipeline.storage.changes import last_stored_session
    from quant_pipeline.storage.decisions import latest_decisions

    session = last_stored_session(db, market.name, "decisions")
    if session is None:
        return None
    books = {
        book: latest_decisions(db, market.name, book, session, session) for book in (market.broker_book, Book.SHADOW)
    }
    return {"session": session, "by_reason": {str(book): _reasons(rows) for book, rows in books.items()}}


def _reasons(rows: Sequence[Decision]) -> dict[str, int]:
    return dict(sorted(Counter(row.reason for row in rows).items()))


def _equity(db: Database, market: MarketSettings, book: str) -> dict[str, Any] | None:
    """The newest marked equity of a book, and when that was."""
    from quant_pipeline.storage.changes import last_stored_session
    from quant_pipeline.storage.equity import equity_curve

    session = last_stored_session(db, market.name, "decisions")
    if session is None:
        return None
    start = datetime(session.year, session.month, session.day, tzinfo=UTC) - timedelta(days=_EQUITY_DAYS)
    curve = equity_curve(db, market.name, book, start, _FAR)
    if curve.empty:
        return None
    last = curve.iloc[-1]
    return {"at": last["at"].to_pydatetime(), "equity": float(last["equity"]), "cash": float(last["cash"])}


def _print(content: Mapping[str, Any], console: Console) -> None:
    from rich.table import Table

    table = Table("", *(row["market"] for row in content["markets"]), title="The desk")
    for label, describe in _ROWS:
        table.add_row(label, *(describe(row) for row in content["markets"]))
    console.print(table)
    for run in content.get("runs", []):
        where = f" of {run['partition']}" if run["partition"] else ""
        since = f"{run['created']:%Y-%m-%d %H:%M:%S} UTC"
        console.print(f"{run['job']}{where}: {run['status']} since {since} ({run['run_id'][:8]})")
    if "runs" in content and not content["runs"]:
        console.print("no run is queued or in progress")


def _bars_text(row: Mapping[str, Any]) -> str:
    bars = row["bars"]
    if bars["newest"] is None:
        return "none"
    return f"{bars['newest']:%Y-%m-%d %H:%M} UTC ({bars['symbols_with_bars']} of {bars['symbols']} symbols, {bars['interval']})"


def _decided_text(row: Mapping[str, Any]) -> str:
    if row["decisions"] is None:
        return "none"
    lines = [str(row["decisions"]["session"])]
    for book, reasons in row["decisions"]["by_reason"].items():
        lines.append(f"{book}: " + (", ".join(f"{n} {reason}" for reason, n in reasons.items()) or "none"))
    return "\n".join(lines)


def _equity_text(row: Mapping[str, Any]) -> str:
    known = {book: found for book, found in row["equity"].items() if found is not None}
    lines = [f"{book}: {e['equity']:,.2f} {row['currency']} ({e['at']:%Y-%m-%d %H:%M})" for book, e in known.items()]
    return "\n".join(lines) or "none"


def _models_text(row: Mapping[str, Any]) -> str:
    counts = ", ".join(f"{n} {status}" for status, n in row["models"]["versions"].items())
    return f"{counts} (newest month {row['models']['newest_month']:%Y-%m})" if counts else "none"


def _control_text(row: Mapping[str, Any]) -> str:
    return f"{row['control']} ({row['control_note']})" if row["control_note"] else str(row["control"])


_ROWS = (
    ("mode", lambda row: str(row["mode"])),
    ("switch", _control_text),
    ("last bars", _bars_text),
    ("last decisions", _decided_text),
    ("open orders", lambda row: str(len(row["open_orders"]))),
    ("equity", _equity_text),
    ("models", _models_text),
)
