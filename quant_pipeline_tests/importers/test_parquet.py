"""Parquet files: every type a time or a number may have, and places named by row."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.read import read_file
from quant_pipeline_tests.importers.price_files import frame_of, session_days, utc

DAYS = session_days("2024-03-06", "2024-03-14")
EXPECTED = frame_of(
    "KO", [utc(f"{day}T00:00:00-05:00" if day < "2024-03-10" else f"{day}T00:00:00-04:00") for day in DAYS]
)
NUMBERS = EXPECTED[["open", "high", "low", "close", "volume"]]


@pytest.mark.parametrize("zone", ["America/New_York", "UTC", None])
@pytest.mark.parametrize("name", ["Date", None])
def test_frame_saved_with_its_time_index(tmp_path: Path, zone: str | None, name: str | None) -> None:
    path = tmp_path / "KO.parquet"
    NUMBERS.rename(columns=str.title).set_index(pd.DatetimeIndex(DAYS, tz=zone, name=name)).to_parquet(path)
    assert_frame_equal(read_file(path).frame, EXPECTED)


def test_intraday_index_with_a_zone_needs_no_zone(tmp_path: Path) -> None:
    index = pd.date_range("2024-05-01 09:30", periods=30, freq="min", tz="America/New_York", name="timestamp")
    numbers = frame_of("SPY", list(index))
    path = tmp_path / "SPY.parquet"
    numbers[["open", "high", "low", "close", "volume"]].set_index(index).to_parquet(path)
    assert_frame_equal(read_file(path).frame, numbers)


@pytest.mark.parametrize(
    "times",
    [
        pa.array(pd.DatetimeIndex(DAYS).date, pa.date32()),
        pa.array(DAYS, pa.string()),
        pa.array(DAYS, pa.large_string()),
        pa.array(DAYS).dictionary_encode(),
        pa.array(pd.DatetimeIndex(DAYS).date).cast(pa.timestamp("s")),
        pa.array(pd.DatetimeIndex(DAYS), pa.timestamp("ms")),
    ],
    ids=lambda times: str(times.type)[:20],
)
def test_times_of_any_type(tmp_path: Path, times: pa.Array) -> None:
    path = tmp_path / "KO.parquet"
    columns = {name: pa.array(NUMBERS[name]) for name in NUMBERS.columns}
    pq.write_table(pa.table({"date": times, **columns}), path)
    assert_frame_equal(read_file(path).frame, EXPECTED)


def test_numbers_of_any_type(tmp_path: Path) -> None:
    path = tmp_path / "KO.parquet"
    pq.write_table(
        pa.table(
            {
                "date": ["2024-05-01"],
                "open": pa.array(["10.25"]),
                "high": pa.array([12], pa.int64()),
                "low": pa.array([9.5], pa.float32()),
                "close": pa.array([10.75]).cast(pa.decimal128(10, 4)),
                "volume": pa.array([1000], pa.uint32()),
            }
        ),
        path,
    )
    assert read_file(path).frame.iloc[0, 2:].tolist() == [10.25, 12.0, 9.5, 10.75, 1000.0]


@pytest.mark.parametrize(
    ("column", "value"), [("close", None), ("close", float("nan")), ("date", None), ("close", "abc"), ("symbol", None)]
)
def test_a_bad_value_is_named_by_its_row(tmp_path: Path, column: str, value: object) -> None:
    path = tmp_path / "bars.parquet"
    columns: dict[str, list[object]] = {name: NUMBERS[name].tolist() for name in NUMBERS.columns}
    columns |= {"date": list(DAYS), "symbol": ["KO"] * len(DAYS)}
    if value == "abc":
        columns[column] = [str(each) for each in columns[column]]
    columns[column][3] = value
    pq.write_table(pa.table(columns), path)
    with pytest.raises(ImportRefused, match="row 4") as refusal:
        read_file(path)
    assert (refusal.value.line, refusal.value.column) == (4, column)
    kept = read_file(path, bad_rows="skip")
    assert_frame_equal(kept.frame, EXPECTED.drop(index=3).reset_index(drop=True))


def test_nested_columns_of_many_tickers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "two.parquet"
    wide = pd.concat({"AAPL": NUMBERS, "MSFT": NUMBERS}, axis=1).set_index(pd.DatetimeIndex(DAYS))
    wide.to_parquet(path)
    with pytest.raises(ImportRefused, match="no known family"):
        read_file(path)


def test_a_table_without_rows_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "KO.parquet"
    NUMBERS.assign(date=DAYS).iloc[:0].to_parquet(path)
    with pytest.raises(ImportRefused, match="no data row"):
        read_file(path)
