"""The generated market session by session: where each symbol opens and closes, and how lively it is in between.

This market is made up, and it is made with momentum on purpose: each symbol's expected daily return wanders slowly
(`drift_sd`, `drift_persistence`), so that features of the recent trend predict the next days a little and a model has
something to find. It proves that the machinery works. It proves nothing about profit in a real market.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass
from datetime import date
from functools import cache
from itertools import accumulate

import numpy as np

from quant_pipeline.exchange.bars.columns import Floats
from quant_pipeline.exchange.bars.noise import normals
from quant_pipeline.exchange.bars.sessions import session_table
from quant_pipeline.exchange.bars.symbols import symbol_spec

GENERATED_FROM = date(2012, 1, 3)
"""The first session of every generated price path. Moving it would change every generated price."""


@dataclass(frozen=True, slots=True)
class MarketModel:
    """The constants of one generated market; all volatilities are of daily log returns.

    The persistences are AR(1) coefficients per session. `gap_share` is the part of a session's variance that happens
    between the close and the next open. `absent_rate` is the mean share of minutes without a trade.
    """

    common_sd: float
    own_sd: float
    drift_sd: float
    drift_persistence: float
    volatility_sd: float
    volatility_persistence: float
    level_persistence: float
    gap_share: float
    absent_rate: float


MODELS = {
    "us_equity": MarketModel(0.006, 0.008, 0.010, 0.95, 0.35, 0.96, 0.982, 0.25, 0.0),
    "krw_crypto": MarketModel(0.006, 0.007, 0.018, 0.94, 0.40, 0.95, 0.975, 0.0, 0.01),
}
"""By market name."""


@dataclass(frozen=True, slots=True)
class SessionPath:
    """One symbol, one entry per session from `GENERATED_FROM` on.

    Log prices at the open and close, the standard deviation of the way between them, and the session's volume.
    """

    log_open: Floats
    log_close: Floats
    intraday_sd: Floats
    activity: Floats


def first_generated(market_name: str) -> int:
    """Index in the session table of the first generated session."""
    return bisect_left(session_table(market_name).days, GENERATED_FROM)


def _generated_count(market_name: str) -> int:
    return len(session_table(market_name).days) - first_generated(market_name)


def _wander(shocks: Floats, sd: float, persistence: float) -> Floats:
    """A stationary AR(1) series of standard deviation `sd` driven by standard normals."""
    fresh = sd * float(np.sqrt(1.0 - persistence * persistence))
    start = sd * float(shocks[0])
    driven = (fresh * shocks[1:]).tolist()
    return np.array(list(accumulate(driven, lambda x, shock: persistence * x + shock, initial=start)))


@cache
def _common(seed: int, market_name: str) -> tuple[Floats, Floats]:
    """What all symbols of a market share: its return and its volatility factor, per session."""
    model, count = MODELS[market_name], _generated_count(market_name)
    clusters = _wander(
        normals(seed, count, market_name, "common volatility"), model.volatility_sd, model.volatility_persistence
    )
    factor = np.exp(clusters)
    return model.common_sd * factor * normals(seed, count, market_name, "common return"), factor


@cache
def session_path(seed: int, market_name: str, symbol: str) -> SessionPath:
    """The path of one symbol over all sessions; it depends on nothing but seed, market and symbol.

    Log prices revert slowly to the symbol's level, so that a price stays believable however far from the epoch.
    """
    model, spec, count = MODELS[market_name], symbol_spec(symbol), _generated_count(market_name)

    def draw(what: str) -> Floats:
        return normals(seed, count, market_name, symbol, what)

    market_return, market_volatility = _common(seed, market_name)
    own_factor = np.exp(_wander(draw("volatility"), 0.25, model.volatility_persistence))
    noise_sd = model.own_sd * spec.volatility * own_factor * np.sqrt(market_volatility)
    drift = _wander(draw("drift"), model.drift_sd * min(spec.volatility, 1.3), model.drift_persistence)
    gap = np.sqrt(model.gap_share) * noise_sd * draw("gap")
    day = np.sqrt(1.0 - model.gap_share) * noise_sd * draw("day")
    shared = spec.beta * market_return
    overnight = gap + model.gap_share * (shared + drift)
    session = day + (1.0 - model.gap_share) * (shared + drift)

    keep = model.level_persistence
    away = np.array(list(accumulate((overnight + session).tolist(), lambda x, r: keep * x + r)))
    log_close = float(np.log(spec.level)) + away
    log_open = log_close - session
    if model.gap_share == 0.0:  # a market that never closes opens where it closed
        log_open = np.concatenate((log_open[:1], log_close[:-1]))
    total_sd = np.sqrt(noise_sd * noise_sd + (spec.beta * model.common_sd * market_volatility) ** 2)
    intraday_sd = total_sd * np.sqrt(1.0 - model.gap_share)
    activity = spec.activity * own_factor * market_volatility * np.exp(0.25 * draw("activity"))
    return SessionPath(log_open, log_close, intraday_sd, activity)
