"""The seeded generator: minute bars inside the session paths, and everything coarser as exact aggregates of them.

What the generated market is and is not: see `paths`. Any session can be made without those before it.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np

from quant_pipeline.exchange.bars.columns import BarColumns, Floats, Ints, empty_columns, join
from quant_pipeline.exchange.bars.grid import on_grid
from quant_pipeline.exchange.bars.noise import bell, quarters, words
from quant_pipeline.exchange.bars.paths import MODELS, first_generated, session_path
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE, rebucket, session_table
from quant_pipeline.exchange.bars.symbols import symbol_spec
from quant_pipeline.markets.market import Market

_BLOCK_ROWS = 12_000
"""Minutes made at once: small enough for the processor's cache, large enough to forget Python's overhead."""

_KEPT_MINUTE_BLOCKS = 64
_COMMON_WEIGHT = 0.5
_VALUE_UNIT = 2.0**-10
"""Turnover is a multiple of this, and volume of the lot below: sums of them are exact doubles in whatever order."""


class GeneratedBars:
    """A `BarSource` whose bars follow from (seed, symbol, session) alone, byte for byte, in every process."""

    def __init__(self, market: Market, seed: int, symbols: tuple[str, ...]) -> None:
        """List `symbols` (any names; unknown ones get a plausible level) in the market of `seed`."""
        self._market = market
        self._seed = seed
        self._symbols = tuple(sorted(symbols))
        self._table = session_table(market.name)
        self._first = first_generated(market.name)
        self._slots = int((self._table.closes - self._table.opens).max()) // MINUTE
        self._block = max(1, _BLOCK_ROWS // self._slots)
        self._minutes: OrderedDict[tuple[str, int], BarColumns] = OrderedDict()
        self._common: dict[int, Floats] = {}
        self._coarse: dict[tuple[str, int, int], BarColumns] = {}

    @property
    def market(self) -> Market:
        """The market whose symbols these are."""
        return self._market

    def symbols(self) -> tuple[str, ...]:
        """All symbols, sorted."""
        return self._symbols

    def begins(self, symbol: str) -> int:
        """The opening time of the first session (epoch seconds)."""
        self._require(symbol)
        return int(self._table.opens[self._first])

    def columns(self, symbol: str, seconds: int, start: int, end: int) -> BarColumns:
        """Complete bars of `seconds` (86400: sessions) stamped in [start, end), epoch seconds.

        Raises:
            KeyError: the symbol is not listed.
        """
        self._require(symbol)
        first, stop = self._table.covering(start, end)
        first = max(first, self._first)
        if first >= stop:
            return empty_columns()
        blocks = range(first // self._block, (stop - 1) // self._block + 1)
        return join([self._bars(symbol, seconds, block) for block in blocks]).between(start, end)

    def path(self, symbol: str, start: int, end: int) -> BarColumns:
        """The minute bars that open in [start, end).

        Raises:
            KeyError: the symbol is not listed.
        """
        return self.columns(symbol, MINUTE, start, end)

    def _require(self, symbol: str) -> None:
        if symbol not in self._symbols:
            raise KeyError(symbol)

    def _bars(self, symbol: str, seconds: int, block: int) -> BarColumns:
        if seconds == MINUTE:
            return self._minute_block(symbol, block)
        key = (symbol, seconds, block)
        if key not in self._coarse:
            # Days and half days are made of hours, which are kept: 60 times fewer rows than minutes.
            finer = self._bars(symbol, HOUR, block) if seconds > HOUR and seconds % HOUR == 0 else None
            base = self._minute_block(symbol, block) if finer is None else finer
            self._coarse[key] = rebucket(self._market, base, min(seconds, DAY))
        return self._coarse[key]

    def _minute_block(self, symbol: str, block: int) -> BarColumns:
        key = (symbol, block)
        if key in self._minutes:
            self._minutes.move_to_end(key)
            return self._minutes[key]
        made = self._make(symbol, block)
        self._minutes[key] = made
        if len(self._minutes) > _KEPT_MINUTE_BLOCKS:
            self._minutes.popitem(last=False)
        return made

    def _make(self, symbol: str, block: int) -> BarColumns:
        """All minutes of one block of sessions."""
        first = max(block * self._block, self._first)
        sessions = np.arange(first, min((block + 1) * self._block, len(self._table.days)))
        steps, detail = self._noise(symbol, sessions)
        opens, highs, lows, closes, volumes = self._shapes(symbol, sessions, steps, detail)
        slot = np.arange(self._slots)
        traded = slot < self._counts(sessions)[:, None]
        absent = MODELS[self._market.name].absent_rate * symbol_spec(symbol).volatility
        if absent > 0.0:
            traded &= detail[3] >= absent
        ts = (self._table.opens[sessions, None] + slot * MINUTE)[traded]
        o, h, low, c = (on_grid(self._market.name, prices[traded]) for prices in (opens, highs, lows, closes))
        lot = self._lot(symbol)
        volume = np.maximum(np.rint(volumes[traded] / lot), 1.0) * lot
        value = np.rint((o + h + low + c) * 0.25 * volume / _VALUE_UNIT) * _VALUE_UNIT
        return BarColumns(ts, ts, ts + MINUTE, o, h, low, c, volume, value)

    def _shapes(self, symbol: str, sessions: Ints, steps: Floats, detail: Floats) -> tuple[Floats, ...]:
        """Open, high, low, close and volume of every slot (sessions, slots), before ticks and lots."""
        path, row = session_path(self._seed, self._market.name, symbol), sessions - self._first
        sd = path.intraday_sd[row]
        points = np.exp(bridge(path.log_open[row], path.log_close[row], sd, steps, self._counts(sessions)))
        opens, closes = points[:, :-1], points[:, 1:]
        reach = sd[:, None] * (0.9 / np.sqrt(self._slots))
        highs = np.maximum(opens, closes) * (1.0 + reach * detail[0] * detail[0])
        lows = np.minimum(opens, closes) * (1.0 - reach * detail[1] * detail[1])
        share = _intraday_shape(self._slots) ** 2 * (0.35 + 1.3 * detail[2] * detail[2]) / (0.783 * self._slots)
        # A minute that moves more than usual trades more than usual.
        volumes = path.activity[row, None] * share * (0.5 + (highs / lows - 1.0) / (2.5 * reach))
        return opens, highs, lows, closes, volumes

    def _counts(self, sessions: Ints) -> Ints:
        """The number of minutes in each session."""
        return (self._table.closes[sessions] - self._table.opens[sessions]) // MINUTE

    def _noise(self, symbol: str, sessions: Ints) -> tuple[Floats, Floats]:
        """Steps (sessions, minutes) correlated between symbols, and four numbers in [0, 1) per minute."""
        shape = (len(sessions), self._slots)
        start, count = (int(sessions[0]) - self._first) * self._slots, len(sessions) * self._slots
        spare = start % 4

        def read(*parts: str) -> np.ndarray[tuple[int, ...], np.dtype[np.uint64]]:
            return words(self._seed, start - spare, count + spare, self._market.name, *parts)[spare:].reshape(shape)

        block = int(sessions[0])
        if block not in self._common:
            self._common[block] = np.sqrt(_COMMON_WEIGHT) * bell(read("minute steps"))
            if len(self._common) > _KEPT_MINUTE_BLOCKS:
                del self._common[next(iter(self._common))]
        steps = self._common[block] + np.sqrt(1.0 - _COMMON_WEIGHT) * bell(read(symbol, "minute steps"))
        return steps, quarters(read(symbol, "minute detail"))

    def _lot(self, symbol: str) -> float:
        """The smallest volume: one share, or a power of two that suits the coin's usual volume."""
        if self._market.calendar != "always":
            return 1.0
        return float(2.0 ** -min(26, 43 - int(np.ceil(np.log2(symbol_spec(symbol).activity)))))


