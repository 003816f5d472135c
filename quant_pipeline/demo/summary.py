"""What happened in a demo, read from the ledger and from the exchange's own log, and whether the two agree."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any

from quant_pipeline.core.identity import combine_hashes
from quant_pipeline.core.values import Book, OrderState, Reason, Side
from quant_pipeline.exchange.client import AdminClient
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.timing import session_span
from quant_pipeline.storage.books import book_state
from quant_pipeline.storage.changes import count_bars
from quant_pipeline.storage.decisions import latest_decisions
from quant_pipeline.storage.equity import equity_curve
from quant_pipeline.storage.fills import fills_between
from quant_pipeline.storage.models import list_model_versions
from quant_pipeline.storage.orders import orders_between


@dataclass(frozen=True, slots=True)
class MarketSummary:
    """Counts and money of one market's live sessions. `differences` is empty when ledger and exchange agree."""

    market: str
    currency: str
    sessions: int
    first: date
    last: date
    bars: int
    votes: dict[str, int]
    opinions: int
    decisions: dict[str, int]
    orders: dict[str, int]
    filled_buys: int
    filled_sells: int
    posts: int
    equity_before: float
    equity_after: float
    shadow_before: float
    shadow_after: float
    models: dict[str, int]
    ai_vetoes: int
    risk_vetoes: int
    holds: int
    differences: tuple[str, ...]
    fingerprint: str

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "first": self.first.isoformat(), "last": self.last.isoformat()}


def summarize(desk: Desk, market: MarketSettings, live: tuple[date, ...], admin: AdminClient) -> MarketSummary:
    """Read what the live sessions of `market` came to."""
    book, name = market.broker_book, market.name
    start, end = session_span(live[0], date.fromordinal(live[-1].toordinal() + 5))
    decided = latest_decisions(desk.db, name, book, live[0], live[-1])
    orders = orders_between(desk.db, name, book, start, end)
    curve = equity_curve(desk.db, name, book, start, end)["equity"]
    shadow = equity_curve(desk.db, name, Book.SHADOW, start, end)["equity"]
    reasons = Counter(d.reason for d in decided)
    kinds = {code: Reason[code.upper()] for code in reasons}
    filled = [order for order in orders if order.state is OrderState.FILLED]
    models = Counter(version.status for version in list_model_versions(desk.db, name))
    return MarketSummary(
        market=name,
        currency=market.market.currency,
        sessions=len(live),
        first=live[0],
        last=live[-1],
        bars=count_bars(desk.db, name),
        votes={vote: sum(d.vote == code for d in decided) for vote, code in (("BUY", 1), ("SELL", -1), ("HOLD", 0))},
        opinions=sum(d.confidence is not None and d.vote != 0 for d in decided),
        decisions=dict(sorted(reasons.items())),
        orders=dict(sorted(Counter(str(order.state) for order in orders).items())),
        filled_buys=sum(order.side is Side.BUY for order in filled),
        filled_sells=sum(order.side is Side.SELL for order in filled),
        posts=len([r for r in admin.requests(method="POST") if r["client_id"]]),
        equity_before=float(curve.iloc[0]) if len(curve) else 0.0,
        equity_after=float(curve.iloc[-1]) if len(curve) else 0.0,
        shadow_before=float(shadow.iloc[0]) if len(shadow) else 0.0,
        shadow_after=float(shadow.iloc[-1]) if len(shadow) else 0.0,
        models=dict(sorted(models.items())),
        ai_vetoes=sum(n for code, n in reasons.items() if kinds[code].is_ai_veto),
        risk_vetoes=sum(n for code, n in reasons.items() if kinds[code].is_risk_veto),
        holds=reasons.get(Reason.HOLD_VOTE.code, 0),
        differences=tuple(differences(desk, market, admin, start, end)),
        fingerprint=fingerprint(desk, market, live),
    )


def differences(desk: Desk, market: MarketSettings, admin: AdminClient, start: datetime, end: datetime) -> list[str]:
    """Every way in which the ledger differs from the exchange's own account and executions."""
    found: list[str] = []
    ours = {(f.client_id, f.qty, f.price) for f in fills_between(desk.db, market.name, market.broker_book, start, end)}
    theirs = {(f["client_id"], Decimal(f["qty"]), Decimal(f["price"])) for f in admin.fills(market.name)}
    found += [f"a fill only in the ledger: {one}" for one in sorted(map(str, ours - theirs))]
    found += [f"a fill only at the exchange: {one}" for one in sorted(map(str, theirs - ours))]
    account = admin.accounts()[market.name]
    state = book_state(desk.db, market.name, market.broker_book)
    if state.cash != Decimal(account["cash"]):
        found.append(f"cash: {state.cash} in the ledger, {account['cash']} at the exchange")
    held = {p.symbol: p.qty for p in state.positions if p.qty}
    there = {symbol: Decimal(h["qty"]) for symbol, h in account["holdings"].items() if Decimal(h["qty"])}
    if held != there:
        found.append(f"holdings: {held} in the ledger, {there} at the exchange")
    return found


def fingerprint(desk: Desk, market: MarketSettings, live: tuple[date, ...]) -> str:
    """One hash over decisions, orders and booster bytes: equal for two runs that did the same."""
    start, end = session_span(live[0], date.fromordinal(live[-1].toordinal() + 5))
    parts: list[str] = []
    for book in (Book.SHADOW, market.broker_book):
        decided = latest_decisions(desk.db, market.name, book, market.history_start, live[-1])
        parts += [f"{d.id}|{d.symbol}|{d.bar_ts.isoformat()}|{d.reason}|{d.qty}|{d.notional}" for d in decided]
    orders = orders_between(desk.db, market.name, market.broker_book, start, end)
    parts += [f"{o.client_id}|{o.state}|{o.filled_qty}|{o.avg_price}|{o.fee}" for o in orders]
    for version in list_model_versions(desk.db, market.name):
        hashes = version.metrics["member_hashes"]
        parts += [f"{version.symbol}|{version.month}|{member}|{hashes[member]}" for member in sorted(hashes)]
    return combine_hashes(*parts)
