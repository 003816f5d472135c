"""The month anchor: one session, a range, everything and a tick give the same bytes."""

from __future__ import annotations

from collections.abc import Hashable
from datetime import date, timedelta

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quant_pipeline.core.anchor import (
    History,
    last_affected_session,
    month_windows,
    months_of,
    required_history,
    session_days,
    symbol_blocks,
    utc_sessions,
)
from quant_pipeline.core.features import FEATURE_SET, compute_features
from quant_pipeline.core.identity import content_hashes
from quant_pipeline.core.indicators import INDICATORS, Indicator, compute_indicators, max_warmup
from quant_pipeline.core.strategies import compute_signals
from quant_pipeline_tests.core.series import all_sessions, random_bars

type Hashes = dict[tuple[Hashable, ...], str]

DAILY = random_bars(11, ("A", "B"), 760)
HOURLY = random_bars(12, ("KRW-BTC", "KRW-THIN"), 24 * 130, interval="1h", absent=0.15)
HOURLY_HISTORY = History("1h")


def hashes(frame: pd.DataFrame) -> Hashes:
    return content_hashes(frame, by=("session", "symbol"))


def thin(bars: pd.DataFrame) -> pd.DataFrame:
    """The hourly bars with three of four bars of KRW-THIN gone, so that its warm-up lies far back."""
    keep = (bars["symbol"] != "KRW-THIN") | (np.arange(len(bars)) % 4 == 0)
    return bars[keep].reset_index(drop=True)


@pytest.fixture(scope="module")
def daily_reference() -> Hashes:
    return hashes(compute_signals_and_indicators(DAILY, all_sessions(DAILY)))


def compute_signals_and_indicators(bars: pd.DataFrame, sessions: list[date]) -> pd.DataFrame:
    rows = compute_indicators(bars, sessions)
    return rows.merge(compute_signals(rows), on=["symbol", "ts", "session"])


@settings(max_examples=12, deadline=None)
@given(first=st.integers(0, 755), length=st.integers(1, 70))
def test_any_range_gives_the_same_bytes(daily_reference: Hashes, first: int, length: int) -> None:
    wanted = all_sessions(DAILY)[first : first + length]
    found = hashes(compute_signals_and_indicators(DAILY, wanted))
    assert found == {key: value for key, value in daily_reference.items() if key[0] in set(wanted)}
    assert len(found) == 2 * len(wanted)


def test_a_frame_that_reaches_back_only_as_far_as_needed_gives_the_same_bytes(daily_reference: Hashes) -> None:
    wanted = all_sessions(DAILY)[700:720]
    since = required_history(wanted[0], max_warmup(), "1d")
    enough = DAILY[(DAILY["ts"].dt.date >= since) & (DAILY["ts"].dt.date <= wanted[-1])].reset_index(drop=True)
    assert len(enough) < len(DAILY)
    found = hashes(compute_signals_and_indicators(enough, wanted))
    assert found == {key: daily_reference[key] for key in found}


def test_a_frame_one_bar_too_short_is_noticed_by_this_very_comparison() -> None:
    ema = next(item for item in INDICATORS if item.name == "ema_50")
    wanted = [date(2024, 12, 30)]
    first = int(np.searchsorted(utc_sessions(DAILY["ts"])[:760], np.datetime64("2024-12-01")))
    one_symbol = DAILY.iloc[:760]
    exact = compute_indicators(one_symbol.iloc[first - ema.warmup :], wanted, indicators=(ema,))
    short = compute_indicators(one_symbol.iloc[first - ema.warmup + 1 :], wanted, indicators=(ema,))
    assert hashes(exact) == hashes(compute_indicators(one_symbol, wanted, indicators=(ema,)))
    assert hashes(exact) != hashes(short)


