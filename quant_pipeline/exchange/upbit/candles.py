"""Upbit's candles: minutes, days, weeks, months; newest first, the forming one included. No account."""

from __future__ import annotations

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import DAY, MINUTE
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import Feed
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.upbit.params import Params, parse_instant, read_params
from quant_pipeline.exchange.upbit.periods import calendar_periods
from quant_pipeline.exchange.upbit.words import quotation_error
from quant_pipeline.exchange.words import naive_seoul_array, naive_utc_array

MINUTE_UNITS = (1, 3, 5, 10, 15, 30, 60, 240)
MAX_CANDLES = 200


def candle_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints that tell prices of the past."""
    api = CandleApi(exchange)
    return tuple(
        route("GET", path, endpoint, "candles")
        for path, endpoint in (
            ("/v1/candles/minutes/{unit}", api.minutes),
            ("/v1/candles/days", api.days),
            ("/v1/candles/weeks", api.weeks),
            ("/v1/candles/months", api.months),
        )
    )


class CandleError(Exception):
    """A candle request is refused; `reply` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        """Remember the answer."""
        super().__init__(message)
        self.reply = quotation_error(status, message)


class CandleApi:
    """One method per endpoint."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer from the crypto feed of `exchange`."""
        self._exchange = exchange

    @property
    def _feed(self) -> Feed:
        return self._exchange.krw.feed

    def minutes(self, request: Request, names: dict[str, str]) -> Reply:
        """Candles of some minutes."""
        unit = int(names["unit"]) if names["unit"].isdigit() else 0
        if unit not in MINUTE_UNITS:
            return quotation_error(400, f"unit {names['unit']} is not one of {', '.join(map(str, MINUTE_UNITS))}")
        try:
            symbol, bars = self._candles(read_params(request), unit * MINUTE)
        except CandleError as refused:
            return refused.reply
        return json_reply(200, [{**row, "unit": unit} for row in candles_json(symbol, bars)])

    def days(self, request: Request, _names: dict[str, str]) -> Reply:
        """Daily candles, from 00:00 UTC, with the change since the day before."""
        try:
            symbol, bars = self._candles(read_params(request), DAY, extra=1)
        except CandleError as refused:
            return refused.reply
        count = self._count(read_params(request))
        before = [*([float(bars.open[0])] if len(bars) else []), *bars.close.tolist()[:-1]][::-1]
        rows = candles_json(symbol, bars)
        for row, previous in zip(rows, before, strict=True):
            change = float(row["trade_price"]) - previous  # type: ignore[arg-type]
            row |= {"prev_closing_price": previous, "change_price": change, "change_rate": round(change / previous, 10)}
        return json_reply(200, rows[:count])

    def weeks(self, request: Request, _names: dict[str, str]) -> Reply:
        """Weekly candles, from Monday."""
        return self._periods(request, "week")

    def months(self, request: Request, _names: dict[str, str]) -> Reply:
        """Monthly candles."""
        return self._periods(request, "month")

    def _periods(self, request: Request, unit: str) -> Reply:
        params = read_params(request)
        try:
            count = self._count(params)
            symbol, days = self._candles(params, DAY, extra=count * 31 + 31 - count)
        except CandleError as refused:
            return refused.reply
        bars = calendar_periods(days, unit)
        rows = candles_json(symbol, bars)[:count]
        for row in rows:
            row["first_day_of_period"] = str(row["candle_date_time_utc"])[:10]
        return json_reply(200, rows)

    def _count(self, params: Params) -> int:
        """How many candles are asked for; more than a page counts as a page, as on the venue."""
        count = params.whole("count", 1)
        if count is None or count < 1:
            raise CandleError(400, f"count {params.one('count')} must be a whole number from 1 to {MAX_CANDLES}")
        return min(count, MAX_CANDLES)

    def _candles(self, params: Params, seconds: int, *, extra: int = 0) -> tuple[str, BarColumns]:
        """Symbol and candles of a request, oldest first; `extra` more of them than asked for."""
        now = self._exchange.now()
        symbol = params.one("market") or ""
        if not self._feed.lists(symbol):
            raise CandleError(404, "Code not found")
        before = int(now.timestamp()) + 1
        text = params.one("to")
        if text is not None:
            at = parse_instant(text)
            if at is None:
                raise CandleError(400, f"to {text} is not an ISO 8601 time")
            stamp = at.timestamp()
            before = min(before, int(stamp) + (stamp > int(stamp)))
        return symbol, self._feed.last_bars(symbol, seconds, self._count(params) + extra, before, now)


def candles_json(symbol: str, bars: BarColumns) -> list[dict[str, object]]:
    """Candles as the quotation API writes them, newest first: numbers, UTC and Korean time without a mark."""
    columns = zip(
        naive_utc_array(bars.ts),
        naive_seoul_array(bars.ts),
        bars.open.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        bars.close.tolist(),
        (bars.closes * 1000 - 1).tolist(),
        bars.value.tolist(),
        bars.volume.tolist(),
        strict=True,
    )
    rows: list[dict[str, object]] = [
        {
            "market": symbol,
            "candle_date_time_utc": utc,
            "candle_date_time_kst": kst,
            "opening_price": o,
            "high_price": h,
            "low_price": low,
            "trade_price": c,
            "timestamp": last,
            "candle_acc_trade_price": value,
            "candle_acc_trade_volume": volume,
        }
        for utc, kst, o, h, low, c, last, value, volume in columns
    ]
    return rows[::-1]
