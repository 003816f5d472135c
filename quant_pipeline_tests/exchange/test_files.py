"""Real bars from files: what is read, what is refused, and that nothing is made up between the bars."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.core.values import OrderState, Side
from quant_pipeline.exchange.bars.files import FileBars
from quant_pipeline.exchange.bars.generator import GeneratedBars
from quant_pipeline.exchange.bars.sessions import DAY, HOUR, MINUTE
from quant_pipeline.exchange.bars.source import bar_frame
from quant_pipeline.exchange.engine import Engine
from quant_pipeline.exchange.exchange import engine_rules
from quant_pipeline.exchange.feed import Feed
from quant_pipeline.exchange.orders import Force
from quant_pipeline.markets.market import KRW_CRYPTO, US_EQUITY, Market
from quant_pipeline_tests.exchange.makers import epoch, exchange_at, ticket, utc

FAR = epoch("2028-01-01 00:00")


def _write(
    folder: Path, market: Market, symbol: str, interval: str, frame: pd.DataFrame, ending: str = ".parquet"
) -> None:
    path = folder / market.name / symbol / f"{interval}{ending}"
    path.parent.mkdir(parents=True, exist_ok=True)
    if ending == ".parquet":
        frame.to_parquet(path)
    else:
        frame.to_csv(path, index=False)


def _days(*rows: tuple[str, float, float]) -> pd.DataFrame:
    """Daily bars of New York sessions from (day, open, close)."""
    stamps = [pd.Timestamp(day, tz="America/New_York").tz_convert("UTC") for day, _, _ in rows]
    opens, closes = ([row[n] for row in rows] for n in (1, 2))
    return pd.DataFrame(
        {
            "ts": stamps,
            "open": opens,
            "high": [max(pair) + 1 for pair in zip(opens, closes, strict=True)],
            "low": [min(pair) - 1 for pair in zip(opens, closes, strict=True)],
            "close": closes,
            "volume": 1e6,
        }
    )


@pytest.fixture
def daily(tmp_path: Path) -> FileBars:
    """A share with daily bars only: Friday, Monday, Tuesday."""
    rows = _days(("2021-03-05", 100, 104), ("2021-03-08", 106, 103), ("2021-03-09", 101, 108))
    _write(tmp_path, US_EQUITY, "AAPL", "1d", rows)
    return FileBars(US_EQUITY, tmp_path / US_EQUITY.name)


def _engine(source: FileBars) -> Engine:
    return Engine(Feed(source, Decimal(0)), engine_rules(source.market, None), Decimal(10_000), seed=1)


@pytest.mark.parametrize(
    ("clock", "price", "traded"),
    [
        ("2021-03-08 14:29", 104, "2021-03-05 21:00"),
        ("2021-03-08 14:30", 106, "2021-03-08 14:30"),
        ("2021-03-08 20:59:59", 106, "2021-03-08 14:30"),
        ("2021-03-08 21:00", 103, "2021-03-08 21:00"),
    ],
)
def test_with_daily_bars_only_the_price_is_the_open_until_the_close(
    daily: FileBars, clock: str, price: int, traded: str
) -> None:
    tick = Feed(daily, Decimal(0)).tick("AAPL", utc(clock))
    assert tick is not None
    assert (tick.price, tick.traded_at) == (Decimal(price), utc(traded))


def test_the_forming_day_shows_its_open_only(daily: FileBars) -> None:
    seen = Feed(daily, Decimal(0)).bars("AAPL", DAY, 0, FAR, utc("2021-03-08 18:00"))
    assert seen.close.tolist() == [104.0, 106.0]
    assert seen.high[-1] == seen.low[-1] == 106.0
    assert seen.volume[-1] < 1e6


@pytest.mark.parametrize(
    ("sent", "filled", "price"),
    [
        ("2021-03-06 12:00", "2021-03-08 14:30", 106),
        ("2021-03-08 14:30", "2021-03-08 14:30", 106),
    ],
)
def test_an_order_fills_at_the_open_of_the_next_session_that_opens_after_it(
    daily: FileBars, sent: str, filled: str, price: int
) -> None:
    engine = _engine(daily)
    order = engine.submit(ticket("a", "AAPL", Side.BUY, qty="1"), utc(sent))
    engine.advance(utc("2021-03-09 12:00"))
    ended = engine.orders[order.venue_id]
    assert (ended.avg_price, ended.updated_at) == (Decimal(price), utc(filled))


def test_after_the_open_a_day_order_finds_no_bar_and_expires_while_gtc_waits_for_the_next_open(daily: FileBars) -> None:
    engine = _engine(daily)
    day = engine.submit(ticket("a", "AAPL", Side.BUY, qty="1"), utc("2021-03-08 14:31"))
    gtc = engine.submit(ticket("b", "AAPL", Side.BUY, qty="1", force=Force.GTC), utc("2021-03-08 14:31"))
    engine.advance(utc("2021-03-09 22:00"))
    assert engine.orders[day.venue_id].state is OrderState.EXPIRED
    assert engine.orders[gtc.venue_id].avg_price == Decimal(101)


def _coin(interval: str, start: str, count: int) -> pd.DataFrame:
    """Generated bars of a coin as a bar frame, for a file."""
    step = {"1m": MINUTE, "1h": HOUR}[interval]
    begin = utc(start)
    source = GeneratedBars(KRW_CRYPTO, 3, ("KRW-ETH",))
    return bar_frame(source, ("KRW-ETH",), interval, begin, begin + timedelta(seconds=step * count))


@pytest.mark.parametrize("ending", [".parquet", ".csv", ".csv.gz"])
def test_minutes_lie_over_hours_where_there_are_some(tmp_path: Path, ending: str) -> None:
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1h", _coin("1h", "2025-09-01 00:00", 24), ending)
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1m", _coin("1m", "2025-09-01 12:00", 60), ending)
    source = FileBars(KRW_CRYPTO, tmp_path / KRW_CRYPTO.name)
    path = source.path("KRW-ETH", 0, FAR)
    lengths = (path.closes - path.opens).tolist()
    assert lengths[:12] == [HOUR] * 12
    assert set(lengths[12:-11]) == {MINUTE}
    assert lengths[-11:] == [HOUR] * 11
    day = source.columns("KRW-ETH", DAY, 0, FAR)
    hours = source.columns("KRW-ETH", HOUR, 0, FAR)
    assert (len(day), len(hours)) == (1, 24)
    assert (day.high[0], day.low[0], day.close[0]) == (hours.high.max(), hours.low.min(), hours.close[-1])
    assert source.begins("KRW-ETH") == epoch("2025-09-01 00:00")


def test_an_order_in_an_hour_without_minutes_waits_for_the_next_hour(tmp_path: Path) -> None:
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1h", _coin("1h", "2025-09-01 00:00", 24))
    engine = Engine(
        Feed(FileBars(KRW_CRYPTO, tmp_path / KRW_CRYPTO.name), Decimal(0)),
        engine_rules(KRW_CRYPTO, None),
        Decimal(10**8),
        seed=1,
    )
    order = engine.submit(
        ticket("a", "KRW-ETH", Side.BUY, funds="1000000", force=Force.REST), utc("2025-09-01 03:00:01")
    )
    engine.advance(utc("2025-09-01 03:59:59"))
    assert engine.orders[order.venue_id].is_open
    engine.advance(utc("2025-09-01 04:00"))
    assert engine.orders[order.venue_id].updated_at == utc("2025-09-01 04:00")


def test_hours_are_never_shown_as_minutes(tmp_path: Path) -> None:
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1h", _coin("1h", "2025-09-01 00:00", 30))
    feed = Feed(FileBars(KRW_CRYPTO, tmp_path / KRW_CRYPTO.name), Decimal(0))
    for clock in ("2025-09-01 05:30", "2025-09-02 03:00"):
        assert len(feed.bars("KRW-ETH", MINUTE, 0, FAR, utc(clock))) == 0
        assert len(feed.bars("KRW-ETH", HOUR, epoch("2025-09-01 00:00"), FAR, utc(clock))) in (6, 28)


def test_an_exchange_serves_the_files_and_generates_the_other_market(tmp_path: Path) -> None:
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1m", _coin("1m", "2025-09-01 12:00", 300))
    with exchange_at("2025-09-01T13:00:30+00:00", data_dir=tmp_path, us_symbols=("KO",)) as exchange:
        import requests

        url = f"{exchange.upbit_url}/v1/candles/minutes/1?market=KRW-ETH&count=200"
        assert len(requests.get(url, timeout=10).json()) <= 61
        unknown = f"{exchange.upbit_url}/v1/candles/minutes/1?market=KRW-BTC"
        assert requests.get(unknown, timeout=10).status_code == 404
        listed = requests.get(f"{exchange.upbit_url}/v1/market/all", timeout=10).json()
        assert [row["market"] for row in listed] == ["KRW-ETH"]


def test_rows_outside_sessions_are_left_out(tmp_path: Path) -> None:
    rows = _days(("2021-03-05", 100, 104), ("2021-03-08", 106, 103))
    rows["ts"] = [pd.Timestamp("2021-03-05 14:00", tz="UTC"), pd.Timestamp("2021-03-05 14:30", tz="UTC")]
    _write(tmp_path, US_EQUITY, "AAPL", "1m", rows)
    source = FileBars(US_EQUITY, tmp_path / US_EQUITY.name)
    assert source.path("AAPL", 0, FAR).open.tolist() == [106.0]


def test_missing_columns_are_named_with_the_file(tmp_path: Path) -> None:
    _write(tmp_path, US_EQUITY, "AAPL", "1d", _days(("2021-03-05", 1, 1)).drop(columns=["low", "volume"]))
    with pytest.raises(ValueError, match=r"1d\.parquet lacks the columns low, volume"):
        FileBars(US_EQUITY, tmp_path / US_EQUITY.name)


@pytest.mark.parametrize(("column", "value"), [("low", -1.0), ("open", float("nan")), ("close", float("inf"))])
def test_prices_that_are_none_are_refused(tmp_path: Path, column: str, value: float) -> None:
    _write(tmp_path, US_EQUITY, "AAPL", "1d", _days(("2021-03-05", 5, 5)).assign(**{column: value}))
    with pytest.raises(ValueError, match="not positive numbers"):
        FileBars(US_EQUITY, tmp_path / US_EQUITY.name)


def test_two_bars_of_one_time_are_refused(tmp_path: Path) -> None:
    _write(tmp_path, US_EQUITY, "AAPL", "1d", _days(("2021-03-05", 5, 5), ("2021-03-05", 6, 6)))
    with pytest.raises(ValueError, match="two bars of one time"):
        FileBars(US_EQUITY, tmp_path / US_EQUITY.name)


def test_a_file_without_a_bar_of_a_session_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, US_EQUITY, "AAPL", "1d", _days(("2021-03-06", 5, 5)))
    with pytest.raises(ValueError, match="no bar of a session of us_equity"):
        FileBars(US_EQUITY, tmp_path / US_EQUITY.name)


def test_a_folder_without_bars_says_what_it_should_hold(tmp_path: Path) -> None:
    (tmp_path / "AAPL").mkdir()
    with pytest.raises(ValueError, match=r"expected <symbol>/<interval>\.parquet"):
        FileBars(US_EQUITY, tmp_path)


def test_real_daily_bars_are_served_as_they_are(test_data: Path, tmp_path: Path) -> None:
    frame = pd.read_csv(test_data / "us_daily/yahoo/KO.csv.gz")
    frame = frame[frame["Date"] >= "2020-01-01"].reset_index(drop=True)
    stamps = pd.to_datetime(frame["Date"]).dt.tz_localize("America/New_York").dt.tz_convert("UTC")
    bars = frame.rename(columns=str.lower)[["open", "high", "low", "close", "volume"]].assign(ts=stamps)
    _write(tmp_path, US_EQUITY, "KO", "1d", bars)
    source = FileBars(US_EQUITY, tmp_path / US_EQUITY.name)
    served = bar_frame(source, ("KO",), "1d", utc("2020-01-01 00:00"), utc("2022-01-01 00:00"))
    assert len(served) == len(frame) == 505
    assert served["close"].tolist() == frame["Close"].tolist()
    feed = Feed(source, Decimal(0))
    for row in frame.itertuples():
        # 17:00 UTC lies within every session, in summer and winter and on half days.
        tick = feed.tick("KO", datetime.fromisoformat(f"{row.Date}T17:00:00+00:00"))
        assert tick is not None
        assert float(tick.price) == row.Open
        assert tick.bid <= tick.price <= tick.ask


def test_real_minutes_aggregate_to_the_real_hours(test_data: Path, tmp_path: Path) -> None:
    minutes = pd.read_csv(test_data / "crypto/upbit_1m/ETH_KRW_1m.csv.gz").rename(columns={"timestamp": "ts"})
    hours = pd.read_csv(test_data / "crypto/upbit_1h/ETH_KRW_1h.csv.gz").rename(columns={"timestamp": "ts"})
    _write(tmp_path, KRW_CRYPTO, "KRW-ETH", "1m", minutes)
    made = FileBars(KRW_CRYPTO, tmp_path / KRW_CRYPTO.name).columns(
        "KRW-ETH", HOUR, epoch("2025-09-01 00:00"), epoch("2025-09-30 00:00")
    )
    real = hours[(hours["ts"] >= "2025-09-01") & (hours["ts"] < "2025-09-30")]
    for name in ("open", "high", "low", "close"):
        assert getattr(made, name).tolist() == real[name].tolist()
    assert made.volume == pytest.approx(real["volume"].to_numpy(), rel=1e-9)