def test_ticks_within_a_session_give_the_bytes_of_the_finished_session() -> None:
    wanted = [date(2023, 5, 3)]
    finished = compute_indicators(HOURLY, wanted, history=HOURLY_HISTORY)
    features = compute_features(HOURLY, wanted, bars_per_day=24, history=HOURLY_HISTORY)
    for hour in range(1, 24, 5):
        now = pd.Timestamp("2023-05-03", tz="UTC") + pd.Timedelta(hours=hour)
        known = HOURLY[HOURLY["ts"] < now].reset_index(drop=True)
        early = finished["ts"] < now
        assert hashes(compute_indicators(known, wanted, history=HOURLY_HISTORY)) == hashes(finished[early])
        found = compute_features(known, wanted, bars_per_day=24, history=HOURLY_HISTORY)
        assert hashes(found) == hashes(features[early])


@pytest.mark.parametrize("bars_per_day", [1, 24])
def test_features_of_one_session_equal_those_of_the_range(bars_per_day: int) -> None:
    bars = DAILY if bars_per_day == 1 else HOURLY
    sessions = all_sessions(bars)[40:100]
    whole = hashes(compute_features(bars, sessions, bars_per_day=bars_per_day))
    for session in sessions[::7]:
        alone = hashes(compute_features(bars, [session], bars_per_day=bars_per_day))
        assert alone == {key: value for key, value in whole.items() if key[0] == session}


def test_a_thin_symbol_gives_the_same_bytes_from_a_short_and_a_long_read() -> None:
    bars, wanted = thin(HOURLY), [date(2023, 5, 2), date(2023, 5, 9)]
    since = HOURLY_HISTORY.since(date(2023, 5, 1), max_warmup())
    short = bars[bars["ts"].dt.date >= since].reset_index(drop=True)
    assert hashes(compute_indicators(bars, wanted, history=HOURLY_HISTORY)) == hashes(
        compute_indicators(short, wanted, history=HOURLY_HISTORY)
    )
    assert hashes(compute_indicators(bars, wanted)) != hashes(compute_indicators(short, wanted))
    since = HOURLY_HISTORY.since(date(2023, 5, 1), FEATURE_SET.warmup_bars(24))
    short = bars[bars["ts"].dt.date >= since].reset_index(drop=True)
    assert hashes(compute_features(bars, wanted, bars_per_day=24, history=HOURLY_HISTORY)) == hashes(
        compute_features(short, wanted, bars_per_day=24, history=HOURLY_HISTORY)
    )


def test_symbols_do_not_touch_each_other() -> None:
    sessions = all_sessions(DAILY)[400:420]
    together = hashes(compute_indicators(DAILY, sessions))
    features = hashes(compute_features(DAILY, sessions))
    for symbol in ("A", "B"):
        alone = DAILY[DAILY["symbol"] == symbol].reset_index(drop=True)
        assert hashes(compute_indicators(alone, sessions)) == {k: v for k, v in together.items() if k[1] == symbol}
        assert hashes(compute_features(alone, sessions)) == {k: v for k, v in features.items() if k[1] == symbol}


@pytest.mark.parametrize("indicator", INDICATORS, ids=lambda item: item.name)
def test_declared_warmup_forgets_where_it_started(indicator: Indicator) -> None:
    """With the declared warm-up a value differs from one with all history by less than 1e-4 of its spread."""
    bars = random_bars(13, ("A",), 900, flat=0.0)
    wanted = [session for session in all_sessions(bars) if session >= date(2025, 1, 1)]
    anchored = compute_indicators(bars, wanted, indicators=(indicator,))
    inputs = {name: bars[name].to_numpy() for name in ("open", "high", "low", "close", "volume")}
    unlimited = indicator.compute(inputs)
    assert len(anchored) == len(wanted)
    for name in indicator.columns:
        full = unlimited[name][-len(wanted) :]
        assert np.isfinite(full).all()
        assert np.abs(anchored[name].to_numpy() - full).max() <= 1e-4 * max(np.ptp(full), 1e-12)


def test_windows_hold_the_month_its_warmup_and_only_the_requested_sessions() -> None:
    bars = random_bars(14, ("A", "B"), 90)
    days = utc_sessions(bars["ts"])
    windows = list(month_windows(bars, days, [date(2023, 3, 5), date(2023, 2, 3), date(2023, 3, 2)], 40))
    assert [(w.symbol, w.month) for w in windows] == [
        ("A", date(2023, 2, 1)), ("A", date(2023, 3, 1)), ("B", date(2023, 2, 1)), ("B", date(2023, 3, 1))
    ]  # fmt: skip
    february, march = windows[0], windows[1]
    assert (february.start, february.first, february.stop) == (0, 31, 34)
    assert (march.start, march.first, march.stop) == (59 - 40, 59, 64)
    assert march.keep.tolist() == [60, 63]
    assert windows[3].start == 90 + 59 - 40


