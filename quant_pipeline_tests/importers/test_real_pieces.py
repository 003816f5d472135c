"""Real files cut into overlapping pieces, imported in any order: bars, coverage and data versions as of whole files."""

from __future__ import annotations

import gzip
import random
import zipfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from quant_pipeline.importers.store import import_files
from quant_pipeline.importers.values import Stamp
from quant_pipeline.markets.calendar import sessions
from quant_pipeline.steps import bars
from quant_pipeline.steps.tables import RunContext
from quant_pipeline.storage.bars import read_bars
from quant_pipeline.storage.corporate_actions import read_actions
from quant_pipeline.storage.coverage import Coverage, read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline.storage.dsn import Dsn
from quant_pipeline.storage.versions import Version, current_versions
from quant_pipeline_tests.postgres import new_database
from quant_pipeline_tests.steps.world import opened_desk, settings_for

AT = datetime(2026, 6, 1, tzinfo=UTC)
LATER = datetime(2026, 6, 2, tzinfo=UTC)
INTERVALS = ("1m", "5m", "15m", "1h", "1d")
FROM, TO = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Case:
    """A file to cut, and what a person says about pieces out of its middle, which cannot show it themselves."""

    path: str
    market: str
    tz: str | None = None
    stamp: Stamp | None = None
    interval: str | None = None
    since: date | None = None


CASES = (
    Case("us_daily/yahoo/GOOGL.csv.gz", "us_equity", since=date(2015, 1, 1)),
    Case("us_daily/nasdaq_site/KO.csv.gz", "us_equity", since=date(2017, 1, 1)),
    Case("us_1min/alpaca_iex_mixed/WEBL_1min.csv.gz", "us_equity", "America/New_York", "start"),
    Case("us_1min/alpaca_sdk_frame/SPY_iex_2025-06-13_2025-06-17.csv.gz", "us_equity", interval="1m"),
    Case("us_5min/CRSP_5min.csv.gz", "us_equity", "America/New_York", "start"),
    Case("us_multi_timeframe_2019/AMZN_1min.csv.gz", "us_equity", "America/New_York", "end"),
    Case("us_multi_timeframe_2019/JPM_daily.csv.gz", "us_equity"),
    Case("us_hourly/lean_raw/spy.zip", "us_equity", since=date(2017, 1, 1)),
    Case("crypto/upbit_1m/DOGE_KRW_1m.csv.gz", "krw_crypto"),
    Case("crypto/upbit_1h/BTC_KRW_1h.csv.gz", "krw_crypto"),
    Case("crypto/upbit_kst/KRW-ETH_15min_2024.csv.gz", "krw_crypto"),
    Case("crypto/upbit_kst/KRW-ETH_daily_2024.csv.gz", "krw_crypto"),
    Case("crypto/upbit_korean_headers/KRW-BTT_daily.csv", "krw_crypto"),
)


@pytest.fixture
def other_database(postgres: Dsn, migrated_template: Dsn) -> Iterator[Database]:
    """A second empty database."""
    with new_database(postgres, template=migrated_template.database) as dsn, closing(Database(dsn)) as opened:
        yield opened


def _everything(db: Database, market: str) -> tuple[pd.DataFrame, tuple[Coverage, ...]]:
    """All bars with where they came from, and all coverage."""
    frames = [read_bars(db, market, name, None, FROM, TO, with_origin=True).assign(interval=name) for name in INTERVALS]
    return pd.concat(frames, ignore_index=True), read_coverage(db, market, None, FROM.date(), TO.date())


def _assert_same(one: tuple[pd.DataFrame, Any], other: tuple[pd.DataFrame, Any]) -> None:
    assert_frame_equal(one[0], other[0], check_exact=True)
    assert one[1] == other[1]


def _revisions(db: Database) -> int:
    with db.begin() as connection:
        count: int = connection.exec_driver_sql("SELECT count(*) FROM bar_revisions").scalar_one()
    return count


def _pieces(source: Path, folder: Path, dice: random.Random) -> list[Path]:
    """The file in about twelve pieces that share rows with their neighbours, each row order and header as it is."""
    if source.suffix == ".zip":
        with zipfile.ZipFile(source) as archive:
            (member,) = archive.namelist()
            header, rows = [], archive.read(member).decode().strip().split("\n")
    else:
        data = source.read_bytes()
        text = (gzip.decompress(data) if source.suffix == ".gz" else data).decode("utf-8-sig")
        first, *rows = text.strip().split("\n")
        header = [first]
    size = max(len(rows) // 12, 5)
    pieces = []
    for number, start in enumerate(range(0, len(rows), size)):
        content = "\n".join([*header, *rows[max(start - dice.randrange(1, size), 0) : start + size]]) + "\n"
        bare = source.name.split(".")[0]
        if source.suffix == ".zip":
            piece = folder / f"{number}.zip"
            with zipfile.ZipFile(piece, "w") as archive:
                archive.writestr(member, content)
        else:
            piece = folder / f"{bare}_part{number}.csv"
            piece.write_text(content, encoding="utf-8")
        pieces.append(piece)
    dice.shuffle(pieces)
    return pieces


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.path)
def test_pieces_in_any_order_give_what_the_whole_file_gives(
    database: Database, other_database: Database, test_data: Path, tmp_path: Path, case: Case
) -> None:
    path = test_data / case.path
    (whole,) = import_files(database, [path], at=AT, tz=case.tz, since=case.since)
    assert whole.outcome == "stored", whole.reason
    expected = _everything(database, case.market)
    pieces = _pieces(path, tmp_path, random.Random(case.path))
    said: dict[str, Any] = {
        "tz": case.tz,
        "stamp": case.stamp,
        "interval": case.interval or whole.interval,
        "since": case.since,
    }
    for piece in pieces:
        (result,) = import_files(other_database, [piece], at=AT, **said)
        of_span = case.since is None or "no row lies from" not in str(result.reason)
        assert (result.outcome, result.changed, result.kept) == ("stored" if of_span else "refused", 0, 0), (
            result.reason
        )
    _assert_same(_everything(other_database, case.market), expected)

    again = import_files(database, [path, *pieces], at=LATER, **said)
    assert all((one.inserted, one.changed, one.sessions) == (0, 0, ()) for one in again)
    _assert_same(_everything(database, case.market), expected)
    assert _revisions(database) == _revisions(other_database) == 0


