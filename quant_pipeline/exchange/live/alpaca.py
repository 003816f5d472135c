"""Alpaca's stock data as a dry run reads it: bars, latest trades, quotes and bars, snapshots."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from quant_pipeline.exchange.alpaca.data import MAX_BARS, BarsQuery, QueryError, parse_bars_query
from quant_pipeline.exchange.bars.sessions import MINUTE
from quant_pipeline.exchange.feed import Tick, exact
from quant_pipeline.exchange.http import Reply, Request, json_reply
from quant_pipeline.exchange.live.memory import Json, Memory, amount, not_future, positive
from quant_pipeline.exchange.live.series import Row
from quant_pipeline.exchange.words import rfc3339

BARS, TRADES, QUOTES = "/v2/stocks/bars", "/v2/stocks/trades/latest", "/v2/stocks/quotes/latest"
_LATEST = {TRADES: "trades", QUOTES: "quotes", "/v2/stocks/bars/latest": "bars"}
_SNAPSHOTS = "/v2/stocks/snapshots"
_BATCH = 100
"""Symbols asked for at once."""


class AlpacaWire:
    """See `Wire`. Questions that name no feed are put for `feed`."""

    def __init__(self, feed: str) -> None:
        """Ask for `feed` (`iex` is the one without a subscription)."""
        self._feed = feed

    def question(self, request: Request) -> Request:
        """As asked; without a feed, for ours: the venue would take one that needs a subscription."""
        named = "" if request.value("feed") else f"feed={self._feed}"
        return Request("GET", request.path, "&".join(filter(None, (request.query, named))))

    def learn(self, question: Request, content: Any, memory: Memory, now: datetime) -> None:  # noqa: ANN401 - JSON
        """See `Wire.learn`."""
        if not isinstance(content, dict):
            msg = f"{question.path} is answered with no object"
            raise TypeError(msg)
        if question.path in _LATEST:
            self._learn_latest(question, _told(content[_LATEST[question.path]]), memory, now)
        elif question.path == _SNAPSHOTS:
            memory.learn_latest(_place(question), _told(content), now)
        elif question.path.endswith("/bars"):
            self._learn_bars(question, content, memory, now)

    def recall(self, question: Request, memory: Memory, now: datetime) -> Reply | None:
        """See `Wire.recall`. What is not a listed symbol has no entry, as at the venue."""
        if question.path in _LATEST or question.path == _SNAPSHOTS:
            asked = [symbol for symbol in _symbols(question) if symbol not in memory.refused]
            rows = {symbol: memory.latest.get((_place(question), symbol)) for symbol in asked}
            if not asked or None in rows.values():
                return None
            return json_reply(200, rows if question.path == _SNAPSHOTS else {_LATEST[question.path]: rows})
        return self._recall_bars(question, memory, now) if question.path.endswith("/bars") else None

    def unavailable(self, why: str) -> Reply:
        """A message with status 503."""
        return json_reply(503, {"message": f"no market data from Alpaca: {why}"})

    def refused(self, question: Request, status: int, content: Any, memory: Memory) -> bool:  # noqa: ANN401 - JSON
        """Alpaca names the symbol: `invalid symbol: X`."""
        message = str(content.get("message", "")) if status == 400 and isinstance(content, dict) else ""
        named = set(re.findall(r"[A-Z][A-Z0-9./]*", message)) & set(_symbols(question))
        memory.refused |= named
        return bool(named)

    def listing_questions(self, memory: Memory, now: datetime) -> list[Request]:
        """None: the data API has no list of symbols. One that has no last trade is not known to it."""
        del memory, now
        return []

    def quote_questions(self, symbols: Iterable[str], memory: Memory) -> list[Request]:
        """Two questions for up to a hundred symbols."""
        known = sorted(set(symbols) - memory.refused)
        batches = [",".join(known[n : n + _BATCH]) for n in range(0, len(known), _BATCH)]
        return [
            Request("GET", path, urlencode({"symbols": batch, "feed": self._feed}))
            for path in (QUOTES, TRADES)
            for batch in batches
        ]

    def minute_questions(self, since: dict[str, int], memory: Memory, now: datetime) -> list[Request]:
        """As few questions as one page each can answer; who is furthest behind is asked for first."""
        asked: list[Request] = []
        batch: list[str] = []
        until = int(now.timestamp())
        waiting = sorted((at, symbol) for symbol, at in since.items() if symbol not in memory.refused)
        for n, (_, symbol) in enumerate(waiting):
            batch.append(symbol)
            start = since[batch[0]]
            full = min(_BATCH, MAX_BARS // ((until - start) // MINUTE + 1))  # both ends are included
            if n + 1 == len(waiting) or len(batch) >= full:
                asked.append(self._bars_question(batch, "1Min", start, until))
                batch = []
        return asked

    def day_questions(self, symbols: Iterable[str], now: datetime) -> list[Request]:
        """The daily bars of the last days, for the change since the last close that positions state."""
        start = int((now - timedelta(days=10)).timestamp())
        return [self._bars_question(sorted(symbols), "1Day", start, int(now.timestamp()))]

    def _bars_question(self, symbols: list[str], timeframe: str, start: int, end: int) -> Request:
        asked = {
            "symbols": ",".join(symbols),
            "timeframe": timeframe,
            "start": rfc3339(datetime.fromtimestamp(start, UTC)),
            "end": rfc3339(datetime.fromtimestamp(end, UTC)),
            "adjustment": "raw",
            "limit": str(MAX_BARS),
            "feed": self._feed,
        }
        return Request("GET", BARS, urlencode(asked))

    def _learn_latest(self, question: Request, rows: dict[str, Json], memory: Memory, now: datetime) -> None:
        for row in rows.values():
            not_future(_told_at(row), now)
            if question.path == TRADES:
                positive(row["p"])
            elif question.path == QUOTES:  # an empty side is 0
                amount(row["bp"])
                amount(row["ap"])
        memory.learn_latest(_place(question), rows, now)
        if question.value("feed") != self._feed or question.path not in (TRADES, QUOTES):
            return
        if question.path == TRADES:  # all that are known have a last trade
            asked = set(_symbols(question))
            memory.refused = (memory.refused - set(rows)) | (asked - set(rows))
        for symbol in rows:
            tick = self._tick(symbol, memory)
            if tick is not None:
                memory.ticks[symbol] = tick

    def _tick(self, symbol: str, memory: Memory) -> Tick | None:
        """The last trade with the quote round it; where a side is empty (0), the last price."""
        trade = memory.latest.get((f"{TRADES}?{self._feed}", symbol))
        quote = memory.latest.get((f"{QUOTES}?{self._feed}", symbol))
        if trade is None or quote is None:
            return None
        price = exact(positive(trade["p"]))
        bid, ask = (exact(positive(quote[side])) if quote.get(side) else price for side in ("bp", "ap"))
        return Tick(symbol, price, _told_at(trade), _told_at(quote), bid, ask)

    def _learn_bars(self, question: Request, content: Json, memory: Memory, now: datetime) -> None:
        """Pages of a long answer are only passed on: the newest bars are what is worth keeping."""
        query = _bars_query(question, now)
        paged = content["next_page_token"] is not None or query.after is not None
        found = content["bars"] or {}
        by_symbol = {content["symbol"]: found} if isinstance(found, list) else found
        for symbol in query.symbols:
            told = [(_stamp(row), _row(row)) for row in by_symbol.get(symbol) or []]
            end = query.end + 1
            if paged and (query.after is not None or query.newest_first or len(query.symbols) > 1 or not told):
                continue
            if paged:
                end = told[-1][0] + 1
            memory.learn_bars((symbol, query.seconds, self._variant(question)), told, query.start, end, now)

    def _recall_bars(self, question: Request, memory: Memory, now: datetime) -> Reply | None:
        query = _bars_query(question, now)
        if query.after is not None:
            return None
        found: dict[str, list[Json]] = {}
        for symbol in query.symbols:
            series = memory.bars(symbol, query.seconds, self._variant(question))
            rows = memory.answer_from(series, query.start, query.end + 1, now)
            if rows is None:
                return None
            if rows:
                said = [row.said for row in rows]
                found[symbol] = said[::-1] if query.newest_first else said
        if sum(map(len, found.values())) > query.limit:
            return None
        if question.path == BARS:
            return json_reply(200, {"bars": found, "next_page_token": None})
        symbol = query.symbols[0]
        return json_reply(200, {"bars": found.get(symbol, []), "symbol": symbol, "next_page_token": None})

    def _variant(self, question: Request) -> str:
        """Empty for raw bars of our feed."""
        adjustment, feed = question.value("adjustment") or "raw", question.value("feed") or self._feed
        named = (adjustment, feed, question.value("asof") or "")
        return "" if named == ("raw", self._feed, "") else "/".join(named)


def _told(rows: dict[str, Json | None] | None) -> dict[str, Json]:
    """The rows of symbols of which the venue knows something; it writes null for the others."""
    return {symbol: dict(row) for symbol, row in (rows or {}).items() if row is not None}


def _place(question: Request) -> str:
    """Under which the latest rows of a question are kept: those of different feeds differ."""
    return f"{question.path}?{question.value('feed') or ''}"


def _symbols(question: Request) -> list[str]:
    return [symbol for symbol in dict.fromkeys((question.value("symbols") or "").split(",")) if symbol]


def _bars_query(question: Request, now: datetime) -> BarsQuery:
    """The question as our own data API reads it.

    Raises:
        ValueError: it is not one that the venue would have answered.
    """
    single = question.path.removeprefix("/v2/stocks/").removesuffix("/bars")
    symbols = question.value("symbols") or "" if question.path == BARS else single
    # The page token is the venue's own and opaque: only that there is one counts.
    token = question.value("page_token")
    plain = [pair for pair in question.pairs() if pair[0] != "page_token"]
    try:
        query = parse_bars_query(Request("GET", question.path, urlencode(plain)), now, symbols)
    except QueryError as error:
        raise ValueError(str(error)) from error
    return replace(query, after=("", 0)) if token else query


def _told_at(row: Json) -> datetime:
    at = datetime.fromisoformat(row["t"])
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _stamp(row: Json) -> int:
    return int(_told_at(row).timestamp())


def _row(row: Json) -> Row:
    volume, close = amount(row["v"]), positive(row["c"])
    turnover = volume * positive(row.get("vw") or close)
    return Row(row, positive(row["o"]), positive(row["h"]), positive(row["l"]), close, volume, turnover)
