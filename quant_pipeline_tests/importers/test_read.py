"""One file at a time: what is found out by itself, what must be said, what is refused and how."""

from __future__ import annotations

import gzip
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.core.bars import validate_bars
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.read import read_file
from quant_pipeline_tests.importers.price_files import (
    HEADER,
    frame_of,
    line,
    minutes,
    regular_minutes,
    session_days,
    text,
    utc,
    write,
)

DAYS = session_days("2024-03-06", "2024-03-14")
NEW_YORK = "America/New_York"


def test_daily_stock_file_is_stamped_midnight_new_york_on_both_sides_of_the_clock_change(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "AAPL.csv", text(DAYS)))
    starts = [utc(f"{day}T00:00:00-05:00" if day < "2024-03-10" else f"{day}T00:00:00-04:00") for day in DAYS]
    assert_frame_equal(parsed.frame, frame_of("AAPL", starts))
    assert validate_bars(parsed.frame) == []
    assert (parsed.market, parsed.symbol, parsed.interval, parsed.format) == ("us_equity", "AAPL", "1d", "plain")
    assert (parsed.first, parsed.last) == (starts[0], starts[-1])
    assert (parsed.slots, parsed.gaps, parsed.rows_read, parsed.duplicates_dropped) == (len(DAYS), (), len(DAYS), 0)


def test_upbit_minutes_are_utc_without_being_told(tmp_path: Path) -> None:
    stamps = minutes("2024-05-01 23:58:00", 5)
    parsed = read_file(write(tmp_path / "BTC_KRW_1m.csv.gz", text(stamps)))
    assert_frame_equal(parsed.frame, frame_of("KRW-BTC", [utc(stamp) for stamp in stamps]))
    assert (parsed.market, parsed.interval, parsed.source, parsed.format) == (
        "krw_crypto",
        "1m",
        "upbit_file",
        "upbit_utc",
    )


def test_missing_minutes_are_gaps_and_never_bars(tmp_path: Path) -> None:
    stamps = [stamp for n, stamp in enumerate(minutes("2024-05-01 00:00:00", 60)) if n not in (7, 20, 21, 22)]
    parsed = read_file(write(tmp_path / "KRW-XRP_1m.csv", text(stamps)))
    assert len(parsed.frame) == 56
    assert [(gap.first, gap.last, gap.slots) for gap in parsed.gaps] == [
        (utc("2024-05-01T00:07"), utc("2024-05-01T00:07"), 1),
        (utc("2024-05-01T00:20"), utc("2024-05-01T00:22"), 3),
    ]
    assert (parsed.slots, parsed.slots_missing) == (60, 4)


def test_missing_sessions_are_counted_without_weekends_and_holidays(tmp_path: Path) -> None:
    days = session_days("2024-06-14", "2024-06-24")
    assert "2024-06-19" not in days
    kept = [day for day in days if day not in ("2024-06-18", "2024-06-20")]
    parsed = read_file(write(tmp_path / "KO.csv", text(kept)))
    assert parsed.slots_missing == 2
    # The holiday between them is no slot, so the two missing sessions are neighbours.
    assert [(gap.first.date().isoformat(), gap.slots) for gap in parsed.gaps] == [("2024-06-18", 2)]


def test_missing_stock_minutes_are_counted_in_regular_hours_only(tmp_path: Path) -> None:
    stamps = regular_minutes(["2024-11-29"], 1)
    assert len(stamps) == 210, "an early close"
    early = minutes("2024-11-29 08:00:00", 3)
    kept = early + [stamp for stamp in stamps if not stamp.endswith(("09:31:00", "12:59:00"))] + ["2024-11-29 13:05:00"]
    parsed = read_file(write(tmp_path / "SPY_1min.csv", text(kept, "datetime,open,high,low,close,volume")), tz=NEW_YORK)
    assert (len(parsed.frame), parsed.slots, parsed.slots_missing) == (212, 210, 2)
    assert parsed.frame["ts"].iloc[3] == pd.Timestamp("2024-11-29T14:30:00Z")