def test_a_session_without_bars_gives_no_window() -> None:
    bars = random_bars(15, ("A",), 40)
    assert list(month_windows(bars, utc_sessions(bars["ts"]), [date(2024, 6, 3)], 5)) == []


def test_session_column_of_the_caller_wins_over_the_utc_date() -> None:
    bars = random_bars(16, ("A",), 60)
    shifted = [day.astype(object) + timedelta(days=1) for day in utc_sessions(bars["ts"])]
    rows = compute_indicators(bars, [date(2023, 2, 2)], shifted)
    assert rows["ts"].dt.date.tolist() == [date(2023, 2, 1)]
    assert rows["session"].tolist() == [date(2023, 2, 2)]


def test_bad_frames_are_refused() -> None:
    bars = random_bars(17, ("A", "B"), 10)
    with pytest.raises(ValueError, match="one session per row"):
        session_days(bars, [date(2023, 1, 1)])
    mixed = bars.iloc[[0, 10, 1, 11]].reset_index(drop=True)
    with pytest.raises(ValueError, match="bars of A are not together"):
        list(symbol_blocks(mixed))
    backwards = bars.iloc[[3, 2, 1]].reset_index(drop=True)
    with pytest.raises(ValueError, match="bars of A are not sorted"):
        list(month_windows(backwards, utc_sessions(backwards["ts"]), [date(2023, 1, 2)], 0))
    with pytest.raises(ValueError, match="-1 bars is negative"):
        list(month_windows(bars, utc_sessions(bars["ts"]), [date(2023, 1, 2)], -1))


def test_months_are_grouped_in_order_without_repeats() -> None:
    found = months_of([date(2024, 2, 2), date(2024, 1, 31), date(2024, 2, 1), date(2024, 2, 2)])
    assert found == {
        date(2024, 1, 1): (date(2024, 1, 31),),
        date(2024, 2, 1): (date(2024, 2, 1), date(2024, 2, 2)),
    }


@pytest.mark.parametrize(
    ("interval", "per_year", "bars_per_year"),
    [("1d", 252, 252), ("1d", 365, 365), ("1h", 365, 8760), ("5m", 252, 19656)],
)
def test_required_history_reaches_back_far_enough(interval: str, per_year: int, bars_per_year: int) -> None:
    since = required_history(date(2024, 6, 17), 300, interval, sessions_per_year=per_year)
    held = (date(2024, 6, 1) - since).days * bars_per_year / 365
    assert 300 <= held <= 300 * 1.2 + 12 * bars_per_year / 365


@settings(max_examples=25, deadline=None)
@given(position=st.integers(0, 399), what=st.sampled_from(["changed", "vanished", "appeared"]))
def test_nothing_changes_after_the_last_affected_session(position: int, what: str) -> None:
    """Change, remove or add one bar: every session whose values differ lies in the stated reach."""
    indicators = tuple(item for item in INDICATORS if item.name in {"ema_9", "sma_20", "atr_14"})
    before = random_bars(18, ("A",), 400, flat=0.0)
    after = before.copy()
    if what == "changed":
        after.loc[position, ["open", "high", "low", "close"]] *= 1.5
    else:
        after = after.drop(index=position).reset_index(drop=True)
    changed = before["ts"][position].date()
    if what == "appeared":
        before, after = after, before
    old, new = (
        hashes(compute_indicators(frame, all_sessions(frame), indicators=indicators)) for frame in (before, after)
    )
    different = {key[0] for key in old.keys() | new.keys() if old.get(key) != new.get(key)}
    last = last_affected_session(utc_sessions(after["ts"]), changed, max_warmup(indicators))
    assert different or position < 10
    assert all(session >= changed for session in different)
    if last is not None:
        assert max(different, default=last) <= last
        assert (last + timedelta(days=1)).day == 1
