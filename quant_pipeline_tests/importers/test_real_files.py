"""Real files: rows, spans and gaps as the collection's own manifest counts them, and relations that hold exactly."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from quant_pipeline.core.bars import validate_bars
from quant_pipeline.importers.actions import actions_of, read_factor_file
from quant_pipeline.importers.errors import NotBars
from quant_pipeline.importers.grid import INTERVALS
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.store import import_files
from quant_pipeline.importers.values import ParsedFile
from quant_pipeline.storage.bars import bar_span
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.database import Database

NEW_YORK = "America/New_York"
AT = datetime(2026, 6, 1, tzinfo=UTC)
_ZONE_LESS = ("us_1min/alpaca_iex_mixed/", "us_5min/", "us_multi_timeframe_2019/")

Entry = dict[str, Any]


@pytest.fixture(scope="session")
def manifest(test_data: Path) -> list[Entry]:
    entries: list[Entry] = json.loads((test_data / "MANIFEST.json").read_text(encoding="utf-8"))
    return entries


def _read(folder: Path, path: str) -> ParsedFile:
    return read_file(folder / path, tz=NEW_YORK if path.startswith(_ZONE_LESS) else None)


def _bars(folder: Path, path: str) -> pd.DataFrame:
    return _read(folder, path).frame


def _zone(entry: Entry) -> ZoneInfo:
    path = entry["path"]
    if path.startswith(("crypto/upbit_1m", "crypto/upbit_1h")):
        return ZoneInfo("UTC")
    return ZoneInfo("Asia/Seoul") if path.startswith("crypto/") else ZoneInfo(NEW_YORK)


def _matching(manifest: list[Entry], *prefixes: str) -> Iterator[Entry]:
    found = [entry for entry in manifest if entry["path"].startswith(prefixes)]
    assert found, f"the manifest lists nothing under {prefixes}"
    yield from found


def _expected_ends(entry: Entry, parsed: ParsedFile) -> tuple[datetime, datetime]:
    """First and last bar start by the manifest's texts, which are in file order, local, and stamped as the file is."""
    ends = sorted(datetime.fromisoformat(entry[name]) for name in ("first", "last"))
    if ends[0].tzinfo is None:
        ends = [end.replace(tzinfo=_zone(entry)) for end in ends]
    shift = pd.Timedelta(INTERVALS[parsed.interval] if parsed.stamp == "end" else 0, unit="ns")
    return ends[0] - shift, ends[1] - shift


@pytest.mark.parametrize(
    ("prefix", "format_name", "market"),
    [
        ("us_daily/yahoo/", "yahoo", "us_equity"),
        ("us_daily/nasdaq_site/", "nasdaq", "us_equity"),
        ("crypto/upbit_1m/", "upbit_utc", "krw_crypto"),
        ("crypto/upbit_1h/", "upbit_utc", "krw_crypto"),
        ("crypto/upbit_kst/", "pyupbit_kst", "krw_crypto"),
        ("crypto/upbit_korean_headers/", "upbit_korean", "krw_crypto"),
        ("us_1min/alpaca_iex_mixed/", "plain", "us_equity"),
        ("us_1min/alpaca_sdk_frame/", "alpaca_sdk", "us_equity"),
        ("us_5min/", "plain", "us_equity"),
        ("us_multi_timeframe_2019/", "plain", "us_equity"),
        ("us_hourly/lean_raw/", "lean", "us_equity"),
    ],
)
def test_rows_spans_and_gaps_are_those_of_the_manifest(
    test_data: Path, manifest: list[Entry], prefix: str, format_name: str, market: str
) -> None:
    for entry in _matching(manifest, prefix):
        parsed = _read(test_data, entry["path"])
        assert (parsed.format, parsed.market) == (format_name, market), entry["path"]
        assert (parsed.rows_read, len(parsed.frame)) == (entry["rows"], entry["rows"]), entry["path"]
        assert parsed.duplicates_dropped == entry["duplicates"], entry["path"]
        assert (parsed.first, parsed.last) == _expected_ends(entry, parsed), entry["path"]
        assert validate_bars(parsed.frame) == [], entry["path"]
        for name in ("slots_missing", "regular_slots_missing", "sessions_missing"):
            assert parsed.slots_missing == entry.get(name, parsed.slots_missing), entry["path"]
        for name in ("slots_expected", "regular_slots_expected"):
            assert parsed.slots == entry.get(name, parsed.slots), entry["path"]
        assert len(parsed.gaps) == entry.get("gap_runs", len(parsed.gaps)), entry["path"]


