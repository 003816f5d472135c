"""The sections of a market that say how it is traded: risk, the ensemble's opinion, the vote, orders. No venue, no symbol."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from quant_pipeline.core.values import OrderType, TimeInForce
from quant_pipeline.settings.section import Fraction, Section


class RiskSettings(Section):
    """Limits of one market. Fractions are of the market's equity; losses are negative."""

    max_portfolio_exposure: Fraction = 0.80
    max_positions: Annotated[int, Field(ge=1, le=1000)] = 7
    max_position_size: Fraction = 0.10
    stop_loss_pct: Annotated[float, Field(ge=-0.9, lt=0)] = -0.05
    take_profit_pct: Annotated[float, Field(gt=0, le=10)] = 0.10
    take_profit_fraction: Fraction = 1.0
    max_daily_loss: Annotated[float, Field(ge=-0.9, lt=0)] = -0.02
    halt_hours: Annotated[int, Field(ge=1, le=24 * 30)] = 24
    max_daily_trades: Annotated[int, Field(ge=1, le=10_000)] = 50
    sell_fraction: Fraction = 1.0
    rebalance_factor: Annotated[float, Field(ge=1, le=100)] = 1.5
    volatility_reference: Annotated[float, Field(gt=0, le=1)] = 0.015


class AiSettings(Section):
    """The ensemble: thresholds of its opinion (daily returns), how it is trained and tuned."""

    buy_threshold: Annotated[float, Field(gt=0, lt=1)] = 0.005
    sell_threshold: Annotated[float, Field(gt=-1, lt=0)] = -0.005
    confidence_threshold: Annotated[float, Field(ge=0, lt=1)] = 0.7
    training_sessions: Annotated[int, Field(ge=60, le=5000)] = 500
    min_training_sessions: Annotated[int, Field(ge=30, le=5000)] = 500
    tuning_trials: Annotated[int, Field(ge=4, le=1000)] = 8
    tuning_symbols: Annotated[int, Field(ge=1, le=500)] = 500
    threads: Annotated[int, Field(ge=1, le=64)] = 1

    @model_validator(mode="after")
    def _windows_fit(self) -> Self:
        if self.min_training_sessions > self.training_sessions:
            msg = (
                f"ai.min_training_sessions ({self.min_training_sessions}) is above ai.training_sessions "
                f"({self.training_sessions}); lower the first or raise the second"
            )
            raise ValueError(msg)
        return self


class VoteSettings(Section):
    """The rule vote: weights by strategy name, and the score at which it becomes BUY or SELL."""

    mode: Literal["rules", "abstain"] = "rules"
    weights: dict[str, Annotated[float, Field(ge=0, le=100)]] = Field(default_factory=dict)
    buy_at: Annotated[float, Field(gt=0, le=1)] = 0.2
    sell_at: Annotated[float, Field(ge=-1, lt=0)] = -0.2

    @field_validator("weights")
    @classmethod
    def _strategies_exist(cls, weights: dict[str, float]) -> dict[str, float]:
        if weights:
            from quant_pipeline.core.strategies.registry import DEFAULT_WEIGHTS

            unknown = sorted(set(weights) - set(DEFAULT_WEIGHTS))
            if unknown:
                msg = f"vote.weights names {unknown[0]!r}, which is no strategy; known: {', '.join(DEFAULT_WEIGHTS)}"
                raise ValueError(msg)
        return weights


class OrderSettings(Section):
    """How intents become orders: type, time in force, how long an intent may wait, assumed slippage of the shadow."""

    type: OrderType = OrderType.MARKET
    time_in_force: TimeInForce | None = None
    expiry_minutes: Annotated[int, Field(ge=1, le=7 * 24 * 60)] = 120
    max_quote_age_seconds: Annotated[int, Field(ge=1, le=86_400)] = 300
    slippage_bps: Annotated[float, Field(ge=0, le=1000)] = 5.0

    @model_validator(mode="after")
    def _best_needs_ioc(self) -> Self:
        if self.type is OrderType.BEST and self.time_in_force not in (TimeInForce.IOC, TimeInForce.FOK):
            msg = f"orders.type 'best' needs orders.time_in_force 'ioc' or 'fok', not {self.time_in_force!s}"
            raise ValueError(msg)
        return self