def test_sources_that_disagree_give_the_same_in_any_order(
    database: Database, other_database: Database, test_data: Path
) -> None:
    folders = [test_data / "us_daily", test_data / "us_multi_timeframe_2019"]
    files = [
        *(folders[0] / "yahoo" / f"{name}.csv.gz" for name in ("AAPL", "KO", "MSFT")),
        *(folders[0] / "nasdaq_site" / f"{name}.csv.gz" for name in ("AAPL", "KO")),
        *(folders[0] / "lean_raw" / name for name in ("aapl.zip", "fb.zip", "map_files", "factor_files")),
        folders[1] / "MSFT_daily.csv.gz",
    ]
    since = date(2018, 1, 1)
    import_files(database, files, at=AT, since=since)
    expected = _everything(database, "us_equity")
    assert set(expected[0]["source"]) == {"lean", "nasdaq", "yahoo"}
    for one in random.Random(4).sample(files, len(files)):
        import_files(other_database, [one], at=AT, since=since)
    _assert_same(_everything(other_database, "us_equity"), expected)
    actions = read_actions(database, "us_equity", None, date(1998, 1, 1), date(2050, 1, 1))
    assert len(actions) == 39 + 94 + 94 + 1
    assert read_actions(other_database, "us_equity", None, date(1998, 1, 1), date(2050, 1, 1)) == actions

    before = _revisions(database)
    again = import_files(database, files, at=LATER, since=since)
    assert all((one.inserted, one.changed, one.recorded, one.removed) == (0, 0, 0, 0) for one in again)
    _assert_same(_everything(database, "us_equity"), expected)
    assert _revisions(database) == before
    assert read_actions(database, "us_equity", None, date(1998, 1, 1), date(2050, 1, 1)) == actions


def test_bars_of_an_earlier_company_are_left_out_and_counted(database: Database, test_data: Path) -> None:
    folder = test_data / "us_daily/lean_raw"
    found = import_files(database, [folder], at=AT, until=date(2013, 12, 31))
    results = {one.path.name: one for one in found if one.interval}
    left = {name: [(out.symbol, out.rows, out.first.date()) for out in one.left_out] for name, one in results.items()}
    assert left == {
        "aapl.zip": [],
        "bac.zip": [("BAC", 188, date(1998, 1, 2))],  # BankAmerica; until 1998-09-30 this company was NationsBank, NB
        "fb.zip": [("FB", 716, date(1999, 9, 29))],
        "spy.zip": [],
    }
    assert results["fb.zip"].rows_read == 716 + results["fb.zip"].rows
    fb = read_bars(database, "us_equity", "1d", ["FB"], FROM, TO)
    assert fb["ts"].iloc[0] == pd.Timestamp("2012-05-18", tz="America/New_York")
    assert read_coverage(database, "us_equity", ["FB"], date(1998, 1, 1), date(2012, 5, 17)) == ()


def test_data_versions_of_pieces_are_those_of_the_whole(
    database: Database, other_database: Database, test_data: Path, tmp_path: Path
) -> None:
    path = test_data / "crypto/upbit_1m/DOGE_KRW_1m.csv.gz"
    import_files(database, [path], at=AT)
    import_files(other_database, _pieces(path, tmp_path, random.Random(1)), at=AT)
    versions = _versions(database, tmp_path / "one")
    assert len({version.content_hash for version in versions.values()}) == 20
    assert _versions(other_database, tmp_path / "two") == versions
    import_files(database, [path], at=LATER)
    assert _versions(database, tmp_path / "one") == versions


def _versions(db: Database, home: Path) -> dict[tuple[date, str], Version]:
    days = sessions("always", date(2025, 9, 1), date(2025, 9, 20))
    settings = settings_for(home, "krw_crypto", symbols=("KRW-DOGE",), history_start=days[0])
    with opened_desk(settings, db) as desk:
        bars.run(desk, settings.market("krw_crypto"), days, RunContext(AT, "run"), collect=False)
    return current_versions(db, "krw_crypto", bars.STEP, days)
