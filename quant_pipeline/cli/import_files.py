"""`quant import`: price files into bars, shown file by file. How files are read and judged belongs to `importers`."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BAD_INPUT, BadInputError
from quant_pipeline.cli.options import ConfigOption, JsonOption, day_of
from quant_pipeline.cli.output import complain, progress, show
from quant_pipeline.importers.errors import SKIP_BAD_OPTION

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.console import Console

    from quant_pipeline.importers.store import ImportResult, Progress
    from quant_pipeline.storage.database import Database

_SHOWN_REJECTED = 3


def import_command(
    paths: Annotated[list[Path], typer.Argument(metavar="PATHS...", help="Files, or folders with price files.")],
    *,
    market: Annotated[str | None, typer.Option(help="us_equity or krw_crypto; default: by the symbol.")] = None,
    symbol: Annotated[str | None, typer.Option(help="Default: the symbol column or the file name.")] = None,
    interval: Annotated[str | None, typer.Option(help="1m, 5m, 15m, 1h, 4h, 1d; default: by the times.")] = None,
    tz: Annotated[str | None, typer.Option(help="Zone of times that are written without one.")] = None,
    stamp: Annotated[str | None, typer.Option(metavar="start|end", help="What a time names of its bar.")] = None,
    since: Annotated[str | None, typer.Option(metavar="DATE", help="Leave earlier rows out.")] = None,
    until: Annotated[str | None, typer.Option(metavar="DATE", help="Leave later rows out.")] = None,
    feed: Annotated[
        str | None, typer.Option(help="Whose trades these are: iex, sip, ...; default: by the file.")
    ] = None,
    skip_bad: Annotated[
        bool, typer.Option(SKIP_BAD_OPTION, help="Leave bad rows out and report them instead of refusing the file.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace also bars that are stored of a better source.")
    ] = False,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Read price files into bars: CSV, CSV.gz, zip or Parquet of known families, and Lean's factor and map files.

    Importing again, in other pieces or another order changes nothing: where sources disagree, the better one stays (raw
    prices before adjusted ones, then the market's own venue, then a consolidated feed).
    """
    given: dict[str, Any] = {"market": market, "symbol": symbol, "interval": interval, "tz": tz, "stamp": stamp}
    _check(paths, given)
    given |= {"since": _day(since, "--since"), "until": _day(until, "--until")}
    given |= {"bad_rows": "skip" if skip_bad else "refuse", "replace_better": replace, "feed": feed}
    settings = load(config)
    prepare_process(settings)
    with open_database(settings) as db:
        found = _import(db, paths, given)
        mixed = _mixed(db, found)
    show([_described(one) for one in found], lambda console: _print(found, console), as_json=as_json)
    for symbol, kinds in mixed.items():
        complain(
            f"{symbol} now has bars that were adjusted differently ({', '.join(kinds)}): indicators and models adjust each "
            "as it came, tables and charts show them as they are; `quant bars` says which is which"
        )
    refused = [one for one in found if one.outcome == "refused"]
    for one in refused:
        complain(f"refused: {one.reason}")
    if refused:
        raise typer.Exit(BAD_INPUT)


def _check(paths: Sequence[Path], given: Mapping[str, str | None]) -> None:
    """Refuse what no file could be read with."""
    from quant_pipeline.importers.grid import INTERVALS
    from quant_pipeline.markets.market import MARKETS

    missing = next((path for path in paths if not path.exists()), None)
    if missing is not None:
        msg = f"{missing} does not exist; name files, or folders with price files"
        raise BadInputError(msg)
    known = {"market": [m.name for m in MARKETS], "interval": list(INTERVALS), "stamp": ["start", "end"]}
    for name, values in known.items():
        if given[name] is not None and given[name] not in values:
            msg = f"--{name} {given[name]!r} is not known; use one of {', '.join(values)}"
            raise BadInputError(msg)
    if given["tz"] is not None:
        try:
            ZoneInfo(given["tz"])
        except (KeyError, OSError, ValueError) as error:
            msg = f"--tz {given['tz']!r} is not a time zone; use a name such as UTC, America/New_York or Asia/Seoul"
            raise BadInputError(msg) from error


def _day(text: str | None, option: str) -> object:
    return None if text is None else day_of(text, option)


def _import(db: Database, paths: Sequence[Path], given: Mapping[str, Any]) -> tuple[ImportResult, ...]:
    from quant_pipeline.importers.store import import_files

    with progress("importing") as shown:

        def show_step(step: Progress) -> None:
            shown(step.result.path.name, step.done, step.total)

        return import_files(db, paths, at=datetime.now(UTC), on_progress=show_step, **given)


