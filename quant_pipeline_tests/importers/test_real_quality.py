"""What the checks say of real files: seams of feeds, another company's rows, years without bars."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from quant_pipeline.core.bar_quality import LEVEL, NO_VOLUME, OUTLIER, Finding, Limits, judge_bars
from quant_pipeline.core.bars import resample
from quant_pipeline.importers.read import read_file
from quant_pipeline.importers.store import import_files
from quant_pipeline.steps.bar_history import histories
from quant_pipeline.storage.bar_history import feed_changes
from quant_pipeline.storage.coverage import open_sessions, read_coverage
from quant_pipeline.storage.database import Database
from quant_pipeline_tests.steps.world import opened_desk, settings_for

NEW_YORK = "America/New_York"
AT = datetime(2026, 6, 1, tzinfo=UTC)


def _judged(bars: pd.DataFrame) -> list[Finding]:
    days = bars["ts"].dt.date
    return judge_bars(bars, days.min(), days.max(), Limits())


def test_adjusted_bars_of_31_shares_over_22_years_hold_few_things_that_are_not_believed(test_data: Path) -> None:
    found: Counter[str] = Counter()
    sessions = 0
    for path in sorted((test_data / "us_daily/yahoo").glob("*.csv.gz")):
        bars = read_file(path).frame
        sessions += len(bars)
        found.update(f.rule for f in _judged(bars))
    assert sessions > 150_000
    assert found[NO_VOLUME] == 1  # AMD's row without volume
    assert found[LEVEL] == 7  # Comcast after it took over AT&T Broadband, Amazon after its figures of April 2007
    assert found[OUTLIER] < sessions / 500


def test_the_life_of_a_share_begins_where_the_map_file_says_and_after_years_without_bars(
    test_data: Path, tmp_path: Path, database: Database
) -> None:
    """Rows of FB from 1999 to 2003 are of another company; without the map file nobody knows that."""
    settings = settings_for(tmp_path, "us_equity", symbols=("FB",))
    with opened_desk(settings, database) as desk:
        import_files(database, [test_data / "us_daily/lean_raw/fb.zip"], at=AT)
        last = date(2021, 3, 31)
        (known,) = histories(desk, settings.us_equity, ["FB"], last, last, count=5000).values()
        assert len(known.sessions) == 2947
        assert known.restarts == ((date(2012, 5, 18), date(2003, 3, 28)),)
        assert (known.before(date(2012, 5, 18)), known.before(last)) == (0, 2947 - 716 - 1)
        import_files(database, [test_data / "us_daily/lean_raw/map_files/fb.csv"], at=AT)
        (known,) = histories(desk, settings.us_equity, ["FB"], last, last, count=5000).values()
        assert (known.sessions[0], known.restarts, known.before(last)) == (date(2012, 5, 18), (), 2947 - 716 - 1)


@pytest.mark.parametrize("symbol", ["SPY", "NVDA"])
def test_the_seam_between_two_feeds_in_one_file_is_seen_by_its_volume(test_data: Path, symbol: str) -> None:
    path = test_data / f"us_1min/alpaca_iex_mixed/{symbol}_1min.csv.gz"
    minutes = read_file(path, tz=NEW_YORK).frame
    found = [f for f in _judged(resample(minutes, "1m", "1h")) if f.rule == LEVEL]
    # From 2026-01-22 on the file holds all trades of the market; the third session shows that it stays so.
    assert found[0].session == date(2026, 1, 26)
    assert "before 2026-01-22" in found[0].detail
    assert {f.session for f in found} <= {day.date() for day in pd.date_range("2026-01-26", "2026-03-19")}


def test_parts_of_a_file_can_be_imported_with_the_feed_that_they_are_of(test_data: Path, database: Database) -> None:
    path = test_data / "us_1min/alpaca_iex_mixed/SPY_1min.csv.gz"
    parts = [
        ("iex", None, date(2026, 1, 21)),
        ("consolidated", date(2026, 1, 22), date(2026, 3, 6)),
        ("iex", date(2026, 3, 9), date(2026, 3, 11)),
        ("consolidated", date(2026, 3, 12), None),
    ]
    for feed, since, until in parts:
        (result,) = import_files(database, [path], at=AT, tz=NEW_YORK, feed=feed, since=since, until=until)
        assert result.outcome == "stored", result.reason
    changes = feed_changes(database, "us_equity", ["1m"], ["SPY"], date(2025, 9, 1), date(2026, 4, 1))
    assert [(c.session, c.before, c.feed) for c in changes] == [
        (date(2026, 1, 22), "iex", "consolidated"),
        (date(2026, 3, 9), "consolidated", "iex"),
        (date(2026, 3, 12), "iex", "consolidated"),
    ]


def test_absent_minutes_of_a_real_file_are_unknown_and_those_of_complete_sessions_are_none(
    test_data: Path, database: Database
) -> None:
    path = test_data / "crypto/upbit_1m/BTC_KRW_1m.csv.gz"
    import_files(database, [path], at=AT)
    rows = read_coverage(database, "krw_crypto", ["KRW-BTC"], date(2025, 9, 1), date(2025, 10, 4), interval="1m")
    days = [row.session for row in rows]
    assert sum(row.expected - row.present for row in rows[:-1]) == 2
    still_open = open_sessions(database, "krw_crypto", ["KRW-BTC"], days, intervals=["1m", "1h"])
    assert [session for session, _ in still_open] == [r.session for r in rows if r.present < r.expected]