def test_zone_less_stock_minutes_need_a_zone(tmp_path: Path) -> None:
    path = write(tmp_path / "SPY_1min.csv", text(regular_minutes(["2024-11-29"], 1)))
    with pytest.raises(ImportRefused, match="no time zone") as refusal:
        read_file(path)
    assert (refusal.value.line, refusal.value.column) == (2, "timestamp")
    assert "America/New_York" in refusal.value.remedy


@pytest.mark.parametrize("suffix", ["+00:00", "Z", "+0000"])
def test_times_with_an_offset_need_no_zone(tmp_path: Path, suffix: str) -> None:
    stamps = minutes("2024-05-01 13:30:00", 30)
    parsed = read_file(write(tmp_path / "SPY.csv", text(stamp + suffix for stamp in stamps)))
    assert_frame_equal(parsed.frame, frame_of("SPY", [utc(stamp) for stamp in stamps]))


def test_offsets_that_change_inside_the_file_are_followed(tmp_path: Path) -> None:
    stamps = ["2024-03-08T15:58:00-05:00", "2024-03-08T15:59:00-05:00", "2024-03-11T09:30:00-04:00"]
    parsed = read_file(write(tmp_path / "SPY_1min.csv", text(stamps)))
    assert list(parsed.frame["ts"]) == [pd.Timestamp(utc(stamp)) for stamp in stamps]


def test_epoch_milliseconds_are_instants(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTC_1m.csv", text(str(1_714_521_600_000 + 60_000 * n) for n in range(3))))
    assert parsed.first == utc("2024-05-01T00:00")
    assert parsed.interval == "1m"


def test_newest_first_gives_the_same_frame(tmp_path: Path) -> None:
    rows = text(DAYS).splitlines()
    parsed = read_file(write(tmp_path / "AAPL.csv", "\n".join([rows[0], *reversed(rows[1:])])))
    assert_frame_equal(parsed.frame, read_file(write(tmp_path / "AAPL.csv", text(DAYS))).frame)


def test_windows_line_ends_byte_order_mark_and_blank_lines_do_not_matter(tmp_path: Path) -> None:
    plain = read_file(write(tmp_path / "AAPL.csv", text(DAYS)))
    dressed = b"\xef\xbb\xbf" + text(DAYS).replace("\n", "\r\n").encode() + b"\r\n\r\n"
    assert_frame_equal(read_file(write(tmp_path / "AAPL.csv", dressed)).frame, plain.frame)


def test_columns_in_any_order_and_case_with_blanks_and_extra_columns(tmp_path: Path) -> None:
    frame = frame_of("AAPL", [utc(day) for day in DAYS])
    table = pd.DataFrame(
        {"Volume": frame["volume"], " CLOSE ": frame["close"], "note": "a, b", "Low": frame["low"], "DATE": DAYS}
    ).assign(Open=frame["open"], High=frame["high"])
    path = tmp_path / "AAPL.csv"
    table.to_csv(path, index=False)
    assert_frame_equal(read_file(path).frame.drop(columns="ts"), frame.drop(columns="ts"))


def test_integer_prices_become_floats(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "T.csv", "date,open,high,low,close,volume\n2024-05-01,10,12,9,11,1000\n"))
    assert parsed.frame[["open", "volume"]].to_numpy().tolist() == [[10.0, 1000.0]]
    assert parsed.frame["open"].dtype == np.float64


def test_symbol_column_gives_several_symbols(tmp_path: Path) -> None:
    header = "symbol," + HEADER
    rows = [f"{name},{line(day, n)}" for name in ("MSFT", "brk.b") for n, day in enumerate(DAYS)]
    path = write(tmp_path / "bars.csv", "\n".join([header, *rows]))
    parsed = read_file(path)
    assert parsed.symbols == ("BRK.B", "MSFT")
    assert parsed.symbol == "BRK.B,MSFT"
    assert len(parsed.frame) == parsed.slots == 2 * len(DAYS)
    one = read_file(path, symbol="msft")
    assert (one.symbols, len(one.frame), one.rows_read) == (("MSFT",), len(DAYS), len(DAYS))
    with pytest.raises(ImportRefused, match="no row of TSLA"):
        read_file(path, symbol="TSLA")


def test_symbols_of_two_markets_in_one_file_are_refused(tmp_path: Path) -> None:
    rows = [f"{name},{line('2024-05-01', 1)}" for name in ("MSFT", "KRW-BTC")]
    with pytest.raises(ImportRefused, match="mixes"):
        read_file(write(tmp_path / "bars.csv", "\n".join(["symbol," + HEADER, *rows])))