def test_lean_daily_archives_have_the_sessions_of_the_manifest(test_data: Path, manifest: list[Entry]) -> None:
    archives = [entry for entry in _matching(manifest, "us_daily/lean_raw/") if entry["path"].endswith(".zip")]
    for entry in archives:
        parsed = _read(test_data, entry["path"])
        assert (len(parsed.frame), parsed.slots_missing) == (entry["rows"], entry["sessions_missing"]), entry["path"]
        assert (parsed.first, parsed.last) == _expected_ends(entry, parsed)


def test_lean_minute_archives_hold_one_day_each(test_data: Path, manifest: list[Entry]) -> None:
    for entry in _matching(manifest, "us_1min/lean_raw/"):
        if entry["path"].endswith("_quote.zip"):
            with pytest.raises(NotBars):
                _read(test_data, entry["path"])
            continue
        parsed = _read(test_data, entry["path"])
        assert (len(parsed.frame), parsed.interval, parsed.slots) == (entry["rows"], "1m", 390), entry["path"]
        local = pd.DatetimeIndex([parsed.first, parsed.last]).tz_convert(NEW_YORK)
        midnight = local.normalize()
        told = [int(gap / pd.Timedelta(milliseconds=1)) for gap in local - midnight]
        assert told == [entry["first_ms"], entry["last_ms"]], entry["path"]


def test_raw_prices_times_split_factors_are_the_split_adjusted_prices(test_data: Path) -> None:
    folder = test_data / "us_daily/lean_raw"
    factors = read_factor_file(folder / "factor_files/aapl.csv")
    splits = [action for action in actions_of("AAPL", factors) if action.kind == "split"]
    assert [(str(split.ex_date), split.ratio) for split in splits] == [
        ("2000-06-21", Decimal(2)),
        ("2005-02-28", Decimal(2)),
        ("2014-06-09", Decimal(7)),
        ("2020-08-31", Decimal(4)),
    ]
    raw = _bars(test_data, "us_daily/lean_raw/aapl.zip")
    yahoo = _bars(test_data, "us_daily/yahoo/AAPL.csv.gz")
    both = raw.merge(yahoo, on=["symbol", "ts"], suffixes=("", "_yahoo"))
    held = np.ones(len(both))
    for split in splits:
        before = (both["ts"] < pd.Timestamp(split.ex_date, tz="UTC")).to_numpy()
        held[before] *= float(split.ratio or 1)
    error = (both["close"] / held / both["close_yahoo"] - 1).abs()
    assert len(both) > 5300
    assert error.median() < 1e-6


@pytest.mark.slow
def test_folders_of_real_files_are_stored_whole_and_once(
    database: Database, test_data: Path, manifest: list[Entry]
) -> None:
    folders = [test_data / "us_daily/yahoo", test_data / "crypto/upbit_1h", test_data / "crypto/upbit_1m"]
    rows = {
        entry["path"]: entry["rows"]
        for entry in _matching(manifest, "us_daily/yahoo/", "crypto/upbit_1h/", "crypto/upbit_1m/")
    }
    results = import_files(database, folders, at=AT)
    assert {str(result.path.relative_to(test_data)): result.inserted for result in results} == rows
    assert all(result.outcome == "stored" for result in results)
    again = import_files(database, folders, at=AT)
    assert all((result.inserted, result.changed, result.unchanged) == (0, 0, result.rows) for result in again)
    spans = [
        bar_span(database, "us_equity", "1d"),
        bar_span(database, "krw_crypto", "1h"),
        bar_span(database, "krw_crypto", "1m"),
    ]
    assert sum(int(span["rows"].sum()) for span in spans) == sum(rows.values())
    doge = read_coverage(database, "krw_crypto", ["KRW-DOGE"], date(2025, 9, 1), date(2025, 9, 20))
    assert len(doge) == 20
    assert sum(row.expected - row.present for row in doge) == 139
