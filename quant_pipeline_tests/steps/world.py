"""A desk in a small world: a real ledger, a real exchange with written-down prices and a clock moved by hand.

Opinions are written down as well: what decisions, orders and the book make of them is real.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from quant_pipeline.core.identity import platform_fingerprint
from quant_pipeline.core.values import Book, Origin
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.exchange.server import ExchangeConfig, ExchangeHandle
from quant_pipeline.markets import calendar
from quant_pipeline.markets.market import get_market
from quant_pipeline.registry.mlflow_registry import ModelRegistry
from quant_pipeline.registry.studies import Studies
from quant_pipeline.settings import MarketSettings, Settings, load_settings
from quant_pipeline.steps import bars, book, decisions, features, orders, predictions, signals
from quant_pipeline.steps.connect import connect_venue, market_clock, venue_config
from quant_pipeline.steps.desk import Desk, Venue
from quant_pipeline.steps.tables import RunContext, StepResult, write_step
from quant_pipeline.steps.timing import tick_session
from quant_pipeline.storage.books import BookState, book_state
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import Decision, latest_decisions
from quant_pipeline.storage.identity import put_platform
from quant_pipeline.storage.intents import Intent, intents_between
from quant_pipeline.storage.lake import Lake
from quant_pipeline.storage.orders import LedgerOrder, orders_between

VOLATILITY = 0.015
"""The default reference: a sure opinion then takes the whole position size."""

_EARLY, _LATE = datetime(2000, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
_FAST = 1_000_000


@dataclass(frozen=True, slots=True)
class Say:
    """Vote and opinion about one bar. Confidence 1 and the reference volatility make an entry of the full size."""

    vote: int = 0
    expects: float = float("nan")
    confidence: float = 1.0
    members: int = 4
    volatility: float = VOLATILITY


BUY = Say(1, 0.02)
SELL = Say(-1, -0.02)
HOLD = Say()


@dataclass(frozen=True, slots=True)
class Ticked:
    """What one tick of the live chain reported."""

    bars: bars.BarsReport
    decisions: StepResult
    orders: StepResult
    book: book.BookReport


@dataclass(slots=True)
class World:
    """One desk with one market that is traded, and the exchange it trades at."""

    desk: Desk
    market: MarketSettings
    admin: AdminClient
    said: dict[date, dict[tuple[str, datetime], Say]] = field(default_factory=dict)

    # What the test makes happen

    def say(self, session: date, wishes: Mapping[str, Say], *, bar: datetime | None = None) -> None:
        """Store signals, features and predictions about a bar of `session` (its daily bar unless given)."""
        starts = bar or calendar.daily_bar_start(self.market.market.calendar, session)
        said = self.said.setdefault(session, {})
        said.update({(symbol, starts): wish for symbol, wish in wishes.items()})
        store_said(self.desk, self.market, said)

    def tick(self, at: datetime, *, desk: Desk | None = None) -> Ticked:
        """Move the clock to `at` and run the live chain once, with the opinions that were written down."""
        self.admin.set_clock(at)
        sessions = (tick_session(self.market, at),)
        context = RunContext(at, f"tick-{at.isoformat()}", Origin.LIVE, tick=True)
        used = desk or self.desk
        return Ticked(
            bars.run(used, self.market, sessions, context),
            decisions.run(used, self.market, sessions, context),
            orders.run(used, self.market, sessions, context),
            book.run(used, self.market, sessions, context),
        )

    # What came of it

    def posts(self) -> list[str]:
        """The client ids of the orders that were sent to the exchange, in the order of its request log."""
        path = "/v2/orders" if self.market.market.venue == "alpaca" else "/v1/orders"
        return [row["client_id"] for row in self.admin.requests(method="POST", path=path)]

    def decided(self, first: date, last: date | None = None, *, book: Book | None = None) -> dict[str, str]:
        """Reason by symbol of the newest decisions; of the broker's book unless another is named."""
        return {d.symbol: d.reason for d in self.decisions(first, last, book=book)}

    def decisions(self, first: date, last: date | None = None, *, book: Book | None = None) -> tuple[Decision, ...]:
        """The newest decisions about each bar of the sessions."""
        return latest_decisions(self.desk.db, self.market.name, book or self.book, first, last or first)

    def intents(self) -> dict[str, Intent]:
        """All intents by `<symbol>-<leg>`; a later one of the same name wins."""
        found = intents_between(self.desk.db, self.market.name, self.book, _EARLY, _LATE)
        return {f"{one.symbol}-{one.leg}": one for one in found}

    def orders(self) -> tuple[LedgerOrder, ...]:
        """All orders of the broker's book, oldest first."""
        return orders_between(self.desk.db, self.market.name, self.book, _EARLY, _LATE)

    def state(self) -> BookState:
        """The broker's book."""
        return book_state(self.desk.db, self.market.name, self.book)

    def held(self) -> dict[str, Decimal]:
        """Quantities by symbol in the ledger."""
        return {p.symbol: p.qty for p in self.state().positions if p.qty}

    @property
    def book(self) -> Book:
        """The broker's book of the market."""
        return self.market.broker_book

    def assert_ledger_equals_exchange(self) -> None:
        """Orders, executions, cash and holdings are the same here and there."""
        theirs = self.admin.orders(self.market.name)
        ours = {o.client_id: (str(o.state), o.filled_qty, o.fee) for o in self.orders() if o.venue_id is not None}
        assert ours == {o["client_id"]: (o["state"], Decimal(o["filled_qty"]), Decimal(o["fee"])) for o in theirs}
        account = self.admin.accounts()[self.market.name]
        assert self.state().cash in (Decimal(account["cash"]), None)
        holdings = {s: Decimal(h["qty"]) for s, h in account["holdings"].items() if Decimal(h["qty"])}
        assert self.held() == holdings