def test_named_symbol_market_interval_win_over_the_file_name(tmp_path: Path) -> None:
    path = write(tmp_path / "export-17.csv", text(minutes("2024-05-01 00:00:00", 3, step=5)))
    with pytest.raises(ImportRefused, match="whose bars") as refusal:
        read_file(path, tz="UTC")
    assert "symbol" in refusal.value.remedy
    parsed = read_file(path, symbol="btc_krw", market="krw_crypto", interval="1m")
    assert (parsed.symbol, parsed.interval, parsed.slots_missing) == ("KRW-BTC", "1m", 8)


def test_market_that_does_not_fit_the_symbol_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "AAPL.csv", text(DAYS))
    with pytest.raises(ImportRefused, match="AAPL is no symbol of krw_crypto"):
        read_file(path, market="krw_crypto")
    with pytest.raises(ImportRefused, match="KRW-BTC is no symbol of us_equity"):
        read_file(path, symbol="KRW-BTC", market="us_equity")


@pytest.mark.parametrize(
    ("argument", "value"),
    [("market", "nasdaq"), ("interval", "7m"), ("tz", "New York"), ("tz", "../UTC"), ("symbol", "a b!")],
)
def test_impossible_arguments_name_the_value(tmp_path: Path, argument: str, value: str) -> None:
    path = write(tmp_path / "AAPL.csv", text(DAYS))
    with pytest.raises(ValueError, match=value.replace(".", r"\.")):
        read_file(path, **{argument: value})  # type: ignore[arg-type]


def test_end_stamped_minutes_are_moved_to_their_start(tmp_path: Path) -> None:
    days = ["2024-11-27", "2024-11-29"]
    path = write(tmp_path / "SPY_15min.csv", text(regular_minutes(days, 15, end_stamps=True)))
    parsed = read_file(path, tz=NEW_YORK)
    expected = [utc(f"{stamp}-05:00") for stamp in regular_minutes(days, 15)]
    assert_frame_equal(parsed.frame, frame_of("SPY", expected))
    assert (parsed.stamp, parsed.slots_missing) == ("end", 0)


def test_a_piece_that_does_not_show_its_stamp_must_be_told(tmp_path: Path) -> None:
    path = write(tmp_path / "SPY_1min.csv", text(minutes("2024-11-27 10:00:00", 30)))
    with pytest.raises(ImportRefused, match="start or the end") as refusal:
        read_file(path, tz=NEW_YORK)
    assert "stamp" in refusal.value.remedy
    assert read_file(path, tz=NEW_YORK, stamp="end").first == utc("2024-11-27T09:59-05:00")
    assert read_file(path, tz=NEW_YORK, stamp="start").first == utc("2024-11-27T10:00-05:00")


@pytest.mark.parametrize("tz", ["UTC", "America/Chicago", "Asia/Seoul"])
def test_a_wrong_zone_shows_in_the_hours_of_trading(tmp_path: Path, tz: str) -> None:
    path = write(tmp_path / "SPY_5min.csv", text(regular_minutes(session_days("2024-05-06", "2024-05-10"), 5)))
    with pytest.raises(ImportRefused, match=r"time zone|closed on this day|time of day"):
        read_file(path, tz=tz)


def test_a_span_leaves_out_what_the_calendar_does_not_know(tmp_path: Path) -> None:
    path = write(tmp_path / "KO.csv", text(["1985-05-02", "1990-05-02", "1997-12-31", *DAYS]))
    with pytest.raises(ImportRefused, match="--since 1998-01-01"):
        read_file(path)
    parsed = read_file(path, since=date(1998, 1, 1))
    assert (parsed.rows_read, len(parsed.frame)) == (len(DAYS), len(DAYS))
    some = read_file(path, since=date.fromisoformat(DAYS[1]), until=date.fromisoformat(DAYS[3]))
    assert [str(stamp.date()) for stamp in some.frame["ts"]] == DAYS[1:4]
    with pytest.raises(ImportRefused, match="no row lies from"):
        read_file(path, since=date(2030, 1, 1))


