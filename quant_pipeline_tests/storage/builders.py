"""Values that the storage tests start from: each function gives a sound one, changed where the test needs it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import quant_pipeline
from quant_pipeline.core.values import Fill, OrderRequest, OrderState, OrderType, Side, TimeInForce, VenueOrder
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.decisions import Decision, append_decisions
from quant_pipeline.storage.ledger import Intent, IntentStatus, Leg, add_intent, plan_order

REPOSITORY = Path(quant_pipeline.__file__).parents[1]

AT = datetime(2024, 5, 2, 14, 30, tzinfo=UTC)
SESSION = date(2024, 5, 1)
MARKET = "us_equity"
BOOK = "paper"
VENUE = "alpaca"
_numbers = itertools.count()


def later(minutes: float) -> datetime:
    """A time after `AT`."""
    return AT + timedelta(minutes=minutes)


def bars(symbols: Sequence[str], start: str, count: int, *, freq: str = "1min", seed: int = 0) -> pd.DataFrame:
    """A bar frame of random numbers that use all bits of a double."""
    random = np.random.default_rng(seed)
    ts = pd.date_range(start, periods=count, freq=freq, tz="UTC", unit="ns")
    frames = []
    for symbol in symbols:
        values = {name: random.random(count) * 1e3 for name in ("open", "high", "low", "close", "volume")}
        frames.append(pd.DataFrame({"symbol": symbol, "ts": ts, **values}))
    return pd.concat(frames, ignore_index=True)


def decision(**changes: Any) -> Decision:
    """A BUY decision with its own id."""
    number = next(_numbers)
    sound = Decision(
        id=f"decision-{number}",
        market=MARKET,
        book=BOOK,
        symbol="AAPL",
        session=SESSION,
        bar_ts=datetime(2024, 5, 1, 4, tzinfo=UTC),
        bar_close=datetime(2024, 5, 1, 20, tzinfo=UTC),
        origin="live",
        version=1,
        action=1,
        reason="buy_signal",
        vote=1,
        score=0.6,
        expected_return=0.0123456789012345,
        p_up=0.61,
        confidence=0.8,
        members_usable=4,
        model_version_id="model-1",
        price=Decimal("170.120000001"),
        qty=Decimal(5),
        notional=Decimal("850.60"),
        equity=Decimal("100000.00"),
        settings_hash="s",
        code_hash="c",
        platform_hash="p",
        inputs={"bars": "b1", "features": {"AAPL": "f1"}},
        decided_at=AT,
        run_id="run-1",
    )
    return replace(sound, **changes)


def stored_intent(db: Database, **changes: Any) -> Intent:
    """A buy intent of ten that is in the ledger, with its decision."""
    number = next(_numbers)
    sound = Intent(
        id=f"intent-{number}",
        decision_id="",
        market=MARKET,
        book=BOOK,
        symbol="AAPL",
        side=Side.BUY,
        leg=Leg.ENTRY,
        qty=Decimal(10),
        notional=None,
        depends_on=None,
        not_before=AT,
        expires_at=later(60),
        status=IntentStatus.OPEN,
        reason="",
        created_at=AT,
    )
    wanted = replace(sound, **changes)
    if not wanted.decision_id:
        made = decision(market=wanted.market, book=wanted.book, symbol=wanted.symbol)
        append_decisions(db, [made])
        wanted = replace(wanted, decision_id=made.id)
    with db.begin() as connection:
        add_intent(connection, wanted)
    return wanted


def request(client_id: str, **changes: Any) -> OrderRequest:
    """A market buy of ten."""
    sound = OrderRequest(
        client_id=client_id,
        symbol="AAPL",
        side=Side.BUY,
        order_type=OrderType.MARKET,
        time_in_force=TimeInForce.DAY,
        qty=Decimal(10),
    )
    return replace(sound, **changes)


def planned(db: Database, client_id: str, *, at: datetime = AT, attempt: int = 1, **changes: Any) -> OrderRequest:
    """An order that was planned for an intent of its own; `changes` go to the request, market and book to both."""
    market, book = changes.pop("market", MARKET), changes.pop("book", BOOK)
    wanted = request(client_id, **changes)
    intent = stored_intent(
        db,
        market=market,
        book=book,
        symbol=wanted.symbol,
        side=wanted.side,
        qty=wanted.qty,
        notional=wanted.notional,
        leg=Leg.ENTRY if wanted.side is Side.BUY else Leg.EXIT,
    )
    plan_order(db, wanted, intent.id, attempt, market, book, VENUE, at)
    return wanted


def fill(fill_id: str, qty: str, price: str, fee: str = "0", minutes: float = 1) -> Fill:
    """One execution."""
    return Fill(fill_id, Decimal(qty), Decimal(price), Decimal(fee), later(minutes))


def report(wanted: OrderRequest, state: OrderState, *fills: Fill, minutes: float = 1, **changes: Any) -> VenueOrder:
    """What the venue says about an order whose executions are `fills`."""
    filled = sum((one.qty for one in fills), Decimal(0))
    value = sum((one.qty * one.price for one in fills), Decimal(0))
    sound = VenueOrder(
        client_id=wanted.client_id,
        venue_id=f"venue-{wanted.client_id}",
        symbol=wanted.symbol,
        side=wanted.side,
        state=state,
        filled_qty=filled,
        avg_price=value / filled if filled else None,
        fee=sum((one.fee for one in fills), Decimal(0)),
        submitted_at=AT,
        updated_at=later(minutes),
        fills=fills,
        venue_status=state.value,
    )
    return replace(sound, **changes)