def _intraday_shape(slots: int) -> Floats:
    """How lively each slot of a session is, with mean square 1: high at both ends, calm in the middle."""
    middle = (np.arange(slots) + 0.5) / slots - 0.5
    shape = 0.7 + 3.0 * middle * middle
    scaled: Floats = shape / np.sqrt(np.mean(shape * shape))
    return scaled


def bridge(log_open: Floats, log_close: Floats, sd: Floats, steps: Floats, counts: Ints) -> Floats:
    """Brownian bridges from `log_open` to `log_close`, a row per session: (n, slots) steps give (n, slots + 1) points.

    A session of fewer slots (`counts`) ends there; the points past its end repeat its close.
    """
    slots = steps.shape[1]
    out = np.empty((len(steps), slots + 1))
    out[:, 0] = log_open
    for count in np.unique(counts):
        rows = counts == count
        shape = _intraday_shape(int(count))
        weight = np.cumsum(shape * shape) / count
        walk = np.cumsum(steps[rows, :count] * (shape / np.sqrt(count)), axis=1)
        free = walk - walk[:, -1:] * weight
        drop = (log_close - log_open)[rows, None]
        out[rows, 1 : count + 1] = log_open[rows, None] + weight * drop + sd[rows, None] * free
        out[rows, count:] = log_close[rows, None]
    return out
