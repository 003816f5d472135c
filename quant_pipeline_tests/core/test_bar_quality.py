"""Moves and volumes that are not believed: what is flagged, what explains it, and that no later bar matters."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.bar_quality import (
    COLLAPSE,
    LEVEL,
    NO_VOLUME,
    OUTLIER,
    Finding,
    Limits,
    judge_bars,
)

LIMITS = Limits()
DAYS = [date(2026, 1, 1) + timedelta(days=n) for n in range(60)]


def _bars(symbol: str = "A", *, seed: int = 1, per_day: int = 1) -> pd.DataFrame:
    """A quiet walk with 1 % a bar."""
    random = np.random.default_rng(seed)
    ts = [datetime(d.year, d.month, d.day, hour, tzinfo=UTC) for d in DAYS for hour in range(0, 24, 24 // per_day)]
    close = 100.0 * np.exp(np.cumsum(random.normal(0, 0.01, len(ts))))
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    volume = random.integers(900, 1100, len(ts)).astype(np.float64)
    frame = pd.DataFrame({"symbol": symbol, "ts": pd.DatetimeIndex(ts).as_unit("ns"), **prices, "volume": volume})
    return frame.astype({"symbol": object})


def _scaled(bars: pd.DataFrame, factor: float, since: int, *, volume: float = 1.0) -> pd.DataFrame:
    """The bars with all prices from the bar at `since` on multiplied."""
    later = np.arange(len(bars)) >= since
    prices = {name: bars[name] * np.where(later, factor, 1.0) for name in ("open", "high", "low", "close")}
    return bars.assign(**prices, volume=bars["volume"] * np.where(later, volume, 1.0))


def _said(found: list[Finding]) -> list[tuple[str, date]]:
    return [(finding.rule, finding.session) for finding in found]


def test_a_quiet_symbol_is_not_suspected() -> None:
    assert judge_bars(_bars(), DAYS[0], DAYS[-1], LIMITS) == []


def test_a_wild_symbol_may_move_as_it_always_does() -> None:
    bars = _bars()
    wild = bars.assign(close=np.where(np.arange(len(bars)) % 2 == 0, 100.0, 160.0))
    assert judge_bars(wild, DAYS[20], DAYS[-1], LIMITS) == []


@pytest.mark.parametrize("factor", [0.8, 0.5, 1.3])
def test_a_move_far_beyond_what_is_usual_is_reported_and_traded(factor: float) -> None:
    found = judge_bars(_scaled(_bars(), factor, 40), DAYS[0], DAYS[-1], LIMITS)
    assert _said(found) == [(OUTLIER, DAYS[40])]
    assert not found[0].bad
    assert found[0].detail.startswith("+" if factor > 1 else "-")


def test_nothing_is_said_without_enough_bars_to_compare_with() -> None:
    assert judge_bars(_scaled(_bars(), 0.25, 8), DAYS[0], DAYS[-1], LIMITS) == []


def test_a_price_after_a_long_gap_is_no_move() -> None:
    bars = _scaled(_bars(), 0.25, 40)
    gap = bars.drop(index=range(25, 40)).reset_index(drop=True)
    assert judge_bars(gap, DAYS[0], DAYS[-1], LIMITS) == []


def test_within_a_day_the_bar_is_named() -> None:
    bars = _scaled(_bars(per_day=24), 0.5, 40 * 24 + 7)
    found = judge_bars(bars, DAYS[40], DAYS[40], LIMITS)
    assert [finding.since for finding in found] == [pd.Timestamp(DAYS[40], tz="UTC") + pd.Timedelta(hours=7)]


def test_a_bar_without_volume_is_bad_for_a_symbol_that_always_trades() -> None:
    bars = _bars()
    bars.loc[40, "volume"] = 0.0
    found = judge_bars(bars, DAYS[0], DAYS[-1], LIMITS)
    assert [(finding.rule, finding.session, finding.bad) for finding in found] == [(NO_VOLUME, DAYS[40], True)]
    thin = bars.assign(volume=np.where(np.arange(len(bars)) % 3 == 0, 5.0, 0.0))
    assert judge_bars(thin, DAYS[0], DAYS[-1], LIMITS) == []


def test_a_collapse_of_volume_is_reported_once_the_session_is_over() -> None:
    bars = _bars(per_day=24)
    day = bars["ts"].dt.date == DAYS[40]
    bars["volume"] = bars["volume"].where(~day, bars["volume"] / 100)
    found = judge_bars(bars, DAYS[0], DAYS[-1], LIMITS)
    assert [(finding.rule, finding.session, finding.bad) for finding in found] == [(COLLAPSE, DAYS[40], False)]
    assert judge_bars(bars, DAYS[40], DAYS[40], LIMITS, over=DAYS[39]) == []


def test_a_new_level_of_volume_is_reported_and_a_busy_day_is_not() -> None:
    bars = _scaled(_bars(), 1.0, 40, volume=25.0)
    found = judge_bars(bars, DAYS[0], DAYS[-1], LIMITS)
    assert {finding.rule for finding in found} == {LEVEL}
    assert found[0].session == DAYS[42]
    assert "times that before 2026-02-10" in found[0].detail
    busy = _bars()
    busy.loc[40, "volume"] *= 25
    assert judge_bars(busy, DAYS[0], DAYS[-1], LIMITS) == []


def test_one_session_and_a_range_agree_and_later_bars_do_not_matter() -> None:
    random = np.random.default_rng(3)
    parts = []
    for n, symbol in enumerate("ABC"):
        bars = _bars(symbol, seed=n)
        bars = _scaled(bars, 0.4, int(random.integers(20, 50)), volume=30.0)
        bars.loc[random.integers(20, 60, 2), "volume"] = 0.0
        parts.append(bars.drop(index=random.integers(10, 60, 15)))
    whole = pd.concat(parts, ignore_index=True)
    together = judge_bars(whole, DAYS[0], DAYS[-1], LIMITS)
    assert len(together) > 10
    alone = []
    for day in DAYS:
        seen = whole[whole["ts"] < pd.Timestamp(day, tz="UTC") + pd.Timedelta(days=1)]
        recent = seen[seen["ts"] >= pd.Timestamp(day, tz="UTC") - pd.Timedelta(days=LIMITS.history_days)]
        alone += judge_bars(recent.reset_index(drop=True), day, day, LIMITS)
    key = lambda f: (f.symbol, f.session, f.rule, f.detail)  # noqa: E731
    assert sorted(together, key=key) == sorted(alone, key=key)


def test_the_thresholds_are_the_ones_that_are_given() -> None:
    bars = _scaled(_bars(), 0.8, 40)
    assert judge_bars(bars, DAYS[0], DAYS[-1], replace(LIMITS, sigmas=math.inf)) == []
    mild = _scaled(_bars(), 0.93, 40)
    assert judge_bars(mild, DAYS[0], DAYS[-1], replace(LIMITS, sigmas=20.0)) == []
    assert _said(judge_bars(mild, DAYS[40], DAYS[40], LIMITS)) == [(OUTLIER, DAYS[40])]
