"""Alpaca's market data API for stocks: bars, latest quote, trade and bar, snapshots. No account."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE
from quant_pipeline.exchange.exchange import Exchange
from quant_pipeline.exchange.feed import Feed, Tick
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.routing import Route, route
from quant_pipeline.exchange.words import rfc3339, rfc3339_array
from quant_pipeline.markets.calendar import NEW_YORK

MAX_BARS = 10_000
DEFAULT_BARS = 1_000
_ADJUSTMENTS = ("raw", "split", "dividend", "spin-off", "all")
_FEEDS = ("sip", "iex", "delayed_sip", "otc", "boats", "overnight")


class QueryError(Exception):
    """A query parameter is refused; the text is what the venue answers."""

    def __init__(self, name: str, value: str = "", text: str = "") -> None:
        """Refuse `value` for the parameter `name`, in the words of `text` where the venue has its own."""
        super().__init__(text or (f"invalid {name}: {value}" if value else f"{name} is required"))


@dataclass(frozen=True, slots=True)
class BarsQuery:
    """A bars request: bounds in epoch seconds, `end` inclusive as on the wire; `after` is where the page begins."""

    symbols: tuple[str, ...]
    seconds: int
    start: int
    end: int
    limit: int
    newest_first: bool
    after: tuple[str, int] | None


def data_routes(exchange: Exchange) -> tuple[Route, ...]:
    """The endpoints of the data API."""
    api = DataApi(exchange)
    return tuple(
        route("GET", path, endpoint, "data")
        for path, endpoint in (
            ("/v2/stocks/bars", api.bars),
            ("/v2/stocks/bars/latest", api.latest_bars),
            ("/v2/stocks/quotes/latest", api.latest_quotes),
            ("/v2/stocks/trades/latest", api.latest_trades),
            ("/v2/stocks/snapshots", api.snapshots),
            ("/v2/stocks/{symbol}/bars", api.symbol_bars),
        )
    )


class DataApi:
    """One method per endpoint."""

    def __init__(self, exchange: Exchange) -> None:
        """Answer from the stock feed of `exchange`."""
        self._exchange = exchange

    @property
    def _feed(self) -> Feed:
        return self._exchange.us.feed

    def bars(self, request: Request, _names: dict[str, str]) -> Reply:
        """Bars of several symbols, symbol by symbol, in pages."""
        now = self._exchange.now()
        try:
            query = parse_bars_query(request, now, request.value("symbols") or "")
        except QueryError as wrong:
            return json_reply(400, {"message": str(wrong)})
        bars, token = self._page(query, now)
        return json_reply(200, {"bars": bars, "next_page_token": token})

    def symbol_bars(self, request: Request, names: dict[str, str]) -> Reply:
        """Bars of one symbol."""
        now = self._exchange.now()
        try:
            query = parse_bars_query(request, now, names["symbol"])
        except QueryError as wrong:
            return json_reply(400, {"message": str(wrong)})
        bars, token = self._page(query, now)
        symbol = query.symbols[0]
        return json_reply(200, {"bars": bars.get(symbol, []), "symbol": symbol, "next_page_token": token})

    def latest_bars(self, request: Request, _names: dict[str, str]) -> Reply:
        """The newest minute bar of each symbol, the forming one included."""
        now = self._exchange.now()
        found = {}
        for symbol in self._known(request):
            bars = self._feed.last_bars(symbol, MINUTE, 1, int(now.timestamp()) + 1, now)
            if len(bars):
                found[symbol] = bars_json(bars)[0]
        return json_reply(200, {"bars": found})

    def latest_quotes(self, request: Request, _names: dict[str, str]) -> Reply:
        """Best bid and ask of each symbol."""
        return json_reply(200, {"quotes": {tick.symbol: quote_json(tick) for tick in self._ticks(request)}})

    def latest_trades(self, request: Request, _names: dict[str, str]) -> Reply:
        """The last trade of each symbol."""
        return json_reply(200, {"trades": {tick.symbol: trade_json(tick) for tick in self._ticks(request)}})

    def snapshots(self, request: Request, _names: dict[str, str]) -> Reply:
        """Last trade, quote, minute bar and the last two daily bars of each symbol."""
        now = self._exchange.now()
        end = int(now.timestamp()) + 1
        found = {}
        for tick in self._ticks(request):
            minute = bars_json(self._feed.last_bars(tick.symbol, MINUTE, 1, end, now))
            days = bars_json(self._feed.last_bars(tick.symbol, DAY, 2, end, now))
            found[tick.symbol] = {
                "latestTrade": trade_json(tick),
                "latestQuote": quote_json(tick),
                "minuteBar": minute[-1] if minute else None,
                "dailyBar": days[-1] if days else None,
                "prevDailyBar": days[-2] if len(days) > 1 else None,
            }
        return json_reply(200, found)

    def _known(self, request: Request) -> list[str]:
        asked = (request.value("symbols") or "").split(",")
        return [symbol for symbol in dict.fromkeys(asked) if self._feed.lists(symbol)]

    def _ticks(self, request: Request) -> list[Tick]:
        now = self._exchange.now()
        ticks = (self._feed.tick(symbol, now) for symbol in self._known(request))
        return [tick for tick in ticks if tick is not None]

    def _page(self, query: BarsQuery, now: datetime) -> tuple[dict[str, list[dict[str, object]]], str | None]:
        """One page of bars, and the token of the next one."""
        page: dict[str, list[dict[str, object]]] = {}
        room = query.limit
        for symbol in sorted(s for s in query.symbols if self._feed.lists(s)):
            start, end = query.start, query.end + 1
            if query.after is not None:
                if symbol < query.after[0]:
                    continue
                if symbol == query.after[0]:
                    start, end = (start, query.after[1]) if query.newest_first else (query.after[1] + 1, end)
            bars = self._feed.bars(symbol, query.seconds, start, end, now)
            if not len(bars):
                continue
            if not room:
                return page, _token(*_last_of(page))
            chosen = bars.part(max(0, len(bars) - room), len(bars)) if query.newest_first else bars.part(0, room)
            rows = bars_json(chosen)
            page[symbol] = rows[::-1] if query.newest_first else rows
            room -= len(rows)
            if len(chosen) < len(bars):
                return page, _token(symbol, int(chosen.ts[0] if query.newest_first else chosen.ts[-1]))
        return page, None


def parse_bars_query(request: Request, now: datetime, symbols: str) -> BarsQuery:
    """The parameters of a bars request.

    Raises:
        QueryError: one of them is refused.
    """
    named = tuple(s for s in dict.fromkeys(symbols.split(",")) if s)
    if not named:
        raise QueryError("symbols")
    for symbol in named:
        if not re.fullmatch(r"[A-Z][A-Z0-9./]*", symbol):
            raise QueryError("symbol", symbol)
    for name, choices in (("adjustment", _ADJUSTMENTS), ("feed", _FEEDS), ("sort", ("asc", "desc"))):
        value = request.value(name)
        if value and not set(value.split(",")) <= set(choices):
            raise QueryError(name, value)
    limit = request.value("limit") or str(DEFAULT_BARS)
    if not limit.isdigit() or not 1 <= int(limit) <= MAX_BARS:
        raise QueryError("limit", limit)
    midnight = datetime.combine(now.astimezone(NEW_YORK).date(), datetime.min.time(), NEW_YORK)
    token = request.value("page_token")
    return BarsQuery(
        symbols=named,
        seconds=_seconds(request.value("timeframe") or ""),
        start=_bound(request, "start", midnight),
        end=_bound(request, "end", now),
        limit=int(limit),
        newest_first=request.value("sort") == "desc",
        after=None if not token else _read_token(token),
    )


def _seconds(timeframe: str) -> int:
    """Seconds of a timeframe such as 5Min, 1Hour or 1Day."""
    match = re.fullmatch(r"(\d{1,2})(Min|T|Hour|H|Day|D)", timeframe)
    if match is None:
        raise QueryError("timeframe", timeframe)
    count, unit = int(match[1]), match[2]
    allowed, seconds = {"M": (59, MINUTE), "T": (59, MINUTE), "H": (23, HOUR), "D": (1, DAY)}[unit[0]]
    if not 1 <= count <= allowed:
        raise QueryError("timeframe", timeframe)
    return count * seconds


def _bound(request: Request, name: str, default: datetime) -> int:
    """A time parameter in epoch seconds; a start within a second begins with the next one, an end ends with it."""
    text = request.value(name)
    if not text:
        return int(default.timestamp())
    try:
        at = datetime.fromisoformat(text.replace(" ", "+"))
    except ValueError as error:
        message = f"Invalid format for parameter {name}: error parsing '{text}' as RFC3339 or 2006-01-02 time"
        raise QueryError(name, text=message) from error
    if at.tzinfo is None:
        # A bare date is a day in New York: its whole day when it is the end.
        at = at.replace(tzinfo=NEW_YORK if len(text) == 10 else UTC)
        if name == "end" and len(text) == 10:
            at += timedelta(days=1, seconds=-1)
    stamp = at.timestamp()
    return int(stamp) + (name == "start" and stamp > int(stamp))


def _token(symbol: str, ts: int) -> str:
    return base64.b64encode(f"{symbol}|{ts}".encode()).decode()


def _read_token(token: str) -> tuple[str, int]:
    try:
        symbol, _, ts = base64.b64decode(token, validate=True).decode().partition("|")
        return symbol, int(ts)
    except (binascii.Error, UnicodeDecodeError, ValueError) as error:
        raise QueryError("page_token", token) from error


def _last_of(page: dict[str, list[dict[str, object]]]) -> tuple[str, int]:
    symbol = list(page)[-1]
    return symbol, int(datetime.fromisoformat(str(page[symbol][-1]["t"])).timestamp())


def bars_json(bars: BarColumns) -> list[dict[str, object]]:
    """Bars as the data API writes them: numbers, with a trade count and a volume-weighted price."""
    columns = zip(
        rfc3339_array(bars.ts),
        bars.open.tolist(),
        bars.high.tolist(),
        bars.low.tolist(),
        bars.close.tolist(),
        bars.volume.tolist(),
        bars.value.tolist(),
        strict=True,
    )
    return [
        {
            "t": t,
            "o": o,
            "h": h,
            "l": low,
            "c": c,
            "v": int(v) if v.is_integer() else v,
            "n": max(1, int(v / 120)),
            "vw": round(value / v, 6) if v else c,
        }
        for t, o, h, low, c, v, value in columns
    ]


def quote_json(tick: Tick) -> dict[str, object]:
    """A quote as the data API writes it; sizes are in round lots."""
    return {
        "t": rfc3339(tick.quoted_at),
        "ax": "V",
        "ap": float(tick.ask),
        "as": 3,
        "bx": "V",
        "bp": float(tick.bid),
        "bs": 3,
        "c": ["R"],
        "z": "C",
    }


def trade_json(tick: Tick) -> dict[str, object]:
    """A trade as the data API writes it."""
    return {
        "t": rfc3339(tick.traded_at),
        "x": "V",
        "p": float(tick.price),
        "s": 100,
        "c": ["@"],
        "i": int(tick.traded_at.timestamp()) % 1_000_000,
        "z": "C",
    }
