"""A source of bars with splits and dividends in it: prices from an ex-date on as they would have traded. No accounts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from quant_pipeline.exchange.actions import ActionList, ScriptedAction
from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.grid import on_grid
from quant_pipeline.exchange.bars.sessions import DAY
from quant_pipeline.exchange.bars.source import BarSource
from quant_pipeline.markets.market import Market

_LOOK_BACK = 14 * DAY


class ActedBars:
    """A `BarSource` that shows another one, whose prices know no actions, as raw prices with `actions`."""

    def __init__(self, inner: BarSource, actions: ActionList) -> None:
        """Show `inner` with whatever `actions` holds when bars are asked for."""
        self._inner = inner
        self._actions = actions

    @property
    def market(self) -> Market:
        """The market whose symbols these are."""
        return self._inner.market

    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        return self._inner.symbols()

    def begins(self, symbol: str) -> int:
        """The opening time of the first bar of a symbol (epoch seconds)."""
        return self._inner.begins(symbol)

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        """See `BarSource.columns`."""
        return self._acted(symbol, self._inner.columns(symbol, seconds, start, end), self._actions.of(symbol))

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        """See `BarSource.path`."""
        return self._acted(symbol, self._inner.path(symbol, start, end), self._actions.of(symbol))

    def _acted(self, symbol: str, bars: BarColumns, actions: tuple[ScriptedAction, ...]) -> BarColumns:
        """The bars after the given actions, which are in order of time; turnover stays what it was."""
        price, volume = np.ones(len(bars)), np.ones(len(bars))
        for number, action in enumerate(actions):
            after = bars.opens >= action.effective
            if not after.any():
                continue
            if action.ratio is not None:
                price[after] /= float(action.ratio)
                volume[after] *= float(action.ratio)
            else:
                price[after] *= 1.0 - float(action.amount or 0) / self._close_before(symbol, action, actions[:number])
        changed = price != 1.0
        if not changed.any():
            return bars
        prices = {}
        for name in ("open", "high", "low", "close"):
            values = getattr(bars, name) * price
            values[changed] = on_grid(self.market.name, values[changed])
            prices[name] = values
        return replace(bars, volume=bars.volume * volume, **prices)

    def _close_before(self, symbol: str, action: ScriptedAction, earlier: tuple[ScriptedAction, ...]) -> float:
        """The last close before a dividend, after the actions before it.

        Raises:
            ValueError: there is none, or it is not worth more than the dividend.
        """
        days = self._inner.columns(symbol, DAY, action.effective - _LOOK_BACK, action.effective - DAY // 2)
        close = float(self._acted(symbol, days, earlier).close[-1]) if len(days) else 0.0
        if close <= float(action.amount or 0):
            msg = f"the dividend {action.key} of {action.amount} exceeds the close before it, {close}"
            raise ValueError(msg)
        return close
