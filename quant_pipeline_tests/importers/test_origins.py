"""When two sources disagree about a bar: the better one stays, whichever came first; by choice the given one counts."""

from __future__ import annotations

import itertools
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.origins import prefer, rank
from quant_pipeline.importers.store import import_files
from quant_pipeline.storage.bars import Origin, read_bars, upsert_bars
from quant_pipeline.storage.coverage import read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.importers.price_files import session_days, utc, write

AT = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
DAYS = session_days("2024-03-06", "2024-03-13")
BEST_FIRST: list[Origin] = [
    ("alpaca", "sip", "raw"),
    ("alpaca", "iex", "raw"),
    ("lean", "consolidated", "raw"),
    ("file", "unknown", "raw"),
    ("nasdaq", "consolidated", "split"),
    ("yahoo", "consolidated", "split"),
    ("alpaca", "sip", "unknown"),
    ("file", "unknown", "unknown"),
]


def test_the_order_of_origins_is_the_one_that_is_promised() -> None:
    ranks = [rank(origin) for origin in BEST_FIRST]
    assert ranks == sorted(ranks)
    for better, worse in itertools.combinations(BEST_FIRST, 2):
        assert (prefer(better, worse), prefer(worse, better)) == ("stored", "given")
    assert prefer(BEST_FIRST[0], BEST_FIRST[0]) is None


def _yahoo(folder: Path, close: float) -> Path:
    rows = "\n".join(f"{day},10,20,9,{close},{close},{n + 100}" for n, day in enumerate(DAYS))
    return write(folder / "KO.csv.gz", f"Date,Open,High,Low,Close,Adj Close,Volume\n{rows}\n")


def _nasdaq(folder: Path, close: float, days: list[str]) -> Path:
    rows = "\n".join(f'{day[5:7]}/{day[8:]}/{day[:4]},${close},"{n + 100}",$10,$20,$9' for n, day in enumerate(days))
    return write(folder / "KO.csv", f"Date,Close,Volume,Open,High,Low\n{rows}\n")


def _stored(db: Database) -> pd.DataFrame:
    return read_bars(db, "us_equity", "1d", None, utc("1990-01-01"), utc("2100-01-01"), with_origin=True)


@pytest.mark.parametrize("nasdaq_first", [True, False])
@pytest.mark.parametrize("close", [11.0, 12.5])
def test_the_better_source_stays_whichever_came_first(
    database: Database, tmp_path: Path, close: float, *, nasdaq_first: bool
) -> None:
    files = [_nasdaq(tmp_path, 11.0, DAYS[1:4]), _yahoo(tmp_path, close)]
    results = {one.source: one for one in import_files(database, files if nasdaq_first else files[::-1], at=AT)}
    stored = _stored(database)
    assert stored["source"].tolist() == ["yahoo", "nasdaq", "nasdaq", "nasdaq", "yahoo", "yahoo"]
    assert stored["close"].tolist() == [close, 11.0, 11.0, 11.0, close, close]
    if nasdaq_first:
        kept = 3  # the volumes differ in any case
        assert (results["yahoo"].inserted, results["yahoo"].kept, results["yahoo"].unchanged) == (3, kept, 0)
    else:
        assert (results["nasdaq"].changed, results["nasdaq"].kept) == (3, 0)
    covered = read_coverage(database, "us_equity", ["KO"], date(2024, 1, 1), date(2025, 1, 1))
    assert [row.source for row in covered] == stored["source"].tolist()
    again = import_files(database, files, at=AT + timedelta(days=1))
    assert [(one.inserted, one.changed) for one in again] == [(0, 0), (0, 0)]
    assert_frame_equal(_stored(database), stored)


def test_by_choice_the_given_source_replaces_a_better_one(database: Database, tmp_path: Path) -> None:
    import_files(database, [_nasdaq(tmp_path, 11.0, DAYS)], at=AT)
    (result,) = import_files(database, [_yahoo(tmp_path, 12.0)], at=AT, replace_better=True)
    assert (result.changed, result.kept) == (len(DAYS), 0)
    assert set(_stored(database)["source"]) == {"yahoo"}


def test_bars_of_the_venue_itself_are_never_overwritten_by_a_file(database: Database, tmp_path: Path) -> None:
    import_files(database, [_yahoo(tmp_path, 11.0)], at=AT)
    venue = _stored(database).drop(columns=["source", "feed", "adjustment"]).iloc[:2].assign(close=10.5)
    upsert_bars(database, "us_equity", "1d", venue, source="alpaca", feed="iex", adjustment="raw", at=AT)
    (result,) = import_files(database, [_yahoo(tmp_path, 11.0)], at=AT)
    assert (result.kept, result.unchanged) == (2, len(DAYS) - 2)
    assert _stored(database)["close"].tolist() == [10.5, 10.5, 11.0, 11.0, 11.0, 11.0]


def test_a_session_of_two_sources_names_both(database: Database, tmp_path: Path) -> None:
    rows = "\n".join(
        f"us_equity,1h,KO,2024-03-06T{hour}:30:00Z,10,12,9,11,5,{source},iex,raw"
        for hour, source in ((14, "alpaca"), (15, "lean"))
    )
    header = "market,interval,symbol,ts,open,high,low,close,volume,source,feed,adjustment"
    import_files(database, [write(tmp_path / "x.csv", f"{header}\n{rows}\n")], at=AT)
    (row,) = read_coverage(database, "us_equity", ["KO"], date(2024, 3, 6), date(2024, 3, 6))
    assert (row.source, row.feed, row.adjustment, row.present) == ("alpaca+lean", "iex", "raw", 2)