def test_local_times_that_a_clock_change_doubles_are_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "KRW-BTC_1h.csv", text(minutes("2024-11-03 00:00:00", 4, step=60)))
    with pytest.raises(ImportRefused, match="clock change") as refusal:
        read_file(path, tz=NEW_YORK)
    assert (refusal.value.line, refusal.value.value) == (3, "2024-11-03 01:00:00")


def test_identical_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    rows = text(DAYS).splitlines()
    parsed = read_file(write(tmp_path / "AAPL.csv", "\n".join([*rows, rows[2], rows[2], rows[4]])))
    assert (parsed.rows_read, parsed.duplicates_dropped, len(parsed.frame)) == (len(DAYS) + 3, 3, len(DAYS))
    assert_frame_equal(parsed.frame, read_file(write(tmp_path / "AAPL.csv", text(DAYS))).frame)


def test_contradicting_rows_are_refused_with_their_lines(tmp_path: Path) -> None:
    rows = text(DAYS).splitlines()
    path = write(tmp_path / "AAPL.csv", "\n".join([*rows, line(DAYS[1], 50), rows[3]]))
    with pytest.raises(ImportRefused, match=f"lines 3, {len(rows) + 1} give different values") as refusal:
        read_file(path)
    assert refusal.value.line == 3
    kept = read_file(path, bad_rows="skip")
    assert [row.line for row in kept.rejected] == [3, len(rows) + 1]
    assert (len(kept.frame), kept.duplicates_dropped, kept.slots_missing) == (len(DAYS) - 1, 1, 1)
    assert kept.rows_read == len(kept.frame) + kept.duplicates_dropped + len(kept.rejected)


@pytest.mark.parametrize(
    ("bad", "column", "problem"),
    [
        ("2024-05-02,10,12,9,abc,5", "close", "not a number"),
        ("2024-05-02,10,12,9,,5", "close", "not a number"),
        ("2024-05-02,10,12,9,nan,5", "close", "not a number"),
        ("2024-05-02,10,12,9,1e400,5", "close", "finite|not a number"),
        ("2024-05-02,10,12,9,1_1,5", "close", "not a number"),
        ("2024-05-02,10,12,9,\u0663,5", "close", "not a number"),
        ("2024-05-02,10,12,9,11,-5", "volume", "below zero"),
        ("2024-05-02,0,12,0,11,5", "open", "not above zero"),
        ("2024-05-02,10,10.5,9,11,5", "high", "high is below"),
        ("2024-05-02,10,12,10.5,11,5", "low", "low is above"),
        ("2024-02-30,10,12,9,11,5", "date", "no such time"),
        ("2024-05-02 00:00,10,12,9,11,5", "date", "first row"),
        ("02.05.2024,10,12,9,11,5", "date", "first row"),
        ("1776-07-04,10,12,9,11,5", "date", "year"),
        ("1985-05-02,10,12,9,11,5", "date", "calendar covers"),
        ("2024-05-04,10,12,9,11,5", "date", "closed"),
        ("2024-05-02,10,12,9,11", None, "5 fields"),
        ("2024-05-02,10,12,9,11,5,7", None, "7 fields"),
    ],
)
def test_one_bad_row_is_named_or_left_out_by_choice(tmp_path: Path, bad: str, column: str | None, problem: str) -> None:
    good = [line(day, n) for n, day in enumerate(session_days("2024-05-06", "2024-05-10"))]
    content = "\n".join(["date,open,high,low,close,volume", *good[:3], "", bad, *good[3:]])
    path = write(tmp_path / "KO.csv", content)
    with pytest.raises(ImportRefused, match=problem) as refusal:
        read_file(path)
    assert (refusal.value.line, refusal.value.column) == (6, column)
    assert str(path) in str(refusal.value)
    parsed = read_file(path, bad_rows="skip")
    assert [(row.line, row.column) for row in parsed.rejected] == [(6, column)]
    assert (len(parsed.frame), parsed.rows_read) == (5, 6)
    assert parsed.frame["volume"].tolist() == [10.0, 11.0, 12.0, 13.0, 14.0]


