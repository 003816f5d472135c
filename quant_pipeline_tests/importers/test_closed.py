"""Bars that had not closed when the file was imported."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import pytest

from quant_pipeline.importers.closed import only_closed
from quant_pipeline.importers.errors import ImportRefused
from quant_pipeline.importers.read import read_file
from quant_pipeline_tests.importers.price_files import minutes, text, utc, write


@pytest.mark.parametrize(
    ("at", "bars"),
    [("2024-05-01T00:04:59", 4), ("2024-05-01T00:05:00", 5), ("2024-05-01T00:01:00", 1), ("2030-01-01T00:00:00", 5)],
)
def test_a_forming_minute_is_left_out(tmp_path: Path, at: str, bars: int) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTC_1m.csv", text(minutes("2024-05-01 00:00:00", 5))))
    closed = only_closed(parsed, utc(at))
    assert (len(closed.frame), closed.slots) == (bars, bars)
    assert closed.last == closed.frame["ts"].iloc[-1]


@pytest.mark.parametrize(
    ("at", "bars"),
    [
        ("2024-07-05T15:59:59-04:00", 2),
        ("2024-07-05T16:00:00-04:00", 3),
        ("2024-07-03T13:00:00-04:00", 2),
        ("2024-07-03T12:59:00-04:00", 1),
        ("2024-07-04T12:00:00-04:00", 2),
    ],
)
def test_a_daily_stock_bar_closes_with_its_session(tmp_path: Path, at: str, bars: int) -> None:
    parsed = read_file(write(tmp_path / "KO.csv", text(["2024-07-02", "2024-07-03", "2024-07-05"])))
    assert len(only_closed(parsed, utc(at)).frame) == bars


@pytest.mark.parametrize(("at", "bars"), [("2024-05-02T23:59:59", 1), ("2024-05-03T00:00:00", 2)])
def test_a_crypto_day_closes_at_midnight_utc(tmp_path: Path, at: str, bars: int) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTC.csv", text(["2024-05-01", "2024-05-02"])))
    assert len(only_closed(parsed, utc(at)).frame) == bars


def test_a_file_from_the_future_is_refused(tmp_path: Path) -> None:
    parsed = read_file(write(tmp_path / "KRW-BTC.csv", text(["2024-05-01", "2024-05-02"])))
    with pytest.raises(ImportRefused, match="no bar of the file had closed"):
        only_closed(parsed, datetime.fromisoformat("2024-05-01T23:00:00+00:00"))
