"""The candlestick chart: exactly the bars that are there, an empty and marked place for those that are not."""

from __future__ import annotations

import pandas as pd
import pytest

from quant_pipeline.charts.candles import Candles, candle_figure, candle_html
from quant_pipeline.importers.grid import slots_between

NEW_YORK = "America/New_York"


def _candles() -> Candles:
    """Half hours of five minutes before and after a night, two of them absent, one before the open."""
    first, last = pd.Timestamp("2026-03-06T15:30", tz=NEW_YORK), pd.Timestamp("2026-03-09T10:00", tz=NEW_YORK)
    grid = slots_between("nyse", "5m", first.tz_convert("UTC"), last.tz_convert("UTC"), 0)
    slots = pd.DatetimeIndex(grid.view("datetime64[ns]")).tz_localize("UTC")
    slots = slots[slots >= first]
    early = pd.DatetimeIndex([pd.Timestamp("2026-03-09T08:00", tz=NEW_YORK).tz_convert("UTC")])
    times = slots.delete([2, 3]).union(early)
    numbers = pd.Series(range(len(times)), dtype="float64")
    values = {"open": numbers + 10, "high": numbers + 12, "low": numbers + 9, "close": numbers + 11, "volume": numbers}
    return Candles("X", pd.DataFrame({"symbol": "X", "ts": times, **values}), slots, NEW_YORK, daily=False)


def test_only_bars_are_drawn_and_absent_slots_keep_their_place() -> None:
    candles = _candles()
    figure = candle_figure(candles)
    price, volume, *marks = figure.data
    there = [f"{ts:%Y-%m-%d %H:%M}" for ts in candles.bars["ts"].dt.tz_convert(NEW_YORK)]
    assert (price.type, volume.type) == ("candlestick", "bar")
    assert list(price.x) == list(volume.x) == there
    assert list(price.close) == candles.bars["close"].tolist()
    assert list(volume.y) == candles.bars["volume"].tolist()
    absent = ["2026-03-06 15:40", "2026-03-06 15:45"]
    assert [(mark.name, list(mark.x)) for mark in marks] == [("no bar", absent)] * 2
    axis = list(figure.layout.xaxis.categoryarray)
    assert figure.layout.xaxis.type == "category"
    assert axis == sorted(there + absent)  # every slot has a place, the night and the weekend have none
    assert axis[axis.index("2026-03-06 15:55") + 1] == "2026-03-09 08:00"


def test_the_page_needs_no_network() -> None:
    page = candle_html(_candles())
    assert "Plotly.newPlot" in page
    assert '<script src="http' not in page
    assert len(page) > 1_000_000


@pytest.mark.parametrize(("daily", "label"), [(True, "2026-03-06"), (False, "2026-03-06 15:30")])
def test_daily_bars_are_labelled_by_their_day(daily: bool, label: str) -> None:  # noqa: FBT001
    candles = _candles()
    figure = candle_figure(Candles("X", candles.bars, candles.slots, NEW_YORK, daily=daily))
    assert figure.data[0].x[0] == label