def _mixed(db: Database, found: Sequence[ImportResult]) -> dict[str, tuple[str, ...]]:
    """Symbols that got bars and whose stored bars do not all come adjusted alike."""
    from quant_pipeline.storage.bars_read import adjustments_of

    mixed: dict[str, tuple[str, ...]] = {}
    for one in found:
        if one.market is not None and one.interval is not None and one.inserted + one.changed:
            kinds = adjustments_of(db, one.market, one.interval, one.symbols)
            mixed |= {f"{symbol} {one.interval}": names for symbol, names in kinds.items() if len(names) > 1}
    return mixed


def _described(one: ImportResult) -> dict[str, object]:
    names = ("path", "outcome", "reason", "market", "symbols", "interval", "format", "source", "adjustment", "stamp")
    counts = ("rows_read", "rows", "duplicates_dropped", "not_closed", "slots", "slots_missing")
    stored = ("first", "last", "inserted", "changed", "unchanged", "kept", "recorded", "removed")
    content: dict[str, object] = {name: getattr(one, name) for name in (*names, *counts, *stored)}
    content["gaps"] = len(one.gaps)
    content["sessions_changed"] = len({session for _, session in one.sessions})
    rows = [{"line": r.line, "column": r.column, "value": r.value, "problem": r.problem} for r in one.rejected]
    left = [
        {"symbol": o.symbol, "rows": o.rows, "first": o.first, "last": o.last, "reason": o.reason} for o in one.left_out
    ]
    return content | {"rejected": rows, "left_out": left}


def _print(found: Sequence[ImportResult], console: Console) -> None:
    from rich.table import Table

    stored = [one for one in found if one.outcome == "stored" and not one.is_reference]
    if stored:
        table = Table("file", "market", "symbol", "interval", title="Imported")
        for name in ("rows", "span", "gaps (bars)", "duplicates", "inserted", "changed", "unchanged", "kept"):
            table.add_column(name, justify="right" if name != "span" else "left")
        for one in stored:
            table.add_row(one.path.name, one.market, _symbols(one), one.interval, *_numbers(one))
        console.print(table)
    for one in found:
        for line in _notes(one):
            console.print(line, markup=False)
    changed = sum(one.inserted + one.changed for one in stored)
    refused = sum(one.outcome == "refused" for one in found)
    references = sum(one.is_reference for one in found)
    also = f", {references} factor and map files" if references else ""
    console.print(f"{len(stored)} files read{also}, {refused} refused, {changed:,} bars new or changed")
    if any(one.kept for one in stored):
        console.print("kept: bars that are stored of a better source and say something else; --replace replaces them")


def _notes(one: ImportResult) -> Iterator[str]:
    """What is to be said about one file beside its row."""
    if one.outcome == "passed_by":
        yield f"passed by: {one.reason}"
    if one.is_reference:
        what = "corporate actions" if one.format == "lean_factors" else "ticker spans"
        yield f"{one.path}: {one.symbols[0]}, {one.recorded} {what} new" + (
            f", {one.removed:,} stored bars of another company removed" if one.removed else ""
        )
    for left in one.left_out if one.outcome == "stored" else ():
        yield f"left out: {one.path}, {left.rows:,} rows {left.first:%Y-%m-%d} to {left.last:%Y-%m-%d}: {left.reason}"
    for row in one.rejected[:_SHOWN_REJECTED]:
        yield f"left out: {one.path}, line {row.line}, column {row.column!r}: {row.problem} (found {row.value!r})"
    if len(one.rejected) > _SHOWN_REJECTED:
        yield f"  and {len(one.rejected) - _SHOWN_REJECTED} more rows of {one.path.name} (--json lists all)"


def _symbols(one: ImportResult) -> str:
    return one.symbols[0] if len(one.symbols) == 1 else f"{len(one.symbols)} symbols"


def _numbers(one: ImportResult) -> list[str]:
    span = f"{one.first:%Y-%m-%d} to {one.last:%Y-%m-%d}" if one.first is not None and one.last is not None else ""
    gaps = f"{len(one.gaps)} ({one.slots_missing:,})" if one.gaps else "0"
    counts = (one.duplicates_dropped, one.inserted, one.changed, one.unchanged, one.kept)
    return [f"{one.rows:,}", span, gaps, *(f"{count:,}" for count in counts)]
