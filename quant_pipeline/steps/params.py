"""The trading parameters of a market from its settings: the one translation that live, shadow and backtest share."""

from __future__ import annotations

from datetime import date

from quant_pipeline.core.trading.params import TradingParams
from quant_pipeline.markets.rules import fee_rates
from quant_pipeline.settings import MarketSettings

_BPS = 1e-4


def trading_params(market: MarketSettings, session: date) -> TradingParams:
    """Limits, thresholds, lots and costs of `market` with the fees in force in `session`."""
    risk, ai, fees = market.risk, market.ai, fee_rates(market.market, session)
    return TradingParams(
        max_exposure=risk.max_portfolio_exposure,
        max_positions=risk.max_positions,
        max_position=risk.max_position_size,
        stop_loss=risk.stop_loss_pct,
        take_profit=risk.take_profit_pct,
        take_profit_fraction=risk.take_profit_fraction,
        sell_fraction=risk.sell_fraction,
        max_daily_loss=risk.max_daily_loss,
        halt_hours=float(risk.halt_hours),
        max_daily_trades=risk.max_daily_trades,
        buy_threshold=ai.buy_threshold,
        sell_threshold=ai.sell_threshold,
        min_confidence=ai.confidence_threshold,
        vote_abstains=market.vote.mode == "abstain",
        rebalance_factor=risk.rebalance_factor,
        vol_reference=risk.volatility_reference,
        slippage=market.orders.slippage_bps * _BPS,
        min_notional=float(market.market.min_notional),
        qty_decimals=market.market.qty_decimals,
        buys_by_notional=market.market.buy_by == "notional",
        money_decimals=market.market.money_decimals,
        fee_decimals=market.market.money_decimals if market.market.venue == "alpaca" else None,
        buy_rate=fees.buy_rate,
        sell_rate=fees.sell_rate,
        sell_per_share=fees.sell_per_share,
        sell_per_share_cap=fees.sell_per_share_cap,
    )
