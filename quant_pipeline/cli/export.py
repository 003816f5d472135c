"""`quant export`: stored bars into a file that `quant import` reads back. Writing it belongs to `exporters`."""

from __future__ import annotations

from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import (
    AsOfOption,
    ConfigOption,
    FromOption,
    JsonOption,
    MarketArgument,
    SymbolsOption,
    ToOption,
    interval_of,
    market_of,
    moment_of,
    span_of,
    symbols_of,
)
from quant_pipeline.cli.output import progress, show

if TYPE_CHECKING:
    from quant_pipeline.exporters.bars import Exported
    from quant_pipeline.storage.database import Database


def export_command(
    market: MarketArgument,
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Ends in .parquet, .csv or .csv.gz, which says how.")],
    *,
    symbols: SymbolsOption = None,
    interval: Annotated[str | None, typer.Option(help="Default: the market's decision interval.")] = None,
    first: FromOption = None,
    last: ToOption = None,
    as_of: AsOfOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write stored bars to a file, whole or not at all. Importing that file gives the same bars."""
    settings = load(config)
    chosen = market_of(settings, market)
    _check_path(out)
    kind = interval_of(interval, chosen.decision_interval)
    names, span = symbols_of(symbols), span_of(first, last)
    known_at = None if as_of is None else moment_of(as_of, "--as-of")
    prepare_process(settings)
    with open_database(settings) as db:
        done = _export(db, chosen.name, kind, names, span, out, known_at)
    content: dict[str, Any] = {
        "path": done.path,
        "market": chosen.name,
        "interval": kind,
        "rows": done.rows,
        "symbols": done.symbols,
        "first": done.first,
        "last": done.last,
        "as_of": known_at,
    }
    text = f"{done.path}: {done.rows:,} bars ({kind}) of {len(done.symbols)} symbols, {done.first} to {done.last}"
    show(content, lambda console: console.print(text, markup=False), as_json=as_json)


def _check_path(path: Path) -> None:
    from quant_pipeline.exporters.bars import SUFFIXES, suffix_of

    if suffix_of(path) is None:
        msg = f"{path} says not how to write it; end its name with one of {', '.join(SUFFIXES)}"
        raise BadInputError(msg)
    if path.is_dir() or not path.parent.is_dir():
        msg = f"{path} cannot be written: {path.parent} is not a folder, or the name is one; name a file in a folder"
        raise BadInputError(msg)


def _export(
    db: Database,
    market: str,
    interval: str,
    symbols: tuple[str, ...] | None,
    span: tuple[datetime, datetime],
    path: Path,
    as_of: datetime | None,
) -> Exported:
    from quant_pipeline.cli.stored_bars import require_stored
    from quant_pipeline.exporters.bars import export_bars
    from quant_pipeline.storage.bars_read import known_span

    if as_of is None:
        require_stored(db, market, interval, symbols or ())
    ends = known_span(db, market, interval, symbols)
    start, end = span if ends is None else (max(span[0], ends[0]), min(span[1], ends[1] + timedelta(microseconds=1)))
    with progress(f"exporting to {path.name}") as shown:
        months = max((end.year - start.year) * 12 + end.month - start.month + 1, 1)

        def show_month(month: datetime) -> None:
            shown(f"{month:%Y}", (month.year - start.year) * 12 + month.month - start.month + 1, months)

        done = None
        if ends is not None:
            done = export_bars(db, market, interval, symbols, start, end, path, as_of=as_of, on_progress=show_month)
    if done is None or done.rows == 0:
        stored = "none at all" if ends is None else f"they lie from {ends[0]:%Y-%m-%d} to {ends[1]:%Y-%m-%d}"
        msg = f"no {interval} bars of {market} are stored in that span ({stored}); check --interval, --from and --to"
        raise BadInputError(msg)
    return done
