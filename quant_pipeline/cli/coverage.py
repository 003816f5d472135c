"""`quant coverage`: what is stored of each symbol over time, holes at a glance. What is a hole is said by coverage."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quant_pipeline.cli.desk import load, open_database, prepare_process
from quant_pipeline.cli.errors import BadInputError
from quant_pipeline.cli.options import (
    ConfigOption,
    FromOption,
    JsonOption,
    MarketArgument,
    SymbolsOption,
    ToOption,
    days_of,
    interval_of,
    market_of,
    symbols_of,
)
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

    from quant_pipeline.storage.coverage import Coverage
    from quant_pipeline.storage.repairs import BarRepair

_MOST_COLUMNS = 60
_LEGEND = "█ whole  ▓ 90 % and more  ▒ half and more  ░ less  · no bar  (blank: never looked at)"
_UNITS = (("session", 10), ("month", 7), ("year", 4))
"""Names of what one block stands for, and how much of an ISO date names it."""


def coverage_command(
    market: MarketArgument,
    *,
    symbols: SymbolsOption = None,
    interval: Annotated[str | None, typer.Option(help="Default: every interval that is stored.")] = None,
    first: FromOption = None,
    last: ToOption = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show how much of each symbol's sessions is stored: one block a session, month or year, and the holes counted."""
    settings = load(config)
    chosen = market_of(settings, market)
    names, span = symbols_of(symbols), days_of(first, last)
    kind = None if interval is None else interval_of(interval, "")
    prepare_process(settings)
    with open_database(settings) as db:
        from quant_pipeline.storage.coverage import read_coverage
        from quant_pipeline.storage.repairs import read_repairs

        rows = read_coverage(db, chosen.name, names, *span, interval=kind)
        tried = [r for r in read_repairs(db, chosen.name, *span) if names is None or r.symbol in names]
    unknown = sorted(set(names or ()) - {row.symbol for row in rows})
    if unknown:
        msg = f"--symbols {unknown[0]}: nothing of it is recorded in {chosen.name} in that span; leave it out, or import it"
        raise BadInputError(msg)
    content: dict[str, Any] = {
        "market": chosen.name,
        "intervals": [_described(name, own) for name, own in _by_interval(rows)],
    }
    content["repairs"] = [_repair(row, chosen.quality.repair_tries) for row in tried]
    show(content, lambda console: _print(rows, content["repairs"], chosen.name, console), as_json=as_json)


@dataclass(slots=True)
class _Counts:
    """Slots of some sessions: expected, with a bar, known to have had no trade."""

    sessions: int = 0
    complete: int = 0
    expected: int = 0
    present: int = 0
    no_trade: int = 0
    holes: list[tuple[date, int]] = field(default_factory=list)

    def add(self, row: Coverage) -> None:
        """Count a session. Bars outside the grid (before the open) fill no slot."""
        present = min(row.present, row.expected)
        absent = row.expected - present - row.no_trade
        self.sessions += 1
        self.complete += row.status == "complete"
        self.expected += row.expected
        self.present += present
        self.no_trade += row.no_trade
        if absent > 0:
            self.holes.append((row.session, absent))

    @property
    def absent(self) -> int:
        """Slots of which is not known why there is no bar."""
        return sum(absent for _, absent in self.holes)

    def block(self) -> str:
        """The sign for how much of it is there."""
        known = self.present + self.no_trade
        if self.absent == 0:
            return "█"
        if known == 0:
            return "·"
        share = known / self.expected
        return "▓" if share >= 0.9 else "▒" if share >= 0.5 else "░"


def _by_interval(rows: Iterable[Coverage]) -> list[tuple[str, list[Coverage]]]:
    from quant_pipeline.importers.grid import INTERVALS

    found: dict[str, list[Coverage]] = defaultdict(list)
    for row in rows:
        found[row.interval].append(row)
    return sorted(found.items(), key=lambda item: INTERVALS.get(item[0], 0))


def _by_symbol(rows: Iterable[Coverage]) -> list[tuple[str, list[Coverage]]]:
    found: dict[str, list[Coverage]] = defaultdict(list)
    for row in rows:
        found[row.symbol].append(row)
    return sorted(found.items())


def _counted(rows: Iterable[Coverage]) -> _Counts:
    counts = _Counts()
    for row in rows:
        counts.add(row)
    return counts


def _by_unit(rows: Iterable[Coverage], length: int) -> dict[str, _Counts]:
    found: dict[str, _Counts] = defaultdict(_Counts)
    for row in rows:
        found[row.session.isoformat()[:length]].add(row)
    return found


def _unit(rows: Sequence[Coverage], calendar: str) -> tuple[str, int, list[str]]:
    """The finest unit of which the table holds all from the first to the last session, and its names in order."""
    from quant_pipeline.markets.calendar import sessions

    days = [day.isoformat() for day in sessions(calendar, rows[0].session, rows[-1].session)]
    choices = [(name, length, list(dict.fromkeys(day[:length] for day in days))) for name, length in _UNITS]
    return next((choice for choice in choices if len(choice[2]) <= _MOST_COLUMNS), choices[-1])


def _described(interval: str, rows: list[Coverage]) -> dict[str, Any]:
    listed = []
    for symbol, own in _by_symbol(rows):
        counts = _counted(own)
        months = _by_unit(own, 7)
        listed.append(
            {
                "symbol": symbol,
                "first": own[0].session,
                "last": own[-1].session,
                **{name: getattr(counts, name) for name in ("sessions", "complete", "expected", "present", "no_trade")},
                "absent": counts.absent,
                "holes": [{"session": session, "absent": absent} for session, absent in counts.holes],
                "months": {
                    m: {"expected": c.expected, "present": c.present, "absent": c.absent} for m, c in months.items()
                },
            }
        )
    return {"interval": interval, "symbols": listed}


def _repair(row: BarRepair, most: int) -> dict[str, Any]:
    """A hole that was asked for again in vain."""
    names = ("session", "symbol", "interval", "tries", "last_try", "reason")
    return {**{name: getattr(row, name) for name in names}, "given_up": row.tries >= most}


def _print(rows: Sequence[Coverage], repairs: Sequence[dict[str, Any]], market: str, console: Console) -> None:
    from rich.table import Table

    from quant_pipeline.markets.market import get_market

    if not rows:
        console.print(f"nothing of {market} is recorded in that span; `quant import` and `quant backfill` bring bars")
        return
    for interval, own in _by_interval(rows):
        name, length, units = _unit(own, get_market(market).calendar)
        table = Table("symbol", title=f"{market} {interval}: {units[0]} to {units[-1]}, one block a {name}")
        table.add_column("there", no_wrap=True)
        for title in ("sessions", "whole", "bars", "no trade", "absent"):
            table.add_column(title, justify="right")
        for symbol, listed in _by_symbol(own):
            counts, found = _counted(listed), _by_unit(listed, length)
            blocks = "".join(found[unit].block() if unit in found else " " for unit in units)
            numbers = (counts.sessions, counts.complete, counts.present, counts.no_trade, counts.absent)
            table.add_row(symbol, blocks, *(f"{number:,}" for number in numbers))
        console.print(table)
    console.print(_LEGEND)
    for one in repairs:
        tries = f"given up after {one['tries']} tries" if one["given_up"] else f"{one['tries']} tries"
        text = f"{one['symbol']} {one['session']} {one['interval']}: {tries}: {one['reason']}"
        console.print(text, markup=False)
