"""`quant bars`: stored bars of a symbol as a table, or as a chart in an HTML file. Absent bars are said, never made up."""

from __future__ import annotations

from datetime import datetime
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
    ToOption,
    interval_of,
    market_of,
    moment_of,
    span_of,
    symbols_of,
)
from quant_pipeline.cli.output import show

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pandas as pd
    from rich.console import Console

    from quant_pipeline.importers.values import Gap
    from quant_pipeline.markets.market import Market
    from quant_pipeline.storage.database import Database

_LAST = 50
_MOST_SLOTS = 50_000
"""More slots make a page that no browser moves in."""


def bars_command(
    market: MarketArgument,
    symbol: Annotated[str, typer.Argument(metavar="SYMBOL", help="For example AAPL or KRW-BTC.")],
    *,
    interval: Annotated[str | None, typer.Option(help="Default: the market's decision interval.")] = None,
    first: FromOption = None,
    last: ToOption = None,
    newest: Annotated[
        int | None,
        typer.Option("--last", min=1, help=f"Only the last N bars; default: {_LAST} without --from, else all."),
    ] = None,
    as_of: AsOfOption = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a candlestick chart with volume to this file.")
    ] = None,
    config: ConfigOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show the stored bars of a symbol, and where the market's grid has a slot without one."""
    settings = load(config)
    chosen = market_of(settings, market)
    (name,) = _one_symbol(symbol)
    if html is not None and (html.is_dir() or not html.parent.is_dir()):
        msg = f"--html {html} cannot be written; name a file in a folder that exists"
        raise BadInputError(msg)
    kind, span = interval_of(interval, chosen.decision_interval), span_of(first, last)
    known_at = None if as_of is None else moment_of(as_of, "--as-of")
    count = _LAST if newest is None and first is None else newest
    prepare_process(settings)
    with open_database(settings) as db:
        found = _read(db, chosen.market, name, kind, span, count, known_at)
    if html is not None:
        _write_chart(html, found)
    show(_described(found, html), lambda console: _print(found, html, console), as_json=as_json)


class _Found:
    """The bars, the slots that the grid holds beside them, and runs of slots without a bar."""

    def __init__(
        self,
        market: Market,
        symbol: str,
        interval: str,
        bars: pd.DataFrame,
        slots: pd.DatetimeIndex,
        gaps: Sequence[Gap],
    ) -> None:
        self.market, self.symbol, self.interval = market, symbol, interval
        self.bars, self.slots, self.gaps = bars, slots, gaps


def _one_symbol(text: str) -> tuple[str, ...]:
    names = symbols_of(text)
    if names is None or len(names) != 1:
        msg = f"SYMBOL {text!r} is not one symbol; write for example AAPL or KRW-BTC"
        raise BadInputError(msg)
    return names


def _read(
    db: Database,
    market: Market,
    symbol: str,
    interval: str,
    span: tuple[datetime, datetime],
    count: int | None,
    as_of: datetime | None,
) -> _Found:
    import pandas as pd

    from quant_pipeline.cli.stored_bars import stored_ends
    from quant_pipeline.importers.grid import gaps_of, residue_of, slots_between
    from quant_pipeline.storage.bars_read import known_span, read_bars

    if as_of is None:
        stored_ends(db, market.name, interval, symbol)
    ends = known_span(db, market.name, interval, [symbol])
    bars = read_bars(db, market.name, interval, [symbol], *span, as_of=as_of, with_origin=True)
    bars = bars if count is None else bars.tail(count).reset_index(drop=True)
    empty = pd.DatetimeIndex([], tz="UTC").as_unit("ns")
    if ends is None or bars.empty:
        return _Found(market, symbol, interval, bars, empty, ())
    ts = pd.DatetimeIndex(bars["ts"])
    # Before the first and after the last bar that is known nothing is absent; inside, the whole span counts.
    begin = ts[0] if count is not None else max(pd.Timestamp(span[0]), pd.Timestamp(ends[0]))
    end = min(pd.Timestamp(span[1]) - pd.Timedelta(1, "ns"), pd.Timestamp(ends[1]))
    grid = slots_between(market.calendar, interval, begin, end, residue_of(ts, interval, market.calendar))
    slots = pd.DatetimeIndex(grid.view("datetime64[ns]")).tz_localize("UTC")
    kept = slots >= begin
    return _Found(market, symbol, interval, bars, slots[kept], gaps_of(symbol, ts, grid[kept]))


