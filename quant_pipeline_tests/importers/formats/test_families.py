"""Every family recognised by its own look and by no other, and read as its documentation says."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.errors import ImportRefused, NotBars
from quant_pipeline.importers.formats.registry import FORMATS
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.recognise import recognise
from quant_pipeline.importers.source import open_source
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline_tests.importers.price_files import frame_of, minutes, row, text, utc, write

_YAHOO = (
    "Date,Open,High,Low,Close,Adj Close,Volume\n"
    "2024-05-01,10.5,12,9.25,11,10.125,5000\n"
    "2024-05-02,11,13,10,12,11,6000\n"
)
_NASDAQ = (
    'Date,Close,Volume,Open,High,Low\n05/02/2024,"$1,234.56","64,062,260",$1230,"$1,240.5",$1229.75\n'
    '05/01/2024,$999.10,"1,000",$998.00,"$1,000.00",$997\n'
)
_NASDAQ_SITE = (
    "Date,Close/Last,Volume,Open,High,Low\n05/02/2024,$12.5,1000,$12,$13,$11\n05/01/2024,$12,900,$12,$13,$11\n"
)
_SDK = (
    "symbol,timestamp,open,high,low,close,volume,trade_count,vwap\n"
    "SPY,2024-05-01 13:30:00+00:00,500,501,499,500.5,100.0,1.0,500.1\n"
    "SPY,2024-05-01 13:31:00+00:00,500,501,499,500.5,100.0,1.0,500.1\n"
)
_PYUPBIT = (
    ",open,high,low,close,volume,value\n"
    "2024-05-01 09:00:00,10,12,9,11,1.5,16.5\n"
    "2024-05-01 09:15:00,11,12,9,11,1.5,16.5\n"
)
_KOREAN = (
    ",코인명,캔들기준시간(KST 기준\x1d),시가,고가,저가,중가,누적거래금액,누적거래량\n"
    "0,비트토렌트,2021-05-11T09:00:00,8.13,8.42,7.87,8.17,127909561318.39,15693240259.8\n"
    "1,비트토렌트,2021-05-10T09:00:00,9.02,9.05,8.0,8.14,378190086427.6,42463385819.2\n"
)
_LEAN_DAILY = (
    "20140606 00:00,6494800,6510200,6441300,6455900,11983400\n20140609 00:00,927200,938800,917500,936900,75414997\n"
)
_LEAN_HOURLY = "20240501 09:00,973100,975300,970300,970300,384500\n20240501 10:00,970200,971300,965300,970500,585900\n"
_LEAN_MINUTE = "34200000,927000,930000,920000,925000,600\n34260000,925000,926000,924000,924600,59\n"
_EXPORTED = (
    "market,interval,symbol,ts,open,high,low,close,volume,source,feed,adjustment\n"
    "us_equity,1h,AAPL,2024-05-01T13:00:00+00:00,10,12,9,11,1.5,lean,consolidated,raw\n"
    "us_equity,1h,MSFT,2024-05-01T13:30:00+00:00,20,22,19,21,2.5,alpaca,iex,raw\n"
)


def _zip(path: Path, member: str, content: str) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
    return path


def _files(folder: Path) -> dict[str, Path]:
    return {
        "quant_export": write(folder / "bars.csv", _EXPORTED),
        "yahoo": write(folder / "AAPL.csv.gz", _YAHOO),
        "nasdaq": write(folder / "KO.csv", _NASDAQ),
        "alpaca_sdk": write(folder / "SPY_iex.csv", _SDK),
        "upbit_utc": write(folder / "ETH_KRW_1m.csv", text(minutes("2024-05-01 00:00:00", 3))),
        "pyupbit_kst": write(folder / "KRW-ETH_15min.csv", _PYUPBIT),
        "upbit_korean": write(folder / "KRW-BTT_daily.csv", _KOREAN),
        "lean": _zip(folder / "aapl.zip", "aapl.csv", _LEAN_DAILY),
        "plain": write(folder / "MSFT.csv", text(["2024-05-01", "2024-05-02"])),
    }


def test_every_family_has_a_sample_here(tmp_path: Path) -> None:
    assert set(_files(tmp_path)) == {family.name for family in FORMATS}


def test_each_sample_is_recognised_as_its_own_family(tmp_path: Path) -> None:
    found = {
        name: recognise(open_source(path), market=None, symbol=None).format.name
        for name, path in _files(tmp_path).items()
    }
    assert found == {name: name for name in found}


def test_special_families_do_not_claim_each_others_samples(tmp_path: Path) -> None:
    special = [family for family in FORMATS if family.name != "plain"]
    for name, path in _files(tmp_path).items():
        peek = recognise(open_source(path), market=None, symbol=None).peek
        assert [family.name for family in special if family.sniff(peek)] == ([name] if name != "plain" else [])


def _one(parsed: ParsedFile, number: int = 0) -> list[float]:
    return [float(value) for value in parsed.frame.iloc[number, 2:]]


def test_an_export_states_interval_and_origin_of_every_row(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "bars.csv", _EXPORTED))
    assert (parsed.market, parsed.interval, parsed.symbols) == ("us_equity", "1h", ("AAPL", "MSFT"))
    assert parsed.frame["ts"].tolist() == [pd.Timestamp("2024-05-01T13:00Z"), pd.Timestamp("2024-05-01T13:30Z")]
    assert parsed.origins is not None
    assert parsed.origins.to_numpy().tolist() == [["lean", "consolidated", "raw"], ["alpaca", "iex", "raw"]]
    assert (parsed.source, parsed.feed, parsed.adjustment) == ("alpaca+lean", "consolidated+iex", "raw")


@pytest.mark.parametrize(
    ("old", "new", "line", "said"),
    [
        ("us_equity,1h,MSFT", "us_equity,1m,MSFT", 3, "another interval than the first one"),
        ("us_equity,1h,MSFT", "krw_crypto,1h,MSFT", 3, "another market than the first one"),
        ("alpaca,iex,raw", "alpaca,,raw", 3, "the feed is empty"),
        ("us_equity", "krw_crypto", None, "AAPL is no symbol of krw_crypto"),
        ("us_equity,1h,AAPL", "us_equity,2h,AAPL", None, "states the interval '2h'"),
    ],
)
def test_an_export_that_was_tampered_with_is_refused(
    tmp_path: Path, old: str, new: str, line: int | None, said: str
) -> None:
    with pytest.raises(ImportRefused, match=said) as refusal:
        read_file(write(tmp_path / "bars.csv", _EXPORTED.replace(old, new)))
    assert refusal.value.line == line


def test_yahoo_prices_are_used_as_they_are(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "AAPL.csv", _YAHOO))
    assert _one(parsed) == [10.5, 12.0, 9.25, 11.0, 5000.0]
    assert (parsed.adjustment, parsed.source, parsed.interval) == ("split", "yahoo", "1d")


@pytest.mark.parametrize(
    ("content", "values"),
    [(_NASDAQ, [998.0, 1000.0, 997.0, 999.1, 1000.0]), (_NASDAQ_SITE, [12.0, 13.0, 11.0, 12.0, 900.0])],
)
def test_nasdaq_numbers_lose_their_dollars_and_separators(tmp_path: Path, content: str, values: list[float]) -> None:
    parsed = read_file(write(tmp_path / "KO.csv", content))
    assert _one(parsed) == values
    assert parsed.first == utc("2024-05-01T00:00-04:00")
    assert (parsed.adjustment, parsed.source) == ("split", "nasdaq")


@pytest.mark.parametrize("close", ["$1,23.45", "$", "1,234,5", "$-5.00", "N/A"])
def test_nasdaq_numbers_with_odd_separators_are_refused(tmp_path: Path, close: str) -> None:
    content = _NASDAQ.replace("$999.10", f'"{close}"')
    with pytest.raises(ImportRefused, match="close is not a number") as refusal:
        read_file(write(tmp_path / "KO.csv", content))
    assert (refusal.value.line, refusal.value.column, refusal.value.value) == (3, "Close", close)


def test_nasdaq_table_without_a_column_is_refused(tmp_path: Path) -> None:
    content = "Date,Close/Last,Volume,Open,High\n05/02/2024,$12.5,1000,$12,$13\n"
    with pytest.raises(ImportRefused, match="no column low"):
        read_file(write(tmp_path / "KO.csv", content))


@pytest.mark.parametrize(
    ("name", "feed"), [("SPY_iex_2024.csv", "iex"), ("SPY.sip.csv", "sip"), ("SPY.csv", "unknown")]
)
def test_alpaca_frames_name_their_feed_in_the_file_name(tmp_path: Path, name: str, feed: str) -> None:
    parsed = read_file(write(tmp_path / name, _SDK))
    assert (parsed.symbol, parsed.feed, parsed.first) == ("SPY", feed, utc("2024-05-01T13:30"))


def test_alpaca_frame_as_parquet_with_its_index(tmp_path: Path) -> None:
    stamps = pd.DatetimeIndex([utc(stamp) for stamp in minutes("2024-05-01 13:30:00", 3)])
    expected = frame_of("SPY", list(stamps))
    index = pd.MultiIndex.from_product([["SPY"], stamps], names=["symbol", "timestamp"])
    frame = expected.drop(columns=["symbol", "ts"]).set_index(index).assign(trade_count=1.0, vwap=1.0)
    frame.to_parquet(tmp_path / "anything.parquet")
    parsed = read_file(tmp_path / "anything.parquet")
    assert parsed.format == "alpaca_sdk"
    assert_frame_equal(parsed.frame, expected)


def test_upbit_minutes_with_another_header_need_a_zone(tmp_path: Path) -> None:
    path = write(
        tmp_path / "ETH_KRW_1m.csv", text(minutes("2024-05-01 00:00:00", 3), "datetime,open,high,low,close,volume")
    )
    with pytest.raises(ImportRefused, match="no time zone"):
        read_file(path)
    assert read_file(path, tz="Asia/Seoul").first == utc("2024-04-30T15:00")


def test_the_header_of_upbit_files_on_a_stock_is_not_taken_for_utc(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="no time zone"):
        read_file(write(tmp_path / "ETH_1m.csv", text(minutes("2024-05-01 09:30:00", 3))))


def test_pyupbit_index_is_korean_time(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KRW-ETH_15min.csv", _PYUPBIT))
    assert (parsed.first, parsed.interval) == (utc("2024-05-01T00:00"), "15m")


def test_pyupbit_frame_as_parquet(tmp_path: Path) -> None:
    index = pd.date_range("2024-05-01 09:00", periods=3, freq="D")
    values = pd.DataFrame([row(n) for n in range(3)], columns=["open", "high", "low", "close", "volume"], index=index)
    values.assign(value=1.0).to_parquet(tmp_path / "KRW-BTC.parquet")
    parsed = read_file(tmp_path / "KRW-BTC.parquet")
    assert (parsed.format, parsed.interval) == ("pyupbit_kst", "1d")
    assert_frame_equal(parsed.frame, frame_of("KRW-BTC", [utc(f"2024-05-0{n}") for n in (1, 2, 3)]))


def test_korean_headers_are_read_with_the_day_edge_of_upbit(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTT_daily.csv", _KOREAN))
    assert (parsed.first, parsed.last) == (utc("2021-05-10T00:00"), utc("2021-05-11T00:00"))
    assert _one(parsed, 1) == [8.13, 8.42, 7.87, 8.17, 15693240259.8]
    proper = _KOREAN.replace("중가", "종가").replace("\x1d", "")
    assert_frame_equal(read_file(write(tmp_path / "KRW-BTT.csv", proper)).frame, parsed.frame)


def test_korean_file_without_a_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="저가"):
        read_file(write(tmp_path / "KRW-BTT_daily.csv", _KOREAN.replace("저가", "최저")))


def test_lean_daily_prices_are_ten_thousandths(tmp_path: Path) -> None:
    parsed = read_file(_zip(tmp_path / "aapl.zip", "aapl.csv", _LEAN_DAILY))
    assert _one(parsed) == [649.48, 651.02, 644.13, 645.59, 11983400.0]
    assert (parsed.symbol, parsed.interval, parsed.adjustment, parsed.slots_missing) == ("AAPL", "1d", "raw", 0)
    assert parsed.first == utc("2014-06-06T00:00-04:00")


def test_lean_hours_begin_on_the_clock(tmp_path: Path) -> None:
    parsed = read_file(_zip(tmp_path / "spy.zip", "spy.csv", _LEAN_HOURLY))
    assert (parsed.interval, parsed.first, parsed.slots) == ("1h", utc("2024-05-01T09:00-04:00"), 2)


def test_lean_minutes_take_day_and_symbol_from_the_member(tmp_path: Path) -> None:
    parsed = read_file(_zip(tmp_path / "20140609_trade.zip", "20140609_aapl_minute_trade.csv", _LEAN_MINUTE))
    assert (parsed.symbol, parsed.interval, parsed.first) == ("AAPL", "1m", utc("2014-06-09T09:30-04:00"))


def test_lean_bad_row_is_named_without_a_header(tmp_path: Path) -> None:
    path = _zip(tmp_path / "aapl.zip", "aapl.csv", _LEAN_DAILY.replace("938800", "x"))
    with pytest.raises(ImportRefused, match="high is not a number") as refusal:
        read_file(path)
    assert (refusal.value.line, refusal.value.column) == (2, "high")


def test_lean_quotes_factors_and_maps_are_other_things_than_bars(tmp_path: Path) -> None:
    quotes = "14400000,10000,922300,10000,920000,1000,924200,925000,924200,924600,300\n"
    with pytest.raises(NotBars, match="quotes"):
        read_file(_zip(tmp_path / "20140609_quote.zip", "20140609_aapl_minute_quote.csv", quotes))
    with pytest.raises(NotBars, match="factor or map"):
        read_file(write(tmp_path / "aapl.csv", "19980102,0.8613657,0.00892857,1\n20501231,1,1,0\n"))
    with pytest.raises(NotBars, match="factor or map"):
        read_file(write(tmp_path / "fb.csv", "20120518,fb,Q\n20501231,fb,Q\n"))
