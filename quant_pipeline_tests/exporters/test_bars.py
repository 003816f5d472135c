"""Exported files: whole or not there, every bit of a bar, and importing them gives the same bars and where they came from."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.exporters import bars as exporter
from quant_pipeline.exporters.bars import SUFFIXES, Exported, export_bars
from quant_pipeline.importers.store import import_files
from quant_pipeline.storage.bars import BarPart, read_bars, upsert_parts
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.storage.builders import AT, bars

_FROM, _TO = datetime(2024, 1, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC)
_LATER = AT + timedelta(days=1)
MARKET = "krw_crypto"


@pytest.fixture
def other_database(postgres: Dsn, migrated_template: Dsn) -> Iterator[Database]:
    """A second empty database."""
    with new_database(postgres, template=migrated_template.database) as dsn, closing(Database(dsn)) as opened:
        yield opened


def _sound(symbols: list[str], start: str, count: int, **changes: object) -> pd.DataFrame:
    """Bars that an import accepts, of numbers that use all bits of a double."""
    frame = bars(symbols, start, count, **changes)  # type: ignore[arg-type]
    low_first = np.sort(frame[["open", "high", "low", "close"]].to_numpy(), axis=1)
    return frame.assign(low=low_first[:, 0], open=low_first[:, 1], close=low_first[:, 2], high=low_first[:, 3])


def _fill(db: Database) -> pd.DataFrame:
    """Minutes of two coins over the edge of a month, with a hole, from two sources."""
    whole = _sound(["KRW-BTC", "KRW-ETH"], "2024-04-30T22:00", 240)
    frame = whole.drop(index=[17, 18]).reset_index(drop=True)
    old = frame["ts"] < pd.Timestamp("2024-04-30T23:00Z")
    parts = [BarPart(frame[old], "file", "unknown", "unknown"), BarPart(frame[~old], "upbit", "upbit", "raw")]
    upsert_parts(db, MARKET, "1m", parts, at=AT)
    return read_bars(db, MARKET, "1m", None, _FROM, _TO, with_origin=True)


def _export(db: Database, path: Path, **changes: object) -> Exported:
    given: dict[str, object] = {"symbols": None, "start": _FROM, "end": _TO} | changes
    return export_bars(db, MARKET, "1m", path=path, **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_what_is_exported_imports_back_to_the_same_bars(
    database: Database, other_database: Database, tmp_path: Path, suffix: str
) -> None:
    stored, path = _fill(database), tmp_path / f"out{suffix}"
    done = _export(database, path)
    assert (done.rows, done.symbols) == (len(stored), ("KRW-BTC", "KRW-ETH"))
    assert (done.first, done.last) == (stored["ts"].min(), stored["ts"].max())
    (result,) = import_files(other_database, [path], at=_LATER)
    assert (result.outcome, result.interval, result.inserted) == ("stored", "1m", len(stored)), result.reason
    back = read_bars(other_database, MARKET, "1m", None, _FROM, _TO, with_origin=True)
    assert_frame_equal(back, stored, check_exact=True)
    (again,) = import_files(database, [path], at=_LATER)
    assert (again.inserted, again.changed, again.kept, again.unchanged) == (0, 0, 0, len(stored))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_equal_bars_give_equal_bytes(database: Database, tmp_path: Path, suffix: str) -> None:
    _fill(database)
    for name in ("one", "two"):
        _export(database, tmp_path / f"{name}{suffix}")
    assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_stock_hours_of_two_vendors_and_daily_bars_come_back_too(
    database: Database, other_database: Database, tmp_path: Path
) -> None:
    hours = _sound(["KO", "PEP"], "2024-05-01T13:00", 6, freq="h")
    shifted = hours.assign(ts=hours["ts"] + pd.Timedelta(minutes=30))
    days = _sound(["KO"], "2024-05-01T04:00", 2, freq="D")
    for interval, frame in (("1h", hours.iloc[:6]), ("1h", shifted.iloc[6:]), ("1d", days)):
        upsert_parts(database, "us_equity", interval, [BarPart(frame, "x", "iex", "raw")], at=AT)
    for interval in ("1h", "1d"):
        path = tmp_path / f"{interval}.csv"
        export_bars(database, "us_equity", interval, None, _FROM, _TO, path)
        (result,) = import_files(other_database, [path], at=_LATER)
        assert (result.outcome, result.interval) == ("stored", interval), result.reason
        stored = read_bars(database, "us_equity", interval, None, _FROM, _TO, with_origin=True)
        back = read_bars(other_database, "us_equity", interval, None, _FROM, _TO, with_origin=True)
        assert_frame_equal(back, stored, check_exact=True)


def test_symbols_span_and_time_of_knowledge_narrow_what_is_written(database: Database, tmp_path: Path) -> None:
    stored = _fill(database)
    newer = stored.loc[:, list(stored.columns[:7])].assign(volume=1.0)
    upsert_parts(database, MARKET, "1m", [BarPart(newer, "upbit", "upbit", "raw")], at=_LATER)
    start, end = datetime(2024, 4, 30, 23, 30, tzinfo=UTC), datetime(2024, 5, 1, 0, 30, tzinfo=UTC)
    path = tmp_path / "out.parquet"
    _export(database, path, symbols=["KRW-ETH"], start=start, end=end, as_of=AT)
    found = pd.read_parquet(path)
    chosen = stored[(stored["symbol"] == "KRW-ETH") & (stored["ts"] >= start) & (stored["ts"] < end)]
    assert found["volume"].tolist() == chosen["volume"].tolist()
    _export(database, path, symbols=["KRW-ETH"], start=start, end=end)
    assert set(pd.read_parquet(path)["volume"]) == {1.0}


def test_without_bars_nothing_is_written_and_what_was_there_stays(database: Database, tmp_path: Path) -> None:
    path = tmp_path / "out.csv"
    path.write_text("precious", encoding="utf-8")
    done = _export(database, path)
    assert (done.rows, done.symbols, done.first) == (0, (), None)
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]
    assert path.read_text(encoding="utf-8") == "precious"


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_an_export_that_fails_halfway_leaves_what_was_there(
    database: Database, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _fill(database)
    path = tmp_path / f"out{suffix}"
    path.write_text("precious", encoding="utf-8")
    real, calls = exporter.read_bars, 0

    def failing(*args: object, **named: object) -> pd.DataFrame:
        nonlocal calls
        calls += 1
        if calls == 6:  # after April was written
            message = "the server is gone"
            raise ConnectionError(message)
        return real(*args, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(exporter, "read_bars", failing)
    with pytest.raises(ConnectionError):
        _export(database, path)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    assert path.read_text(encoding="utf-8") == "precious"


def test_a_name_that_says_not_how_to_write_is_refused(database: Database, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"out.xlsx .* \.parquet, \.csv, \.csv\.gz"):
        _export(database, tmp_path / "out.xlsx")
    assert list(tmp_path.iterdir()) == []