def test_skipping_is_not_for_files_that_are_mostly_bad(tmp_path: Path) -> None:
    path = write(tmp_path / "KRW-BTC.csv", text(minutes("2024-05-01 00:00:00", 120)))
    with pytest.raises(ImportRefused, match="118 of 120 rows"):
        read_file(path, interval="1h", bad_rows="skip")


def test_a_file_of_bad_rows_only_is_refused(tmp_path: Path) -> None:
    content = "date,open,high,low,close,volume\n2024-05-02,10,12,9,abc,5\n"
    with pytest.raises(ImportRefused, match="1 of 1 rows"):
        read_file(write(tmp_path / "KO.csv", content), bad_rows="skip")


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        ("KO.csv", b"", "empty"),
        ("KO.csv", b"\xef\xbb\xbf \r\n", "empty"),
        ("KO.csv", b"date,open,high,low,close,volume\n", "no data row"),
        ("KO.csv", b"date,open,high,low,close,volume\n\n\n", "no data row"),
        ("KO.csv", b"date;open;high;low;close;volume\n2024-05-01;1,5;2;1;2;5\n", "semicolons"),
        ("KO.csv", b"date\topen\thigh\tlow\tclose\tvolume\n2024-05-01\t1\t2\t1\t2\t5\n", "tabs"),
        ("KO.csv", b"when,first,top,bottom,last,size\n2024-05-01,1,2,1,2,5\n", "no known family"),
        ("KO.csv", b"2024-05-01,1,2,1,2,5\n", "no known family"),
        ("KO.csv", b"date,open,high,low,close\n2024-05-01,1,2,1,2\n", "no known family"),
        ("KO.csv", b"date,open,high,low,close,close,volume\n2024-05-01,1,2,1,2,2,5\n", "'close' 2 times"),
        ("KO.csv", b"date,time,open,high,low,close,volume\n2024-05-01,09:30,1,2,1,2,5\n", "both 'date' and 'time'"),
        ("KO.csv", "date,open,high,low,close,volume,코인\n".encode("cp949"), "not UTF-8"),
        ("KO.csv", "date,open,high,low,close,volume\n".encode("utf-16"), "not UTF-8"),
        ("KO.csv", b'date,open,high,low,close,volume\n2024-05-01,"1,2,1,2,5\n', "not comma-separated"),
        ("KO.csv", b"date,open,high,low,close,volume\n2024-05-01,1\x00,2,1,2,5\n", "NUL"),
        ("KO.parquet", b"PAR1 and then nothing", "Parquet file is damaged"),
        ("KO.zip", b"PK\x03\x04 and then nothing", "zip archive is damaged"),
    ],
)
def test_files_that_are_not_price_tables_are_refused(tmp_path: Path, name: str, content: bytes, problem: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ImportRefused, match=problem) as refusal:
        read_file(path)
    assert refusal.value.remedy


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImportRefused, match="cannot be read"):
        read_file(tmp_path / "KO.csv")


def test_a_truncated_gzip_is_refused(tmp_path: Path) -> None:
    whole = gzip.compress(text(DAYS * 1).encode())
    path = tmp_path / "KO.csv.gz"
    for keep in (len(whole) - 3, len(whole) // 2, 12):
        path.write_bytes(whole[:keep])
        with pytest.raises(ImportRefused, match="cut short"):
            read_file(path)


def test_a_zip_with_several_tables_is_refused(tmp_path: Path) -> None:
    import zipfile

    path = tmp_path / "KO.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a.csv", "b.csv"):
            archive.writestr(name, text(DAYS))
    with pytest.raises(ImportRefused, match="2 csv files"):
        read_file(path)


