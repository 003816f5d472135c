"""Candlesticks with volume as one HTML file that needs no network. Slots without a bar stay empty and are marked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    import plotly.graph_objects as go

_UP, _DOWN, _ABSENT = "#2e8b57", "#c0392b", "rgba(128, 128, 128, 0.25)"
_TICKS = 12


@dataclass(frozen=True, slots=True)
class Candles:
    """What is drawn: a bar frame of one symbol, the starts that the market's grid holds there, the zone of labels."""

    title: str
    bars: pd.DataFrame
    slots: pd.DatetimeIndex
    zone: str
    daily: bool


def candle_figure(candles: Candles) -> go.Figure:
    """The figure. Its time axis has a place for every slot and every bar and none for hours in which it is closed."""
    from plotly import graph_objects as go
    from plotly.subplots import make_subplots

    bars, times = candles.bars, pd.DatetimeIndex(candles.bars["ts"])
    every = times.union(candles.slots)
    labels, absent = _labels(times, candles), _labels(candles.slots.difference(times), candles)
    colours = [_UP if up else _DOWN for up in bars["close"] >= bars["open"]]
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        row_heights=[0.75, 0.25],
        vertical_spacing=0.03,
        specs=[[{"secondary_y": True}]] * 2,
    )
    prices = {name: bars[name].tolist() for name in ("open", "high", "low", "close")}
    colour: dict[str, Any] = {"increasing_line_color": _UP, "decreasing_line_color": _DOWN}
    figure.add_trace(go.Candlestick(x=labels, name="price", **prices, **colour), row=1, col=1)
    figure.add_trace(go.Bar(x=labels, y=bars["volume"].tolist(), name="volume", marker_color=colours), row=2, col=1)
    _mark_absent(figure, absent)
    axis = {"type": "category", "categoryorder": "array", "categoryarray": _labels(every, candles), "nticks": _TICKS}
    figure.update_xaxes(**axis)
    figure.update_layout(
        title=candles.title, xaxis_rangeslider_visible=False, bargap=0.1, template="plotly_white", hovermode="x"
    )
    figure.update_yaxes(title_text="price", row=1, col=1, secondary_y=False)
    figure.update_yaxes(title_text="volume", row=2, col=1, secondary_y=False)
    return figure


def _mark_absent(figure: go.Figure, absent: Sequence[str]) -> None:
    """A grey column over the whole height at every slot without a bar."""
    from plotly import graph_objects as go

    for row in (1, 2):
        mark = go.Bar(
            x=absent,
            y=[1] * len(absent),
            name="no bar",
            marker_color=_ABSENT,
            width=1,
            hovertemplate="%{x}: no bar<extra></extra>",
            showlegend=row == 1,
        )
        figure.add_trace(mark, row=row, col=1, secondary_y=True)
        figure.update_yaxes(range=[0, 1], visible=False, fixedrange=True, row=row, col=1, secondary_y=True)


def candle_html(candles: Candles) -> str:
    """The whole page, with the program that draws it inside (about 5 MB)."""
    page: str = candle_figure(candles).to_html(include_plotlyjs=True, full_html=True)
    return page


def _labels(times: pd.DatetimeIndex, candles: Candles) -> Sequence[str]:
    local = times.tz_convert(candles.zone)
    labels: list[str] = local.strftime("%Y-%m-%d" if candles.daily else "%Y-%m-%d %H:%M").tolist()
    return labels