def _write_chart(path: Path, found: _Found) -> None:
    from quant_pipeline.charts.candles import Candles, candle_html
    from quant_pipeline.exporters.whole_files import whole_file

    if found.bars.empty:
        msg = f"no {found.interval} bars of {found.symbol} are stored in that span; check --from and --to"
        raise BadInputError(msg)
    if len(found.slots) > _MOST_SLOTS:
        msg = (
            f"the span has {len(found.slots):,} slots, a chart holds up to {_MOST_SLOTS:,}; "
            "shorten it with --from and --to, or take a longer --interval"
        )
        raise BadInputError(msg)
    zone, daily = found.market.timezone, found.interval == "1d"
    title = f"{found.symbol} {found.interval}, {found.market.name}" + ("" if daily else f" ({zone} time)")
    page = candle_html(Candles(title, found.bars, found.slots, zone, daily=daily))
    with whole_file(path) as (file, keep):
        file.write(page.encode())
        keep()


def _described(found: _Found, html: Path | None) -> dict[str, Any]:
    columns = ("ts", "open", "high", "low", "close", "volume")
    values = [found.bars["ts"].dt.strftime("%Y-%m-%dT%H:%M:%SZ").tolist()]
    values += [found.bars[name].tolist() for name in columns[1:]]
    return {
        "market": found.market.name,
        "symbol": found.symbol,
        "interval": found.interval,
        "bars": [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)],
        "origins": [
            {"source": source, "feed": feed, "adjustment": adjustment, "first": first, "last": last, "bars": bars}
            for source, feed, adjustment, first, last, bars in _origins(found)
        ],
        "absent": [{"first": gap.first, "last": gap.last, "slots": gap.slots} for gap in found.gaps],
        "html": html,
    }


def _print(found: _Found, html: Path | None, console: Console) -> None:
    import pandas as pd
    from rich.table import Table

    if html is not None:
        console.print(f"{html}: {len(found.bars):,} bars, {_absent(found)} slots without one", markup=False)
        return
    if found.bars.empty:
        console.print(f"no {found.interval} bars of {found.symbol} in that span", markup=False)
        return
    local = found.bars["ts"].dt.tz_convert(found.market.timezone).dt.strftime("%Y-%m-%d %H:%M").tolist()
    table = Table("UTC", found.market.timezone, title=f"{found.symbol} {found.interval}")
    for name in ("open", "high", "low", "close", "volume"):
        table.add_column(name, justify="right")
    gaps = sorted(found.gaps, key=lambda gap: gap.first)
    times = pd.DatetimeIndex(found.bars["ts"]).to_pydatetime()
    numbers = found.bars.loc[:, ["open", "high", "low", "close", "volume"]].to_numpy()
    for at, clock, row in zip(times, local, numbers, strict=True):
        while gaps and gaps[0].first < at:
            table.add_row(*_gap_row(gaps.pop(0)), style="dim")
        table.add_row(f"{at:%Y-%m-%d %H:%M}", clock, *(f"{number:,.10g}" for number in row))
    for gap in gaps:
        table.add_row(*_gap_row(gap), style="dim")
    console.print(table)
    console.print(f"{len(found.bars):,} bars, {_absent(found)} slots without one")
    for source, feed, adjustment, first, last, bars in _origins(found):
        where = f"{source}, feed {feed}" if feed else source
        console.print(
            f"  {bars:,} from {where}, adjustment {adjustment}: {first:%Y-%m-%d} to {last:%Y-%m-%d}", markup=False
        )


def _origins(found: _Found) -> list[tuple[str, str, str, datetime, datetime, int]]:
    """Where the bars come from: source, feed, adjustment, first and last start, and how many."""
    if found.bars.empty:
        return []
    groups = found.bars.groupby(["source", "feed", "adjustment"], sort=True)["ts"]
    return [
        (*(str(name) for name in key), times.min().to_pydatetime(), times.max().to_pydatetime(), len(times))
        for key, times in groups
    ]


def _gap_row(gap: Gap) -> tuple[str, str]:
    last = f" to {gap.last:%Y-%m-%d %H:%M}" if gap.slots > 1 else ""
    return f"{gap.first:%Y-%m-%d %H:%M}{last}", f"{gap.slots:,} absent"


def _absent(found: _Found) -> str:
    return f"{sum(gap.slots for gap in found.gaps):,}"