def test_a_zip_with_one_plain_table_is_read(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KO.zip", text(DAYS)))
    assert (parsed.symbol, len(parsed.frame)) == ("KO", len(DAYS))


def test_weekly_bars_are_no_daily_bars(tmp_path: Path) -> None:
    fridays = ["2024-05-03", "2024-05-10", "2024-05-17", "2024-05-24"]
    path = write(tmp_path / "KO.csv", text(fridays))
    with pytest.raises(ImportRefused, match="7 days apart"):
        read_file(path)
    assert read_file(path, interval="1d").slots_missing == 12


@pytest.mark.parametrize(
    ("name", "step", "problem"),
    [
        ("KRW-BTC_1h.csv", 1, "says 1h"),
        ("KRW-BTC_1m.csv", 60, "says 1m"),
        ("KRW-BTC.csv", 7, "no supported interval"),
        ("KRW-BTC_daily.csv", 60, "says 1d"),
    ],
)
def test_spacing_that_contradicts_the_name_is_refused(tmp_path: Path, name: str, step: int, problem: str) -> None:
    with pytest.raises(ImportRefused, match=problem):
        read_file(write(tmp_path / name, text(minutes("2024-05-01 00:00:00", 50, step=step))))


def test_thinly_traded_minutes_keep_the_interval_of_their_name(tmp_path: Path) -> None:
    stamps = [minutes("2024-05-01 00:00:00", 60)[n] for n in (0, 5, 10, 15, 21, 26, 31)]
    parsed = read_file(write(tmp_path / "KRW-BTC_1m.csv", text(stamps)))
    assert (parsed.interval, parsed.slots_missing) == ("1m", 25)


def test_times_off_the_grid_are_refused(tmp_path: Path) -> None:
    stamps = [*minutes("2024-05-01 00:00:00", 5), "2024-05-01 00:05:30"]
    with pytest.raises(ImportRefused, match="not on the grid of 1m") as refusal:
        read_file(write(tmp_path / "KRW-BTC.csv", text(stamps)))
    assert refusal.value.line == 7


def test_minutes_that_happen_to_be_at_midnight_only_are_minutes_when_asked_for(tmp_path: Path) -> None:
    stamps = ["2024-05-01 00:00:00", "2024-05-02 00:00:00"]
    assert read_file(write(tmp_path / "KRW-BTC.csv", text(stamps))).interval == "1d"
    assert read_file(write(tmp_path / "KRW-BTC.csv", text(stamps)), interval="1m").slots_missing == 1439
    assert read_file(write(tmp_path / "KRW-BTC_1h.csv", text(stamps)), interval="1h").slots_missing == 23


def test_a_single_intraday_row_needs_an_interval(tmp_path: Path) -> None:
    path = write(tmp_path / "KRW-BTC.csv", text(["2024-05-01 00:00:00"]))
    assert read_file(path, interval="1h").interval == "1h"
    with pytest.raises(ImportRefused, match="single time"):
        read_file(write(tmp_path / "KRW-BTC.csv", text(["2024-05-01 00:01:00"])))


def test_crypto_days_are_utc_days(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTC_daily.csv", text(["2024-05-03", "2024-05-04", "2024-05-06"])))
    assert [str(stamp) for stamp in parsed.frame["ts"]] == [f"2024-05-0{day} 00:00:00+00:00" for day in (3, 4, 6)]
    assert parsed.slots_missing == 1


def test_daily_stamps_at_new_york_or_utc_midnight_name_the_same_session(tmp_path: Path) -> None:
    dates = read_file(write(tmp_path / "KO.csv", text(DAYS))).frame
    new_york = [pd.Timestamp(day, tz=NEW_YORK).tz_convert("UTC").isoformat() for day in DAYS]
    assert_frame_equal(read_file(write(tmp_path / "KO.csv", text(new_york))).frame, dates)
    assert_frame_equal(read_file(write(tmp_path / "KO.csv", text(f"{day}T00:00:00Z" for day in DAYS))).frame, dates)
    midnights = write(tmp_path / "KO.csv", text(f"{day} 00:00:00" for day in DAYS))
    assert_frame_equal(read_file(midnights).frame, dates)
    with pytest.raises(ImportRefused, match="midnight"):
        read_file(write(tmp_path / "KO.csv", text(f"{day}T16:00:00Z" for day in DAYS)))


def test_quoted_fields_and_line_breaks_inside_quotes_are_read(tmp_path: Path) -> None:
    content = 'date,open,high,low,close,volume,note\n"2024-05-01","10","12","9","11","5","two\nlines"\n'
    content += "2024-05-02,10,12,9,11,6,plain\n2024-05-03,10,12,9,x,6,plain\n"
    path = write(tmp_path / "KO.csv", content)
    with pytest.raises(ImportRefused) as refusal:
        read_file(path)
    assert refusal.value.line == 5
    assert read_file(path, bad_rows="skip").frame["volume"].tolist() == [5.0, 6.0]
