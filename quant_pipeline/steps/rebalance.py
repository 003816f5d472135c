"""The second half of an exchange: whether the better symbol may be bought now that the weaker holding is sold."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from quant_pipeline.core.features import FEATURE_SET
from quant_pipeline.core.trading.decisions import review_rebalance_in
from quant_pipeline.core.values import Reason
from quant_pipeline.markets.rules import round_money
from quant_pipeline.settings import MarketSettings
from quant_pipeline.steps import features
from quant_pipeline.steps.account import book_view, marked, universe
from quant_pipeline.steps.desk import Desk
from quant_pipeline.steps.params import trading_params
from quant_pipeline.steps.tables import read_step
from quant_pipeline.storage.decisions import Decision, decision
from quant_pipeline.storage.intents import Intent
from quant_pipeline.storage.risk import RiskState

_VOLATILITY = "volatility_20d"
if _VOLATILITY not in FEATURE_SET.columns:
    _msg = f"feature set {FEATURE_SET.name} has no {_VOLATILITY}, which sizing needs"
    raise RuntimeError(_msg)


def review_rebalance(
    desk: Desk,
    market: MarketSettings,
    one: Intent,
    prices: Mapping[str, Decimal],
    day: RiskState,
    now: datetime,
) -> Intent | Reason:
    """The entry with its size at the fresh price, or the veto. The opinion is the one of its decision."""
    decided = decision(desk.db, one.decision_id)
    if decided is None or decided.confidence is None:
        return Reason.NO_MODEL
    volatility = _volatility(desk, market, decided)
    if volatility is None:
        return Reason.NO_HISTORY
    book = marked(desk, market, prices)
    params = trading_params(market, day.session)
    symbols = universe(market, book.state)
    view = book_view(desk, market, symbols, prices, book, day, now, scale=params.qty_scale)
    price = prices[one.symbol]
    said = review_rebalance_in(
        view, params, one.symbol, price=float(price), confidence=decided.confidence, vol20=volatility
    )
    if said.reason is not Reason.REBALANCE_IN:
        return said.reason
    if params.buys_by_notional:
        return replace(one, qty=None, notional=round_money(market.market, Decimal(repr(said.notional))))
    return replace(one, qty=Decimal(said.lots) / params.qty_scale, notional=None)


def _volatility(desk: Desk, market: MarketSettings, decided: Decision) -> float | None:
    rows = read_step(desk, market.name, features.STEP, [decided.session])
    if rows.empty:
        return None
    found = rows[(rows["symbol"] == decided.symbol) & (rows["ts"] == decided.bar_ts)]
    return float(found[_VOLATILITY].iloc[0]) if len(found) else None
