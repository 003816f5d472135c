"""The generated market: the same bytes everywhere, exact aggregates, venue grids, and the shape it promises."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from quant_pipeline.exchange.bars.columns import BarColumns
from quant_pipeline.exchange.bars.generator import GeneratedBars
from quant_pipeline.exchange.bars.grid import on_grid
from quant_pipeline.exchange.bars.paths import session_path
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE, session_table
from quant_pipeline.exchange.bars.symbols import KRW_SYMBOLS, US_SYMBOLS, symbol_spec
from quant_pipeline.markets.market import KRW_CRYPTO, MARKETS, US_EQUITY, Market
from quant_pipeline_tests.exchange.makers import epoch

SYMBOLS = {"us_equity": US_SYMBOLS, "krw_crypto": KRW_SYMBOLS}


def _source(market: Market, seed: int = 7) -> GeneratedBars:
    return GeneratedBars(market, seed, SYMBOLS[market.name])


def digest_of(*parts: BarColumns) -> str:
    sha = hashlib.sha256()
    for bars in parts:
        for name in BarColumns.__slots__:
            sha.update(getattr(bars, name).tobytes())
    return sha.hexdigest()


def sample_digest() -> str:
    """A digest over minutes, hours and days of both markets; also what a child process prints."""
    start, end = epoch("2025-02-24 00:00"), epoch("2025-03-10 00:00")
    return digest_of(
        *(
            _source(market).columns(symbol, seconds, start, end)
            for market in MARKETS
            for symbol in SYMBOLS[market.name][:3]
            for seconds in (MINUTE, HOUR, DAY)
        )
    )


@pytest.mark.parametrize("threads", ["1", "2"])
def test_another_process_with_other_threads_makes_the_same_bytes(threads: str) -> None:
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
    child = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import sample_digest; print(sample_digest())"],
        env={
            **os.environ,
            **dict.fromkeys(names, threads),
            "PYTHONHASHSEED": threads,
            "PYTHONPATH": os.pathsep.join(sys.path),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert child.stdout.strip() == sample_digest()


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_a_session_alone_is_the_same_as_within_a_long_range_and_in_any_order(market: Market) -> None:
    symbol = SYMBOLS[market.name][0]
    table = session_table(market.name)
    whole = _source(market).columns(symbol, MINUTE, epoch("2024-11-01 00:00"), epoch("2025-01-15 00:00"))
    fresh = _source(market)
    for session in reversed(
        range(table.closed_by(epoch("2024-12-20 00:00")), table.closed_by(epoch("2025-01-10 00:00")))
    ):
        start, end = int(table.opens[session]), int(table.closes[session])
        assert digest_of(fresh.columns(symbol, MINUTE, start, end)) == digest_of(whole.between(start, end))


def test_a_symbol_does_not_depend_on_what_else_is_listed() -> None:
    alone = GeneratedBars(US_EQUITY, 7, ("AAPL",)).columns(
        "AAPL", MINUTE, epoch("2025-03-03 00:00"), epoch("2025-03-05 00:00")
    )
    among = _source(US_EQUITY).columns("AAPL", MINUTE, epoch("2025-03-03 00:00"), epoch("2025-03-05 00:00"))
    assert digest_of(alone) == digest_of(among)


def test_another_seed_is_another_market() -> None:
    one, other = (
        _source(US_EQUITY, seed).columns("AAPL", DAY, epoch("2025-03-03 00:00"), epoch("2025-04-01 00:00"))
        for seed in (1, 2)
    )
    assert not np.array_equal(one.close, other.close)


@pytest.mark.parametrize("seconds", [5 * MINUTE, 15 * MINUTE, HOUR, 4 * HOUR, DAY])
@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_coarser_bars_are_exact_aggregates_of_the_minutes(market: Market, seconds: int) -> None:
    source, table = _source(market), session_table(market.name)
    # Two weeks with a clock change in New York, and a half day of the stock market.
    for start, end in (
        (epoch("2025-03-03 00:00"), epoch("2025-03-17 00:00")),
        (epoch("2024-11-27 00:00"), epoch("2024-12-02 00:00")),
    ):
        for symbol in SYMBOLS[market.name][:4]:
            minutes, coarse = (source.columns(symbol, size, start, end) for size in (MINUTE, seconds))
            session = np.searchsorted(table.closes, minutes.opens, side="right")
            stamp = table.stamps[session] if seconds == DAY else minutes.ts - minutes.ts % seconds
            assert np.array_equal(coarse.ts, np.unique(stamp))
            first = np.searchsorted(stamp, coarse.ts)
            for n, (begin, end_of) in enumerate(zip(first, [*first[1:], len(minutes)], strict=True)):
                part = minutes.part(int(begin), int(end_of))
                assert (coarse.open[n], coarse.close[n]) == (part.open[0], part.close[-1])
                assert (coarse.high[n], coarse.low[n]) == (part.high.max(), part.low.min())
                assert coarse.volume[n] == sum(part.volume.tolist())
                assert coarse.value[n] == sum(part.value.tolist())
                assert coarse.opens[n] <= part.opens[0]
                assert coarse.closes[n] >= part.closes[-1]


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_every_bar_is_sane_and_on_the_venues_grid(market: Market) -> None:
    source = _source(market)
    for symbol in SYMBOLS[market.name]:
        bars = source.columns(symbol, MINUTE, epoch("2025-03-03 00:00"), epoch("2025-03-06 00:00"))
        assert (np.diff(bars.ts) >= MINUTE).all()
        assert (bars.low <= np.minimum(bars.open, bars.close)).all()
        assert (bars.high >= np.maximum(bars.open, bars.close)).all()
        assert (bars.low > 0).all()
        assert (bars.volume > 0).all()
        for prices in (bars.open, bars.high, bars.low, bars.close):
            assert np.array_equal(on_grid(market.name, prices), prices)


def test_stock_minutes_fill_regular_hours_also_on_a_half_day() -> None:
    source = _source(US_EQUITY)
    full = source.columns("MSFT", MINUTE, epoch("2024-11-27 00:00"), epoch("2024-11-28 00:00"))
    half = source.columns("MSFT", MINUTE, epoch("2024-11-29 00:00"), epoch("2024-11-30 00:00"))
    assert (len(full), len(half)) == (390, 210)
    assert (full.ts[0], half.ts[-1]) == (epoch("2024-11-27 14:30"), epoch("2024-11-29 17:59"))


def test_coins_trade_round_the_clock_with_a_few_minutes_without_a_trade() -> None:
    bars = _source(KRW_CRYPTO).columns("KRW-DOGE", MINUTE, epoch("2025-03-01 00:00"), epoch("2025-03-31 00:00"))
    assert 0.97 * 30 * 1440 < len(bars) < 30 * 1440
    assert np.diff(bars.ts).max() <= 10 * MINUTE


def test_stocks_gap_overnight_and_coins_do_not() -> None:
    span = epoch("2024-01-01 00:00"), epoch("2025-01-01 00:00")
    stock, coin = (_source(m).columns(s, DAY, *span) for m, s in ((US_EQUITY, "AAPL"), (KRW_CRYPTO, "KRW-BTC")))
    assert np.abs(np.log(stock.open[1:] / stock.close[:-1])).mean() > 0.003
    assert np.abs(np.log(coin.open[1:] / coin.close[:-1])).max() < 0.005


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_returns_cluster_correlate_and_have_momentum(market: Market) -> None:
    symbols = SYMBOLS[market.name][:6]
    logs = np.stack([session_path(7, market.name, symbol).log_close for symbol in symbols])
    returns = np.diff(logs, axis=1)
    between = np.corrcoef(returns)[np.triu_indices(len(symbols), 1)]
    assert 0.15 < between.mean() < 0.9
    momentum = np.mean(
        [np.corrcoef((log[10:-1] - log[:-11]), r[10:])[0, 1] for log, r in zip(logs, returns, strict=True)]
    )
    assert 0.08 < momentum < 0.7  # on purpose: see `exchange.bars.paths`
    clusters = np.mean([np.corrcoef(np.abs(r[1:]), np.abs(r[:-1]))[0, 1] for r in returns])
    assert clusters > 0.05


@pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.name)
def test_prices_stay_near_their_level_for_years(market: Market) -> None:
    for symbol in SYMBOLS[market.name]:
        away = session_path(7, market.name, symbol).log_close - np.log(symbol_spec(symbol).level)
        assert np.abs(away).max() < np.log(5.0)


def test_nothing_exists_before_the_epoch_or_of_an_unlisted_symbol() -> None:
    source = _source(US_EQUITY)
    assert len(source.columns("AAPL", DAY, epoch("2000-01-01 00:00"), epoch("2011-12-31 00:00"))) == 0
    with pytest.raises(KeyError):
        source.columns("NONE", DAY, 0, 1)


def test_an_unknown_name_gets_its_own_plausible_market() -> None:
    source = GeneratedBars(US_EQUITY, 7, ("ZZZZ", "YYYY"))
    span = epoch("2025-01-01 00:00"), epoch("2025-03-01 00:00")
    one, other = (source.columns(symbol, DAY, *span).close for symbol in ("ZZZZ", "YYYY"))
    assert (one > 1).all()
    assert not np.array_equal(one, other)