def store_said(desk: Desk, market: MarketSettings, said: Mapping[tuple[str, datetime], Say]) -> None:
    """Store what was said about (symbol, bar start) the way the steps would; replaces the sessions of these bars."""
    rows = [{"symbol": symbol, "ts": pd.Timestamp(ts), "wish": wish} for (symbol, ts), wish in sorted(said.items())]
    key = pd.DataFrame({"symbol": [r["symbol"] for r in rows], "ts": pd.DatetimeIndex([r["ts"] for r in rows])})
    key["ts"] = key["ts"].astype("datetime64[ns, UTC]")
    wishes: list[Say] = [r["wish"] for r in rows]
    vote = np.array([w.vote for w in wishes], np.int8)
    voted = key.assign(score=vote * 0.5, vote=vote, status=signals.OK)
    described = key.assign(**dict.fromkeys(features.COLUMNS, 0.01))
    described["volatility_20d"] = [w.volatility for w in wishes]
    opined = key.assign(purpose="signal", **dict.fromkeys(predictions.NUMBERS, np.nan))
    opined["expected_return"] = [w.expects for w in wishes]
    opined["confidence"] = [w.confidence for w in wishes]
    opined = opined.assign(members_usable=[w.members for w in wishes], model_version_id="scripted", status="ok")
    opined = opined[np.isfinite(opined["expected_return"])].reset_index(drop=True)
    context = RunContext(datetime(2000, 1, 1, tzinfo=UTC), "scripted")
    sessions = sorted({starts.date() for _, starts in said})
    inputs = {(session, symbol): "scripted" for session in sessions for symbol in market.symbols}
    for step, frame in ((signals.STEP, voted), (features.STEP, described), (predictions.STEP, opined)):
        write_step(
            desk,
            market.name,
            step,
            frame,
            sessions=sessions,
            inputs=inputs,
            code_hash="",
            settings_hash="",
            context=context,
        )


def settings_for(folder: Path, market: str, **changes: Any) -> Settings:
    """Defaults but for one enabled market with `changes`; state below `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    empty = folder / "quant.toml"
    empty.write_text("", encoding="utf-8")
    markets: dict[str, Any] = {name: {"enabled": name == market} for name in ("us_equity", "krw_crypto")}
    markets[market] |= changes
    return load_settings(empty, environ={}, changes={"state": {"home": str(folder)}, "markets": markets})


@contextmanager
def opened_desk(
    settings: Settings,
    database: Database,
    *,
    wrap: Callable[[Venue], Venue] = lambda venue: venue,
    registry: ModelRegistry | None = None,
    studies: str | None = None,
) -> Iterator[Desk]:
    """A desk like `steps.connect.open_desk` makes it, with connections of its own to a given database.

    Venues may be wrapped. Without a registry and the address of studies, nothing can be trained.
    """
    db = Database(database.dsn)
    desk = Desk(
        settings=settings,
        db=db,
        lake=Lake(settings.lake_root, db),
        connect=lambda market: wrap(connect_venue(venue_config(settings, market))),
        clock=lambda market: market_clock(settings, market),
        registry=registry or ModelRegistry("postgresql+psycopg2://nobody@127.0.0.1:1/none", str(settings.mlruns)),
        studies=Studies(studies or "postgresql+psycopg2://nobody@127.0.0.1:1/none"),
        platform_hash=put_platform(db, dict(platform_fingerprint())),
    )
    with closing(desk):
        yield desk


def exchange_config(folder: Path, clock: datetime, **changes: Any) -> ExchangeConfig:
    """An exchange on free ports with prices from `folder`, no spread and no rate limits that tests could feel."""
    settings: dict[str, Any] = {
        "alpaca_port": 0,
        "upbit_port": 0,
        "clock": clock.isoformat(),
        "data_dir": folder,
        "half_spread_bp_us": Decimal(0),
        "half_spread_bp_krw": Decimal(0),
        "alpaca_trading_per_minute": _FAST,
        "alpaca_data_per_minute": _FAST,
        "upbit_quotation_per_second": _FAST,
        "upbit_exchange_per_second": _FAST,
        "upbit_order_per_second": _FAST,
    }
    return ExchangeConfig(**(settings | changes))


def opens(market: str, session: date) -> datetime:
    """When a session opens (UTC)."""
    return calendar.session_hours(get_market(market).calendar, session).opens_at


def closes(market: str, session: date) -> datetime:
    """When a session closes (UTC)."""
    return calendar.session_hours(get_market(market).calendar, session).closes_at


def url_of(handle: ExchangeHandle, market: str) -> str:
    """Where the dialect of a market answers."""
    return handle.alpaca_url if market == "us_equity" else handle.upbit_url
