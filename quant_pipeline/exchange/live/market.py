"""One market of a dry run: passes clients' questions on to the venue, keeps prices up to date by itself, says how it is.

A question that the venue answers is answered in its own words. While it does not, the answer is what it told before,
with the times of then, or status 503 where that would not be the whole answer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import datetime

from quant_pipeline.exchange.bars.sessions import DAY, MINUTE, session_table
from quant_pipeline.exchange.http import Reply, Request
from quant_pipeline.exchange.live.memory import Memory
from quant_pipeline.exchange.live.upstream import Told, Upstream, UpstreamError
from quant_pipeline.exchange.live.wire import Wire

_LOG = logging.getLogger(__name__)

STALE_AFTER = 120
"""Seconds without a fresher quote, while the market is open, after which the venue counts as stale."""

_OVERLAP = 3 * MINUTE
"""How far back minutes are asked for again: venues correct the newest ones."""

_FIRST_LOOK = 200 * MINUTE
_PAGES = 20
"""Most pages of minutes in one round; a longer way back is gone in several."""

Needs = Callable[[], dict[str, int | None]]
"""Symbols held or with open orders; the time (epoch seconds) from which on an open order must be matched, or None."""


class LiveMarket:
    """The venue's prices of one market. Everything runs in one event loop."""

    def __init__(self, memory: Memory, wire: Wire, upstream: Upstream, now: Callable[[], datetime]) -> None:
        """Fill `memory` from `upstream`; `now` is the exchange's clock."""
        self.memory = memory
        self.upstream = upstream
        self._wire = wire
        self._now = now
        self._days_at: datetime | None = None
        self._minutes_at = 0

    def takes(self, request: Request) -> bool:
        """Whether a question can be one to the venue; any other is refused by the exchange's own rules of form."""
        return self.upstream.address.allows(request.path)

    async def answer(self, request: Request) -> Reply:
        """The answer to a client's question for market data."""
        question, now = self._wire.question(request), self._now()
        try:
            told = await self._ask(question, now)
        except UpstreamError as error:
            remembered = self._recall(question, now)
            return self._wire.unavailable(str(error)) if remembered is None else remembered
        return Reply(told.status, told.body)

    async def keep_up(self, seconds: float, needs: Needs) -> None:
        """Ask every so many `seconds`, for ever; a venue that fails is asked again after its rest."""
        while True:
            try:
                await self.poll(needs())
            except Exception:  # noqa: BLE001 - logged with its traceback, and told in the state
                # A defect here must not leave the exchange with prices that silently stand still.
                _LOG.exception("keeping up with %s failed", self.upstream.address.venue)
                self.upstream.failed("a defect of this program; see its log")
            await asyncio.sleep(max(seconds, self.upstream.resting))

    async def poll(self, needs: dict[str, int | None], *, probe: bool = False) -> None:
        """One round: last trades, quotes, minutes. What fails is in the state, and is asked for in the next round."""
        memory = self.memory
        memory.keep_from = {symbol: since for symbol, since in needs.items() if since is not None}
        watched = {*memory.configured, *needs}
        try:
            for question in self._wire.listing_questions(memory, self._now()):
                await self._ask_own(question, probe=probe)
            for question in self._wire.quote_questions(watched, memory):
                await self._ask_own(question, probe=probe)
            await self._minutes(watched)
            await self._days(set(needs))
        except UpstreamError:
            return

    def state(self, now: datetime) -> dict[str, object]:
        """What is asked where, what is known, and what is wrong (`problem`, None while all is well)."""
        health, ticks = self.upstream.health, self.memory.ticks.values()
        quoted = max((tick.quoted_at for tick in ticks), default=None)
        traded = max((tick.traded_at for tick in ticks), default=None)
        missing = sorted(set(self.memory.configured) - self.memory.symbols())
        return {
            "market": self.memory.market.name,
            "upstream": self.upstream.address.url,
            "problem": health.problem or self._staleness(quoted, now),
            "since": _text(health.since),
            "failures": health.failures,
            "requests": health.requests,
            "answered_at": _text(health.answered_at),
            "newest_quote": _text(quoted),
            "newest_trade": _text(traded),
            "priced": len(self.memory.ticks),
            "unknown_symbols": missing,
        }

    def _staleness(self, quoted: datetime | None, now: datetime) -> str | None:
        if quoted is None:
            return "no quote was told yet"
        at, table = int(now.timestamp()), session_table(self.memory.market.name)
        is_open = table.opened_by(at) > table.closed_by(at)
        age = (now - quoted).total_seconds()
        if not is_open or age <= STALE_AFTER:
            return None
        return f"stale: the newest quote is {age:.0f} s old ({quoted.isoformat()})"

    async def _ask(self, question: Request, now: datetime, *, probe: bool = False) -> Told:
        """The venue's answer, taken over into memory.

        Raises:
            UpstreamError: there is none that can be used.
        """
        told = await self.upstream.ask(question, probe=probe)
        if told.status == 200:
            try:
                self._wire.learn(question, told.content, self.memory, now)
            except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
                self.upstream.fail(f"unreadable answer to {question.path} ({type(error).__name__})")
        self.upstream.answered()
        return told

    def _recall(self, question: Request, now: datetime) -> Reply | None:
        try:
            return self._wire.recall(question, self.memory, now)
        except ValueError:  # a question that makes no sense; the venue would have said so
            return None

    async def _ask_own(self, question: Request, *, probe: bool = False) -> None:
        """A question of ours; what the venue refuses of it is noted.

        Raises:
            UpstreamError: no usable answer, or a refusal.
        """
        told = await self._ask(question, self._now(), probe=probe)
        if told.status != 200 and not self._wire.refused(question, told.status, told.content, self.memory):
            self.upstream.fail(f"refused {question.path} with {told.status}")

    async def _minutes(self, watched: set[str]) -> None:
        """Minutes of all symbols once a minute, of those with open orders in every round."""
        at = int(self._now().timestamp())
        due = at // MINUTE != self._minutes_at
        behind = self._known_until(watched if due else self.memory.keep_from, at)
        for _ in range(_PAGES):
            for question in self._wire.minute_questions(behind, self.memory, self._now()):
                await self._ask_own(question)
            moved = self._known_until(behind, at)
            behind = {s: until for s, until in moved.items() if behind[s] < until < at - 2 * _OVERLAP}
            if not behind:
                break
        if due:
            self._minutes_at = at // MINUTE

    def _known_until(self, symbols: Iterable[str], at: int) -> dict[str, int]:
        """From where on minutes are to be asked for, by symbol: without a hole only where an open order needs that."""
        found: dict[str, int] = {}
        for symbol in symbols:
            series = self.memory.minutes(symbol)
            wanted = self.memory.keep_from.get(symbol)
            if wanted is None:
                found[symbol] = max((series.edge() or 0) - _OVERLAP, at - _FIRST_LOOK)
            else:
                found[symbol] = (series.complete_from(wanted) or wanted) - _OVERLAP
        return found

    async def _days(self, held: set[str]) -> None:
        """The last daily bars of what is held, once a day and when a symbol is new."""
        now = self._now()
        if self._days_at is not None and self._days_at.date() == now.date():
            held = {symbol for symbol in held if self.memory.bars(symbol, DAY).edge() is None}
        for question in self._wire.day_questions(held, now) if held else ():
            await self._ask_own(question)
        self._days_at = now


def _text(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()
